"""What a network is: layers, one flat vector of parameters, and its file."""
