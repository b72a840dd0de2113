"""What everything stands on: errors, settings, random words, files. Nothing of ours is above it."""
