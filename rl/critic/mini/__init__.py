"""The small critic in the box: made from an image tower, grounded texts and nothing else, by one command."""
