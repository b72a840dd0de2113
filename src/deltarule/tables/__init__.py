"""From tables as people have them to trained networks, and scikit-learn's API over them."""
