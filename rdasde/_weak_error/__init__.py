"""How far the diffusion is from the algorithm in expectation: `weak_error`."""
