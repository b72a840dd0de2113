"""Training: the loop, what is reported of it, and what may happen between epochs."""
