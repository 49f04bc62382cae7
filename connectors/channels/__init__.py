"""Ways to tell somebody of a tip: a channel is a file here, and a line in registry.py."""
