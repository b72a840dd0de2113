"""Training: the loop over epochs, its history, and callbacks between epochs."""
