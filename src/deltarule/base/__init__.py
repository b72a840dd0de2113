"""The base of the package: errors, settings, random numbers, files. It imports no other part."""
