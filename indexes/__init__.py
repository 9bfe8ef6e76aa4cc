"""Vectors on disk and search over them: shards, manifests, exact and FAISS search. No torch, no pictures."""

from .build import IndexConfig, build_index
from .errors import BeholderError
from .exact import Neighbors, exact_search
from .search import Index, load_index
from .shards import Embeddings

__all__ = [
    "BeholderError",
    "Embeddings",
    "Index",
    "IndexConfig",
    "Neighbors",
    "build_index",
    "exact_search",
    "load_index",
]
