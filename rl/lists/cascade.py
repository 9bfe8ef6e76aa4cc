"""Preference lists from the cascade: query -> rewriter -> top K -> semantic and aesthetic order -> grid.

Wen et al. 2024 (2406.09397), the teacher. Depth, mix, grid and which pairs count are not public in readable form: each
is a field of the configuration, with our default. The student is given the query as it was typed.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_bytes
from retrieval.search.query import Query
from retrieval.search.searcher import Searcher
from rl.grids import VARIANTS, Variant, grid, grid_chains, grid_prefer, needed, pairs_of
from rl.preferences import PreferenceList, read_preferences, write_preferences

BATCH = 256  # queries rewritten, encoded and searched together
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CascadeConfig:
    """How lists are made. Raises BeholderError that names every problem at once.

    Without scorers, and with one column, semantics are the only teacher: what the rewritten query finds, in its order.
    """

    scorers: tuple[tuple[str, float], ...]  # (name, weight) of the aesthetic order; a negative weight turns one round
    rewrite: str = "none"  # as retrieval.rewriting.rewrite reads it
    u: int = 5  # rows: levels of the mix of both teachers
    v: int = 5  # columns: levels of aesthetics within a row
    stride: int = 10  # of the picks from the re-ranked list
    depth: int = 0  # K, pictures that are re-ranked; 0: as many as the grid needs
    mix: float = 0.5  # share of aesthetics in the re-ranked order, 0 to 1
    variant: Variant = "rows-then-columns"  # which pairs count
    where: str | None = None  # only pictures for which this holds, as `search --where` has it
    random: int = 0  # pictures beside the grid's, drawn from all that were not re-ranked: each below every one of these
    seed: int = 0  # of these

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {getattr(self, name)} (1 or more)" for name in ("u", "v", "stride") if getattr(self, name) < 1
        ]
        if not self.scorers and self.v > 1:
            wrong.append("no scorer (semantics alone, as -v 1, need none)")
        if self.random < 0:
            wrong.append(f"random {self.random} (0 or more)")
        names = [name for name, _ in self.scorers]
        wrong += [f"scorer {name} twice" for name in sorted(set(names)) if names.count(name) > 1]
        wrong += [f"scorer {name} of weight {weight}" for name, weight in self.scorers if not weight]
        if not 0 <= self.mix <= 1:
            wrong.append(f"mix {self.mix} (0 to 1)")
        if self.variant not in VARIANTS:
            wrong.append(f"pairs {self.variant!r} ({', '.join(VARIANTS)})")
        if self.v == 1 and self.variant == "rows" and not self.random:
            wrong.append("pairs within rows of one picture")
        if not wrong and self.depth and self.depth < self.needed:
            wrong.append(f"depth {self.depth} (a {self.u} x {self.v} grid of stride {self.stride} needs {self.needed})")
        if not wrong and self.u * self.v + self.random < 2:
            wrong.append("a grid of one picture")
        if wrong:
            raise BeholderError(f"lists from the cascade: {'; '.join(wrong)}")

    @property
    def needed(self) -> int:
        return needed(self.u, self.v, self.stride)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "scorers": dict(self.scorers)}


def standard(values: NDArray[Any]) -> NDArray[np.float64]:
    """(K,) values less their mean, by their standard deviation; zeros where all are equal."""
    rows = np.asarray(values, np.float64)
    spread = rows.std()
    return np.zeros(len(rows)) if spread < 1e-12 else (rows - rows.mean()) / spread


def mixed(relevance: NDArray[Any], beauty: NDArray[Any], share: float) -> NDArray[np.float64]:
    """(1 - share) z(relevance) + share z(beauty), z within the candidates (K,)."""
    return (1 - share) * standard(relevance) + share * standard(beauty)


def beauty_of(scores: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[np.float64]:
    """The weighted mean of scores (K,), each standardised within the candidates."""
    parts = [weight * standard(values) for values, weight in zip(scores, weights, strict=True)]
    return np.asarray(np.sum(parts, axis=0) / sum(abs(weight) for weight in weights))


def _above(prefer: NDArray[np.bool_], more: int) -> NDArray[np.bool_]:
    """The preferences (n, n) with `more` pictures that are below every one of these, and on a level."""
    size = len(prefer)
    whole = np.zeros((size + more, size + more), bool)
    whole[:size, :size], whole[:size, size:] = prefer, True
    return whole


class Cascade:
    """The teacher over an open index: `lists(queries)`; what gave no list is counted in `rejected`, by reason."""

    def __init__(self, searcher: Searcher, config: CascadeConfig) -> None:
        known = [record.name for record in searcher.index.scorers]
        missing = [name for name, _ in config.scorers if name not in known]
        if missing:
            raise BeholderError(
                f"the index has no scores of {', '.join(missing)}",
                f"scorers it has ({', '.join(known) or 'none'})",
                f"Example: beholder score INDEX --scorer {missing[0]}",
            )
        wanted = config.needed + config.random
        if len(searcher.index) < wanted:
            raise BeholderError(f"{len(searcher.index)} pictures", f"{wanted} for these lists", "Lower --stride.")
        self.searcher, self.config = searcher, config
        self.rejected: Counter[str] = Counter()
        self._allowed = None if config.where is None else searcher.matching(config.where)
        self._drawn_from: NDArray[Any] | None = None  # sha256 of all pictures that may be in a list, when first needed
        self._scorer_names = [name for name, _ in config.scorers]
        self._weights = [weight for _, weight in config.scorers]
        self._from = {"index": searcher.index.manifest.embeddings, "scorers": dict(config.scorers)}

    def origin(self) -> dict[str, Any]:
        """What the table says of all its lists."""
        manifest = self.searcher.index.manifest
        prints = {record.name: record.fingerprint for record in self.searcher.index.scorers}
        return {
            "made": "cascade",
            "config": self.config.to_dict(),
            "encoder": manifest.encoder.name,
            "image_fingerprint": manifest.encoder.image_fingerprint,
            "text_fingerprint": self.searcher.encoder.text_encoder().record.text_fingerprint,
            "embeddings": manifest.embeddings,
            "scorers": {name: prints[name] for name in self._scorer_names},
            "rewriter": self.searcher.rewriter(self.config.rewrite).provenance,
        }

    def lists(self, queries: Sequence[str]) -> Iterator[PreferenceList]:
        """A list for each query that gives one, in order."""
        for start in range(0, len(queries), BATCH):
            yield from self._batch(queries[start : start + BATCH])

    def _batch(self, queries: Sequence[str]) -> Iterator[PreferenceList]:
        config, index = self.config, self.searcher.index
        rewrites = self.searcher.rewriter(config.rewrite).rewrite(list(queries))
        vectors = self.searcher.encoder.encode([Query.of(rewrite.text) for rewrite in rewrites])
        depth = min(len(index), 2 * (config.depth or config.needed))  # room for copies that are taken out
        found = index.search(vectors, depth, allowed=self._allowed)
        ids = found.ids
        hashes = np.array(index.items(ids.reshape(-1)).column("sha256").to_pylist()).reshape(ids.shape)
        scores = [index.score_values(name, ids.reshape(-1)).reshape(ids.shape) for name in self._scorer_names]
        for place, (query, rewrite) in enumerate(zip(queries, rewrites, strict=True)):
            told = {"rewrite": rewrite.text, "rewriter": rewrite.rewriter, "fallback": rewrite.fallback, **self._from}
            one = self._list(query, found.scores[place], hashes[place], [rows[place] for rows in scores], told)
            if one is not None:
                yield one

    def _list(
        self,
        query: str,
        relevance: NDArray[np.float32],
        hashes: NDArray[Any],
        scores: list[NDArray[np.float32]],
        told: dict[str, Any],
    ) -> PreferenceList | None:
        config = self.config
        known = ~np.isnan(np.stack(scores)).any(axis=0) if scores else np.ones(len(hashes), bool)
        if not known.all():
            self.rejected["pictures without a score"] += int((~known).sum())
        _, first = np.unique(hashes, return_index=True)  # of copies only the one that is found first
        kept = np.intersect1d(np.flatnonzero(known), first)[: config.depth or config.needed]
        if len(kept) < config.needed:
            self.rejected["queries with too few pictures"] += 1
            return None
        beauty = beauty_of([rows[kept] for rows in scores], self._weights) if scores else np.zeros(len(kept))
        order = np.argsort(-mixed(relevance[kept], beauty, config.mix if scores else 0.0), kind="stable")
        cells = grid(beauty[order], config.u, config.v, config.stride)
        if cells is None:  # cannot be: there are as many as are needed
            raise BeholderError(f"{len(order)} pictures", f"{config.needed}")
        strangers = self._strangers(query, hashes[kept])
        better, worse = pairs_of(_above(grid_prefer(config.u, config.v, config.variant), len(strangers)))
        ranks = kept[order[cells.reshape(-1)]]  # places in the retriever's own order
        return PreferenceList(
            query=query,
            pictures=(*hashes[ranks].tolist(), *strangers),
            better=tuple(better),
            worse=tuple(worse),
            chains=tuple(tuple(chain) for chain in grid_chains(config.u, config.v, config.variant)),
            provenance={**told, "ranks": ranks.tolist()},
        )

    def _strangers(self, query: str, candidates: NDArray[Any]) -> list[str]:
        """Pictures (sha256) drawn at random, by the query's words, from those that are no candidates."""
        if not self.config.random:
            return []
        if self._drawn_from is None:
            index = self.searcher.index
            ids = index.live_ids() if self._allowed is None else self._allowed
            self._drawn_from = np.unique(index.items(ids).column("sha256").to_pylist())
        others = np.setdiff1d(self._drawn_from, candidates)
        if len(others) < self.config.random:
            raise BeholderError(f"{len(others)} pictures beside the candidates", f"{self.config.random} to draw")
        words = int.from_bytes(hashlib.sha256(query.encode()).digest()[:8])
        drawn: list[str] = np.random.default_rng((self.config.seed, words)).permutation(others).tolist()
        return drawn[: self.config.random]

    def write(self, path: Path, queries: Sequence[str], progress: Progress | None = None) -> int:
        """Writes the table and returns the number of lists. Stopped and called again it goes on: what was made lies in
        a hidden folder beside `path` until the table is whole. Raises ConditionFailed where no query gave a list."""
        recipe = sha256_bytes(json.dumps([self.origin(), list(queries)], sort_keys=True).encode())
        place = path.with_name(f".{path.name}.parts")
        parts = [place / f"{recipe[:16]}-{start:07d}.parquet" for start in range(0, len(queries), BATCH)]
        for number, part in enumerate(parts):
            if not part.is_file():
                before = Counter(self.rejected)
                made = list(self._batch(queries[number * BATCH : (number + 1) * BATCH]))
                write_preferences(part, made, {"rejected": dict(self.rejected - before)})
            else:
                self.rejected.update(read_preferences(part).origin["rejected"])
            if progress:
                progress(min((number + 1) * BATCH, len(queries)), len(queries))
        lists = [one for part in parts for one in read_preferences(part).lists]
        if not lists:
            told = ", ".join(f"{count} {reason}" for reason, count in self.rejected.items()) or "no query"
            raise ConditionFailed(f"no list could be made ({told})", "one at least", "Lower --stride, or score more.")
        count = write_preferences(path, lists, {**self.origin(), "rejected": dict(self.rejected)})
        shutil.rmtree(place)
        return count
