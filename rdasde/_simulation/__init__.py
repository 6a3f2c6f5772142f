"""The discrete algorithm: `simulate`."""
