"""Mirror maps: each regularizer in NumPy, in lanes, and its Gaussian moments."""
