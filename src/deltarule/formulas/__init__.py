"""The formulas, one family a file, in NumPy alone."""
