"""The reference engine: backpropagation in NumPy, as a textbook writes it."""
