"""The compiled ground floor: what makes plain functions machine code, random numbers and products in lanes."""
