"""Scorers: one number per picture, from formulas, heads and other people's models."""
