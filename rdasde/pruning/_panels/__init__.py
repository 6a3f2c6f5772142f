"""From checkpoints of the recipes to what the figures show: the valley, the comparison, the theory at this scale."""
