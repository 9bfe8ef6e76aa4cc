"""The pictures that a rewriter's rewards are ranks in: vectors, items, and what counts as relevant and beautiful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables.evaluation import evaluation_pictures
from benchmarks.tables.judgements import read_tsv
from benchmarks.tables.pictures import rows_of_names
from indexes.errors import BeholderError
from indexes.records.manifest import read_kind
from indexes.records.percentiles import percentiles
from indexes.records.scores import ScoreLookup, found_scores, read_scores
from indexes.records.shards import EMBEDDINGS, Embeddings
from indexes.searching.where import matching_ids

from .rank_gain import Floats, beauty_weights, utility
from .reward_config import RewardConfig

if TYPE_CHECKING:
    from retrieval.encoding.encoder import TextEncoder

KEPT_TEXTS = 20_000  # vectors of texts that are kept: 40 MB of 512 numbers each
FORWARD = 256  # texts encoded at once


class Corpus:
    """N pictures in one order: `vectors` (N, D) float32 and `items` (a table with `id` 0 to N - 1, `sha256`, `uri`)."""

    def __init__(
        self, vectors: NDArray[np.float32], items: Any, encoder: TextEncoder, *, shares: Floats | None, beauty: float
    ) -> None:
        self.vectors, self.items, self.encoder = vectors, items, encoder
        self._shares, self._beauty = shares, beauty
        self._weights: dict[str | tuple[str, ...], Floats] = {}
        self._texts: dict[str, NDArray[np.float32]] = {}
        self._rows: dict[str, int] = {}
        self.allowed_evaluation = False

    def __len__(self) -> int:
        return len(self.vectors)

    def weights(self, relevant: str | None, pictures: Sequence[str] | None) -> Floats:
        """(N,) what each picture counts: those for which the condition `relevant` holds, or of these sha256s. Raises
        BeholderError where it is none, and where training would learn from a picture kept for evaluation."""
        key = relevant or tuple(pictures or ())
        if key not in self._weights:
            chosen = np.zeros(len(self), bool)
            if isinstance(key, str):
                chosen[matching_ids(self.items, key)] = True
            else:
                self._rows = self._rows or {one: at for at, one in enumerate(self.items.column("sha256").to_pylist())}
                chosen[[self._rows[one] for one in key if one in self._rows]] = True
            if not chosen.any():
                raise BeholderError(f"no picture of the corpus is relevant ({str(key)[:80]})", "one at least")
            self._refuse_evaluation(chosen, str(key)[:80])
            shares = self._shares if self._shares is not None else np.ones(len(self))
            self._weights[key] = beauty_weights(chosen, shares, self._beauty if self._shares is not None else 0.0)
        return self._weights[key]

    def _refuse_evaluation(self, chosen: NDArray[np.bool_], key: str) -> None:
        names = self.items.column("sha256").take(np.flatnonzero(chosen)).to_pylist()
        kept = evaluation_pictures().intersection(names)
        if kept and not self.allowed_evaluation:
            found = f"{len(kept)} relevant pictures are kept for evaluation ({key})"
            raise BeholderError(found, "pictures to train on", "Give --table and --split, or another corpus.")

    def text_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(T, D), each text encoded once in its life here."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if len(self._texts) + len(unknown) > KEPT_TEXTS:
            self._texts.clear()
            unknown = list(dict.fromkeys(texts))
        for start in range(0, len(unknown), FORWARD):
            part = sorted(unknown[start : start + FORWARD], key=len)
            self._texts.update(zip(part, self.encoder.encode_texts(part), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(T, N) cosines."""
        return self.text_vectors(texts) @ self.vectors.T

    def utilities(self, texts: Sequence[str], weights: Floats) -> Floats:
        """(T,) of rank_gain.utility for texts and weights (T, N)."""
        return utility(self.scores(texts), weights)


def load_corpus(config: RewardConfig, encoder: TextEncoder | None = None) -> Corpus:
    """Raises BeholderError where an encoder, a table or scores do not go with the pictures."""
    folder = Path(config.pictures)
    vectors, items, name, fingerprint = _read(folder)
    if encoder is None:
        from retrieval.encoding.encoders import load_encoder

        encoder = load_encoder(config.encoder or name)
    if encoder.record.image_fingerprint != fingerprint:
        found = f"{folder} holds vectors by {fingerprint[:12]}"
        raise BeholderError(found, f"{encoder.record.image_fingerprint[:12]} of {encoder.record.name}", "Embed again.")
    if config.table:
        vectors, items = _joined(Path(config.table), config.split, vectors, items, folder)
    items = _numbered(items)
    shares = _shares(folder, config.scorer, items.column("sha256").to_pylist()) if config.scorer else None
    corpus = Corpus(vectors, items, encoder, shares=shares, beauty=config.beauty)
    corpus.allowed_evaluation = config.evaluation
    return corpus


def _read(folder: Path) -> tuple[NDArray[np.float32], Any, str, str]:
    """Vectors, items in their order, name and image fingerprint of the encoder."""
    if read_kind(folder, "an INDEX or EMBEDDINGS folder") == EMBEDDINGS:
        embeddings = Embeddings(folder)
        record = embeddings.manifest.encoder
        vectors = np.concatenate([np.asarray(rows, np.float32) for _, rows in embeddings.blocks()])
        return vectors, embeddings.items(), record.name, record.image_fingerprint
    from indexes.searching.search import load_index

    index = load_index(folder)
    record = index.manifest.encoder
    vectors = np.asarray(index.vectors(index.live_ids()), np.float32)
    return vectors, index.items_table(), record.name, record.image_fingerprint


def _joined(
    table: Path, split: str, vectors: NDArray[np.float32], items: Any, folder: Path
) -> tuple[NDArray[np.float32], Any]:
    """The pictures of the table's rows, with its columns beside their own."""
    import pyarrow as pa

    rows = [
        row for row in read_tsv(table, ("file", *(("split",) if split else ()))) if not split or row["split"] == split
    ]
    if not rows:
        raise BeholderError(f"{table} has no row of split {split!r}", "one at least", "Check --split.")
    places = rows_of_names([row["file"] for row in rows], items.column("uri").to_pylist(), folder)
    chosen = items.take(pa.array(places))
    for name in rows[0]:
        if name not in chosen.column_names:
            chosen = chosen.append_column(name, pa.array([row[name] for row in rows], pa.string()))
    return vectors[places], chosen


def _numbered(items: Any) -> Any:
    import pyarrow as pa

    at = items.column_names.index("id")
    return items.set_column(at, "id", pa.array(np.arange(items.num_rows), pa.int64()))


def _shares(folder: Path, scorer: str, sha256s: list[str]) -> Floats:
    """(N,) percentiles within the corpus. Raises BeholderError where scores are missing."""
    if read_kind(folder, "an INDEX or EMBEDDINGS folder") == EMBEDDINGS:
        found = found_scores(folder)
        column = read_scores(found[scorer]) if scorer in found else None
        values = ScoreLookup(column).of(sha256s) if column is not None else np.full(len(sha256s), np.nan)
        lower = column is not None and column.lower_is_better
    else:
        from indexes.searching.search import load_index

        index = load_index(folder)
        if scorer not in [record.name for record in index.scorers]:
            values, lower = np.full(len(sha256s), np.nan), False
        else:
            ids = index.live_ids()
            known = dict(
                zip(index.items_table().column("sha256").to_pylist(), index.score_values(scorer, ids), strict=True)
            )
            values = np.array([known[sha256] for sha256 in sha256s])
            lower = next(one for one in index.scorers if one.name == scorer).card.get("higher_is_better") is False
    if np.isnan(values).any():
        found_line = f"{int(np.isnan(values).sum())} pictures of {folder} have no score of {scorer}"
        raise BeholderError(found_line, "one for each", f"Run `beholder score {folder.name} --scorer {scorer}`.")
    return percentiles(values, lower_is_better=lower)
