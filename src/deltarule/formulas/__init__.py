"""The formulas, one file for each family, in NumPy only."""
