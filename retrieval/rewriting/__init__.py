"""Rewriters: a query to the text that the encoder sees."""
