"""Training of networks, for the recipes and the studies; the optimizer does not need it."""
