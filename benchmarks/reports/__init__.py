"""Runs written into documents, pages and plots, and compared."""
