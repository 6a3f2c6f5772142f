"""Losses of a linear predictor: each is its derivative and second derivative, and what its responses are."""
