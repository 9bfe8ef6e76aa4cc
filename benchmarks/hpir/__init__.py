"""Agreement with people's preferences between rows of pictures."""
