"""Encoders, and the pipeline from pictures to an EMBEDDINGS folder."""
