"""Scorers beside people's scores, and whether a look that was asked for is found."""
