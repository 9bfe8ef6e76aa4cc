"""What a judge is shown: rows of pictures, from searches of two systems, from votes, or blank."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import portable_spec
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_bytes
from retrieval.language.judge_sheet import GREY
from retrieval.search.config import SearchConfig
from retrieval.search.results import Answer
from retrieval.search.searcher import Searcher, picture_folder
from retrieval.sources.images import BadPicture, Picture, decode, shrink
from retrieval.sources.sources import contents

SIDE = 640  # pixels, the longest side that is kept: twice a tile of the sheet, and above what encoders look at


@dataclass(frozen=True)
class Row:
    """Pictures in order, named by sha256. `read` gives them as uint8 (H, W, 3); it raises BeholderError where one
    cannot be read."""

    sha256s: tuple[str, ...]
    read: Callable[[], list[Picture]]


@dataclass(frozen=True)
class Pair:
    """Two rows for one query."""

    query: str
    a: Row
    b: Row

    @property
    def same(self) -> bool:
        return self.a.sha256s == self.b.sha256s


@dataclass(frozen=True)
class System:
    """One side: an index with its encoder, and how it is searched."""

    label: str
    searcher: Searcher
    config: SearchConfig

    def answers(self, queries: Sequence[str], count: int) -> list[Answer]:
        """The answers to queries, of `count` pictures each where there are as many."""
        deep = max(count, self.config.candidates) if self.config.candidates else 0
        return self.searcher.search(queries, replace(self.config, k=count, candidates=deep))

    def rows_of(self, answers: Sequence[Answer]) -> list[Row]:
        """The pictures of each answer; none where it has no results."""
        root = picture_folder(self.searcher.index)
        return [stored_row(root, [(result.sha256, result.uri) for result in answer.results]) for answer in answers]

    def rows(self, queries: Sequence[str], count: int) -> list[Row]:
        """The `count` best pictures of each query; fewer, or none, where no more were found."""
        return self.rows_of(self.answers(queries, count))

    def described(self) -> dict[str, Any]:
        """What it is made of, as a document may hold it."""
        record = self.searcher.index.manifest.encoder
        search = {name: value for name, value in self.config.to_dict().items() if name != "k"}
        search["rewrite"] = portable_spec(self.config.rewrite)
        search["rerank"] = [portable_spec(one) for one in self.config.rerank]
        return {
            "index": self.searcher.index.folder.name,
            "pictures": len(self.searcher.index),
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            "search": search,
        }


def stored_row(root: Path, named: Sequence[tuple[str, str]]) -> Row:
    """Pictures (sha256, uri) under a source's root."""
    uris = [uri for _, uri in named]

    def read() -> list[Picture]:
        found = dict(contents(root, uris))
        return [_picture(uri, found.get(uri)) for uri in uris]

    return Row(tuple(sha256 for sha256, _ in named), read)


def blank_row(count: int) -> Row:
    """Squares of the grey that sheets are laid on: a row where nothing is shown."""
    blank = np.full((64, 64, 3), GREY, np.uint8)
    return Row((sha256_bytes(blank.tobytes()),) * count, lambda: [blank] * count)


def part_of(row: Row, start: int, stop: int) -> Row:
    """Places start to stop of a row."""
    return Row(row.sha256s[start:stop], lambda: row.read()[start:stop])


def _picture(uri: str, content: bytes | None) -> Picture:
    if content is None:
        raise BeholderError(f"{uri} cannot be read", "a picture of the index")
    try:
        return shrink(np.asarray(decode(content)), SIDE)
    except BadPicture as error:
        raise BeholderError(f"{uri}: {error}", "a picture of the index") from error


def read_queries(path: Path) -> tuple[list[str], int]:
    """The different lines of a file, in order, and how many were repetitions. Raises BeholderError for a file without
    queries."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a UTF-8 text file", "Check the path.") from error
    queries = [" ".join(line.split()) for line in lines if line.strip()]
    if not queries:
        raise BeholderError(f"{path} holds no queries", "one per line", "Write some.")
    unlike = list(dict.fromkeys(queries))
    return unlike, len(queries) - len(unlike)


def search_config(given: str, option: str, top: int) -> SearchConfig:
    """The settings that --a or --b hold: JSON as the service takes it, or the path of a file of it.

    Raises BeholderError for what is neither, and for `k`: rows are as long as --top says.
    """
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = f"{option} {given[:60]} is neither JSON nor a file"
            raise BeholderError(problem, '{"rewrite": "template"}', "Quote the JSON.") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BeholderError(f"{option} is not JSON ({error})", '{"rewrite": "template"}', "Quote it.") from error
    if not isinstance(content, dict):
        raise BeholderError(f"{option} is no JSON object", '{"rewrite": "template"}', "Quote it.")
    if "k" in content:
        raise BeholderError(f"{option} sets k", "rows of --top pictures", "Leave k out.")
    return SearchConfig.from_dict({**content, "k": top})


def portable_search(given: str) -> str:
    """The settings as a document may hold them."""
    if not given.lstrip().startswith("{"):
        return Path(given).name
    content = search_config(given, "--a", 1).to_dict()
    default = search_config("{}", "--a", 1).to_dict()
    content = {name: value for name, value in content.items() if value != default[name]}
    if "rewrite" in content:
        content["rewrite"] = portable_spec(content["rewrite"])
    if "rerank" in content:
        content["rerank"] = [portable_spec(one) for one in content["rerank"]]
    return json.dumps(content)
