"""Critiques in bulk: of files, or of the pictures of an INDEX, kept there as columns.

A picture that has an answer of the same critic to the same question is not shown again; a run that is killed goes on
from what it saved every SAVE_S seconds.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from indexes.records.critiques import Critique, read_critiques, write_critiques
from retrieval.sources.archives import content_of
from retrieval.sources.sources import pictures, stays_inside

from .critic import Ask, Critic, Rating, Said

SAVE_S = 60.0
BLOCK = 16  # pictures whose files are held at once
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Shown:
    """A picture and what was said of it: `said` by what was asked, and its rating. `measured`: facts that no critic
    said."""

    uri: str
    sha256: str
    said: Mapping[str, Said]
    id: int | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    rating: Rating | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        identity = {} if self.id is None else {"id": self.id}
        fallbacks = {asked: one.fallback for asked, one in self.said.items() if one.text is None}
        rating: dict[str, Any] = {}
        if self.rating is not None and self.rating.means:
            rating = {"rating": {"value": self.rating.value, "by": self.rating.means}}
        elif self.rating is not None:
            fallbacks["rating"] = self.rating.fallback
        return {
            **identity,
            "uri": self.uri,
            "sha256": self.sha256,
            "said": {asked: one.text for asked, one in self.said.items() if one.text is not None},
            **rating,
            "fallbacks": fallbacks,
            "measured": dict(self.measured),
        }


def critique_files(
    critic: Critic,
    paths: Sequence[Path],
    asked: Mapping[str, str],
    progress: Progress | None = None,
    rate: bool = False,
) -> Iterator[Shown]:
    """What the critic says of files, in order, with its ratings if wanted. A file that cannot be read is a fallback."""
    for start in range(0, len(paths), BLOCK):
        block = [(path.as_posix(), *_read(path)) for path in paths[start : start + BLOCK]]
        said = critic.say([ask for _, content, reason in block for ask in _asks(content, reason, asked)])
        ratings = critic.ratings([content for _, content, _ in block]) if rate else [None] * len(block)
        for place, (uri, content, _) in enumerate(block):
            mine = said[place * len(asked) : (place + 1) * len(asked)]
            digest = hashlib.sha256(content).hexdigest() if content else ""
            told = dict(zip(asked, mine, strict=True))
            yield Shown(uri, digest, told, measured=_look(content), rating=ratings[place])
        if progress is not None:
            progress(start + len(block), len(paths))


def critique_index(
    critic: Critic,
    folder: Path,
    asked: Mapping[str, str],
    ids: Sequence[int] | None = None,
    where: str | None = None,
    progress: Progress | None = None,
) -> list[Shown]:
    """What the critic says of pictures of an INDEX, by rising id: those of `ids`, else those that `where` holds for,
    else all. New texts are kept in the index. Raises BeholderError for an id that is not there."""
    import numpy as np

    from indexes import load_index
    from indexes.searching.where import matching_ids

    index = load_index(folder)
    items = index.items_table()
    wanted = items.column("id").to_pylist() if ids is None else sorted(set(ids))
    if where is not None:
        holds = set(matching_ids(items, where).tolist())
        wanted = [one for one in wanted if one in holds]
    rows = index.items(np.asarray(wanted, np.int64)).select(["id", "uri", "sha256"]).to_pylist()
    kept = read_critiques(folder)
    texts: dict[tuple[str, str], Said] = {
        (one.sha256, one.asked): Said(one.text, "", True)
        for one in kept
        if one.critic == critic.identity and asked.get(one.asked) == one.question
    }
    new: dict[str, Critique] = {}
    left = [row for row in rows if any((row["sha256"], name) not in texts for name in asked)]
    root, saved = (folder / index.manifest.source).resolve(), time.perf_counter()
    try:
        for start in range(0, len(left), BLOCK):
            block = left[start : start + BLOCK]
            asks = [ask for content, reason in _contents(root, block) for ask in _asks(content, reason, asked)]
            keys = [(row["sha256"], name) for row in block for name in asked]
            for (sha256, name), said in zip(keys, critic.say(asks), strict=True):
                texts[sha256, name] = said
                if said.text is not None:
                    made = Critique(sha256, name, critic.name, critic.identity, asked[name], said.text)
                    new[f"{sha256} {name}"] = made
            if time.perf_counter() - saved > SAVE_S:
                write_critiques(folder, new.values())
                saved = time.perf_counter()
            if progress is not None:
                progress(start + len(block), len(left))
    finally:  # what was said is kept, whatever ends the run
        if new:
            write_critiques(folder, new.values())
    found = np.asarray(wanted, np.int64)
    measured: list[dict[str, float]] = [{} for _ in rows]
    for record in index.scorers:
        for place, value in enumerate(index.score_values(record.name, found).tolist()):
            if value == value:  # NaN: no score
                measured[place][record.name] = value
    return [
        Shown(row["uri"], row["sha256"], {name: texts[row["sha256"], name] for name in asked}, row["id"], facts)
        for row, facts in zip(rows, measured, strict=True)
    ]


def _asks(content: bytes, reason: str, asked: Mapping[str, str]) -> list[Ask]:
    return [Ask((content,), question, kind, reason) for kind, question in asked.items()]


def _read(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), ""
    except OSError:
        return b"", "missing picture"


def _contents(root: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[bytes, str]]:
    """The file of each row, or why it is not shown: a text must be about the very picture that is in the index."""
    for row in rows:
        if not stays_inside(row["uri"]):
            yield b"", "outside of the source"
            continue
        try:
            content = content_of(next(iter(pictures(root, [row["uri"]]))))
        except (OSError, ValueError, StopIteration, BeholderError):
            yield b"", "missing picture"
            continue
        same = hashlib.sha256(content).hexdigest() == row["sha256"]
        yield (content, "") if same else (b"", "changed since it was embedded")


def _look(content: bytes) -> dict[str, float]:
    """The look of a picture by its pixels; {} for one that cannot be read."""
    import numpy as np

    from retrieval.scoring.scorers import LOOK, load_scorer
    from retrieval.sources.images import BadPicture, decode

    try:
        pixels = np.asarray(decode(content)) if content else None
    except BadPicture:
        pixels = None
    if pixels is None:
        return {}
    return {name: round(float(load_scorer(name).score_pictures([pixels])[0]), 4) for name in LOOK}  # type: ignore[union-attr]
