"""Three ways to rank pictures for queries: exactly, through an index, and through the index and the
command line.

Each gives `hits` (Q, K) bool as metrics.py wants them, and how many candidates a query was ranked against.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures.metrics import Bools, ranked_hits
from benchmarks.tables.judgements import Judgements, Query, match_names
from benchmarks.tables.pictures import rows_of_names
from indexes.errors import BeholderError
from retrieval.encoding.encoder import TextEncoder

OUTSIDE, LEFT_OUT = -1, -2  # an indexed picture that the table does not name, or that is not to be ranked
SCORES_AT_ONCE = 1 << 24  # 64 MB of float32 scores, whatever the number of queries and pictures


@dataclass(frozen=True)
class Rankings:
    """hits (Q, K) bool, best first; `candidates` is how many pictures each query was ranked against."""

    hits: Bools
    candidates: int


def query_vectors(encoder: TextEncoder, queries: Sequence[Query]) -> npt.NDArray[np.float32]:
    """(Q, D) float32 unit rows: the mean of a query's phrasings, each encoded to unit length, normalised
    again.
    """
    texts = list(dict.fromkeys(text for query in queries for text in query.texts))
    rows = {text: row for row, text in enumerate(texts)}
    encoded = encoder.encode_texts(texts)
    means = np.stack([encoded[[rows[text] for text in query.texts]].mean(axis=0) for query in queries])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


def rank_exactly(
    judged: Judgements,
    queries: npt.NDArray[np.float32],
    pictures: npt.NDArray[np.float32],
    k: int | None = None,
) -> Rankings:
    """All pictures (N, D) by inner product with each query (Q, D); the first k, or all. Ties by the
    table's order.
    """
    relevance = judged.relevance()
    at_once = max(1, SCORES_AT_ONCE // len(pictures))
    _refuse_ties(queries, pictures)
    parts = [
        ranked_hits(queries[start : start + at_once] @ pictures.T, relevance[start : start + at_once], k)
        for start in range(0, len(queries), at_once)
    ]
    return Rankings(np.concatenate(parts), len(pictures))


def rank_texts(judged: Judgements, queries: npt.NDArray[np.float32], pictures: npt.NDArray[np.float32]) -> Rankings:
    """The other way round: all queries (Q, D) by inner product with each picture (N, D), as hits (N, Q)."""
    relevance = judged.relevance().T
    at_once = max(1, SCORES_AT_ONCE // len(queries))
    parts = [
        ranked_hits(pictures[start : start + at_once] @ queries.T, relevance[start : start + at_once])
        for start in range(0, len(pictures), at_once)
    ]
    return Rankings(np.concatenate(parts), len(queries))


def rank_by_index(
    judged: Judgements, queries: npt.NDArray[np.float32], index: Any, k: int, *, without_others: bool = False
) -> Rankings:
    """The first k of everything in an open index, as `search` answers.

    `without_others` leaves out the table's pictures of other splits: for label tables, where they bear the
    same labels but are no part of the question. It needs k to be the whole index.
    """
    uris, ids = uris_and_ids(index)
    places = np.full(len(ids), OUTSIDE, dtype=np.int64)
    if without_others:
        others = match_names(judged.others, uris)
        places[others[others >= 0]] = LEFT_OUT
    places[rows_of_names(judged.pictures, uris, index.folder)] = np.arange(len(judged.pictures))
    by_id = np.argsort(ids)
    relevance = judged.relevance()
    parts = []
    at_once = max(1, SCORES_AT_ONCE // min(k, len(ids)))
    for start in range(0, len(queries), at_once):
        found = index.search(queries[start : start + at_once], k).ids
        ranked = places[by_id[np.searchsorted(ids, found, sorter=by_id)]]
        if without_others:  # as many are left out of every row, because k reaches all of them
            ranked = np.stack([row[row != LEFT_OUT] for row in ranked])
        parts.append(_hits(ranked, relevance[start : start + at_once]))
    return Rankings(np.concatenate(parts), int((places != LEFT_OUT).sum()))


def rank_by_cli(judged: Judgements, index: Path, k: int, model: str | None = None) -> Rankings:
    """The answers of `beholder search INDEX --queries FILE -k K --json` in a process of its own.

    Every query must have one phrasing. Raises BeholderError with the command's last line where it fails.
    """
    texts = [query.texts[0] for query in judged.queries]
    with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
        file = Path(place) / "queries.txt"
        file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        command = [sys.executable, "-m", "retrieval", "search", str(index), "--queries", str(file)]
        command += ["-k", str(k), "--json"] + (["--model", model] if model else [])
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BeholderError(f"beholder search ended with {done.returncode} ({last})", "0", "Run it by hand.")
    answers = parse_answers(done.stdout, texts)
    from indexes.searching.search import load_index

    indexed, _ = uris_and_ids(load_index(index))
    rows_of_names(judged.pictures, indexed, index)
    uris = list(dict.fromkeys(uri for answer in answers for uri in answer))
    places = match_names(uris, judged.pictures)
    place_of = dict(zip(uris, places.tolist(), strict=True))
    width = max((len(answer) for answer in answers), default=0)
    rows = np.full((len(answers), width), OUTSIDE, dtype=np.int64)
    for row, answer in enumerate(answers):
        rows[row, : len(answer)] = [place_of[uri] for uri in answer]
    return Rankings(_hits(rows, judged.relevance()), len(indexed))


def parse_answers(output: str, texts: Sequence[str]) -> list[list[str]]:
    """The uris of each query, best first, from one JSON object per line: {"query", "results": [{"uri",
    ...}]}.

    Raises BeholderError unless there is an answer for each text, in order: a shifted answer would score
    nonsense.
    """
    try:
        answers = [json.loads(line) for line in output.splitlines() if line.strip()]
        asked = [answer["query"] for answer in answers]
        found = [[result["uri"] for result in answer["results"]] for answer in answers]
    except (ValueError, KeyError, TypeError) as error:
        raise BeholderError(f"search printed something else ({error})", "one JSON object per query") from error
    if asked != list(texts):
        raise BeholderError(f"search answered {len(asked)} queries, not the same ones", f"{len(texts)} in order")
    return found


def uris_and_ids(index: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The uri and id of every row of an open index, in row order."""
    ids = np.concatenate([block_ids for block_ids, _ in index.blocks()])
    return index.items(ids).column("uri").to_pylist(), ids


def _refuse_ties(queries: npt.NDArray[np.float32], pictures: npt.NDArray[np.float32]) -> None:
    """Raises BeholderError where every picture has the same vector: the table's own order would be measured."""
    if len(pictures) > 1 and len(queries) and not np.ptp(pictures, axis=0).any():
        found = f"all {len(pictures)} pictures have the same vector, so that all scores are tied"
        raise BeholderError(found, "vectors that differ", "Check the encoder and the pictures.")


def _hits(places: npt.NDArray[np.int64], relevance: Bools) -> Bools:
    """(Q, K) whether the table's picture `places` (Q, K; negative: none of them) is relevant."""
    hits = np.take_along_axis(relevance, np.maximum(places, 0), axis=1)
    return np.asarray(hits & (places >= 0), dtype=np.bool_)
