"""What is being learned: each problem in NumPy, and in lanes for the compiled loops."""
