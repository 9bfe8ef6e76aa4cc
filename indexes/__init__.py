"""Shards, manifests, exact and FAISS search: vectors in, ids and scores out. No torch, no pictures.

Names are imported when first used, so that `import indexes.errors` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexes.building.build import IndexConfig, build_index
    from indexes.records.exact import Neighbors, exact_search
    from indexes.records.shards import Embeddings
    from indexes.searching.search import Index, load_index

    from .errors import BeholderError

_HOMES = {
    "BeholderError": ".errors",
    "Embeddings": ".records.shards",
    "Index": ".searching.search",
    "IndexConfig": ".building.build",
    "Neighbors": ".records.exact",
    "build_index": ".building.build",
    "exact_search": ".records.exact",
    "load_index": ".searching.search",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
