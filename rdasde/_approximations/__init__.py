"""The ODE/SDE limit: `approximate` and its methods."""
