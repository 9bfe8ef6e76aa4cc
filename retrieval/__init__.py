"""Pictures and words to vectors, vectors to results. Names are imported when first used: importing this is free."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.encoding.encoder import Encoder
    from retrieval.encoding.encoders import load_encoder
    from retrieval.encoding.pipeline import EmbedConfig, embed
    from retrieval.indexing.update import UpdateReport, update_index
    from retrieval.search.config import SearchConfig
    from retrieval.search.query import Query
    from retrieval.search.results import Answer, Result
    from retrieval.search.searcher import Searcher, open_searcher

_HOMES = {
    "Answer": ".search.results",
    "EmbedConfig": ".encoding.pipeline",
    "Encoder": ".encoding.encoders",
    "Query": ".search.query",
    "Result": ".search.results",
    "SearchConfig": ".search.config",
    "Searcher": ".search.searcher",
    "embed": ".encoding.pipeline",
    "load_encoder": ".encoding.encoders",
    "load_scorer": ".scoring.scorers",
    "open_searcher": ".search.searcher",
    "UpdateReport": ".indexing.update",
    "update_index": ".indexing.update",
}

__all__ = [
    "Answer",
    "EmbedConfig",
    "Encoder",
    "Query",
    "Result",
    "SearchConfig",
    "Searcher",
    "UpdateReport",
    "embed",
    "load_encoder",
    "load_scorer",
    "open_searcher",
    "update_index",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
