"""A rewriter trained through TRL."""
