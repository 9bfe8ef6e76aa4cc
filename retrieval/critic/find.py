"""Pictures found by what a critic said of them: texts of the index against words, by the index's own text encoder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.critiques import read_critiques

BATCH = 256  # texts at once through the text tower


class Texts(Protocol):
    """A text encoder, as far as it is needed here."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Match:
    """A text of a picture. `likeness`: the cosine of the two texts' vectors, in [-1, 1]."""

    id: int
    uri: str
    asked: str
    critic: str
    text: str
    likeness: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_critiques(folder: Path, words: str, k: int = 10, encoder: Texts | None = None) -> list[Match]:
    """The k texts nearest to the words, best first; equal ones by id. Every text is encoded, so this is for thousands,
    not millions; the same text is encoded once. Raises BeholderError for no words and an index without texts."""
    from indexes import load_index
    from retrieval.search.query_encoder import QueryEncoder

    if not words.strip() or k < 1:
        raise BeholderError("nothing to find", "words, and a number of results from 1", "Example: --find 'soft light'")
    index = load_index(folder)
    rows: dict[str, list[tuple[int, str]]] = {}
    for row in index.items(index.live_ids()).select(["id", "uri", "sha256"]).to_pylist():
        rows.setdefault(row["sha256"], []).append((row["id"], row["uri"]))
    texts = [one for one in read_critiques(folder) if one.sha256 in rows]
    if not texts:
        raise BeholderError(f"{folder} holds no critiques", "an index that was critiqued", "Leave --find out first.")
    tower = encoder or QueryEncoder(index)
    unlike = list(dict.fromkeys(one.text for one in texts))
    wanted = np.asarray(tower.encode_texts([words]), np.float64)[0]
    likeness: dict[str, float] = {}
    for start in range(0, len(unlike), BATCH):
        block = unlike[start : start + BATCH]
        cosines = np.asarray(tower.encode_texts(block), np.float64) @ wanted
        likeness |= dict(zip(block, cosines.tolist(), strict=True))
    found = [
        Match(identity, uri, one.asked, one.name, one.text, round(likeness[one.text], 6))
        for one in texts
        for identity, uri in rows[one.sha256]
    ]
    return sorted(found, key=lambda match: (-match.likeness, match.id, match.asked))[:k]
