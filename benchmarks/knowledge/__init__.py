"""Queries that describe a style without naming it."""
