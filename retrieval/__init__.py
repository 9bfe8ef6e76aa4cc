"""Pictures and words to vectors, vectors to results. Names are imported when first used: importing this is free."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder
    from .encoders import load_encoder
    from .pipeline import EmbedConfig, embed
    from .query import Query
    from .results import Answer, Result
    from .search_config import SearchConfig
    from .searcher import Searcher, open_searcher
    from .update import UpdateReport, update_index

_HOMES = {
    "Answer": ".results",
    "EmbedConfig": ".pipeline",
    "Encoder": ".encoders",
    "Query": ".query",
    "Result": ".results",
    "SearchConfig": ".search_config",
    "Searcher": ".searcher",
    "embed": ".pipeline",
    "load_encoder": ".encoders",
    "load_scorer": ".scorers",
    "open_searcher": ".searcher",
    "UpdateReport": ".update",
    "update_index": ".update",
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
