"""What runs blocks of replicates: the compiled loops, the march through time, executors, stores."""
