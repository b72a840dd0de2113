"""deltarule."""
