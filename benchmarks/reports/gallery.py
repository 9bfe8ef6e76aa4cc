"""Rows of pictures for a report: what an index finds for a few queries, by each encoder and each setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.judge.rows import search_config
from benchmarks.runs import portable_spec
from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig
from retrieval.search.gallery import Thumbnail, thumbnail_of
from retrieval.search.searcher import open_searcher, picture_folder
from retrieval.sources.sources import contents

HEIGHT = 150  # px of a thumbnail
COUNT = 6  # pictures in a row


@dataclass(frozen=True)
class Shown:
    """A picture of a row: its caption or name, and its thumbnail, None where it cannot be read."""

    words: str
    thumbnail: Thumbnail | None


@dataclass(frozen=True)
class GalleryRow:
    """What one system finds for a query."""

    query: str
    system: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class GalleryConfig:
    """index: its folder. searches: settings, JSON as the service takes it. models: encoders; "" is the index's own."""

    index: Path
    queries: tuple[str, ...]
    searches: tuple[str, ...] = ("{}",)
    models: tuple[str, ...] = ("",)
    count: int = COUNT

    def __post_init__(self) -> None:
        if not self.queries:
            raise BeholderError(f"--gallery {self.index} without a query", "one at least", "Give --query.")


def gallery_rows(config: GalleryConfig) -> list[GalleryRow]:
    """The rows, query by query, each system beneath the other."""
    settings = [search_config(given, "--search", config.count) for given in config.searches]
    found: dict[tuple[str, str], Sequence[tuple[str, str]]] = {}
    for model, search in product(config.models, settings):
        searcher = open_searcher(config.index, model or None)
        label = system_words(model, search)
        if any(name == label for _, name in found):
            raise BeholderError(f"two rows are {label!r}", "different ones", "Give each --search and model once.")
        for query, answer in zip(config.queries, searcher.search(config.queries, search), strict=True):
            found[query, label] = [(one.uri, one.caption or Path(one.uri).name) for one in answer.results]
        root = picture_folder(searcher.index)
    uris = dict.fromkeys(uri for row in found.values() for uri, _ in row)
    thumbnails = {uri: None if raw is None else thumbnail_of(raw, HEIGHT) for uri, raw in contents(root, uris)}
    labels = dict.fromkeys(label for _, label in found)
    return [
        GalleryRow(query, label, tuple(Shown(words, thumbnails.get(uri)) for uri, words in found[query, label]))
        for query in dict.fromkeys(config.queries)
        for label in labels
    ]


def system_words(model: str, search: SearchConfig) -> str:
    """An encoder and the settings that are not the default's, in a few words."""
    default = SearchConfig(k=search.k).to_dict()
    other = {name: value for name, value in search.to_dict().items() if value != default[name]}
    words = ", ".join(f"{name} {_value(value)}" for name, value in other.items()) or "plain search"
    return f"{Path(model).name}: {words}" if model else words


def _value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {weight:g}".strip() for name, weight in value.items())
    if isinstance(value, list):
        return " ".join(portable_spec(str(one)) for one in value)
    return portable_spec(str(value))
