"""Metrics and statistics: pure functions."""
