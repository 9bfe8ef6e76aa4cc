"""Vectors on disk and search over them: shards, manifests, exact and FAISS search. No torch, no pictures."""

from .errors import BeholderError
from .exact import Neighbors
from .shards import Embeddings

__all__ = ["BeholderError", "Embeddings", "Neighbors"]
