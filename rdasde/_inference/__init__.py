"""Inference from one pass over a stream: `fit`."""
