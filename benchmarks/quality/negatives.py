"""`bench negatives`: what `search A --not B` is worth: among the best ten pictures, how many show A, and how many A but
not B, by the weight of B. A picture shows what one of its captions names.

A and B are one-word subjects that occur together often enough to be in each other's way; `--leave-out` keeps the
pictures of a split out, so that the default weight (retrieval.search.query.NOT_WEIGHT) is chosen without them.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.subjects import stem, word_list, words_of
from indexes.errors import BeholderError
from indexes.records.exact import exact_search
from indexes.records.manifest import sha256_file
from indexes.searching.search import Index, load_index
from retrieval.encoding.encoder import TextEncoder
from retrieval.encoding.encoders import load_encoder
from retrieval.search.query import combine
from retrieval.search.query_encoder import check_encoder

from .captions import RetrievalConfig, read_judgements

K = 10
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOGETHER, ALONE, SHARE = 30, 50, 0.15  # pictures with both, with A alone, and of those with A the share with B
PAIRS = 200
Shows = dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class NegativesConfig:
    """Options of `bench negatives`."""

    index: Path
    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    leave_out: str | None = "val"
    seed: int = 1
    name: str = "negatives"


def measure(config: NegativesConfig, *, encoder: TextEncoder | None = None) -> Run:
    """The run record. `encoder`: one already loaded, instead of the index's own."""
    index = load_index(config.index)
    encoder = encoder or load_encoder(index.manifest.encoder.name, "cpu")
    check_encoder(index, encoder)
    ids, shows = _shown(config, index)
    pairs = _pairs(shows, config.seed)
    names = sorted({name for pair in pairs for name in pair})
    texts = dict(zip(names, encoder.encode_texts(names), strict=True))
    vectors = index.vectors(ids)
    numbers: dict[str, Number] = {}
    for weight in WEIGHTS:
        parts = [1.0, -weight] if weight else [1.0]
        queries = np.stack([combine(np.stack([texts[a], texts[b]])[: len(parts)], parts) for a, b in pairs])
        found = exact_search(queries, [(np.arange(len(ids)), vectors)], K).ids
        wanted = np.array([shows[a][row].mean() for (a, _), row in zip(pairs, found, strict=True)])
        clean = np.array([(shows[a] & ~shows[b])[row].mean() for (a, b), row in zip(pairs, found, strict=True)])
        told = f"--not B:{weight:g}" if weight else "without --not"
        numbers[f"show A, {told}"] = Number.of(bootstrap_mean(wanted, seed=config.seed))
        numbers[f"show A and not B, {told}"] = Number.of(bootstrap_mean(clean, seed=config.seed))
    return Run(
        name=config.name,
        command=command_of("bench negatives", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "pictures": len(ids),
            "pairs": len(pairs),
            "encoder": Path(index.manifest.encoder.name).name,
        },
        numbers=numbers,
        notes=(
            f"Share of the best {K} of {len(ids):,} pictures, over {len(pairs)} pairs of one-word subjects of which at "
            f"least {100 * SHARE:.0f} % of the pictures of A show B too; by the captions.",
        ),
    )


def _shown(config: NegativesConfig, index: Index) -> tuple[npt.NDArray[np.int64], Shows]:
    """The ids (n,) of the pictures that count, and for each subject which of them show it (n,)."""
    words: dict[str, set[str]] = defaultdict(set)
    judged = read_judgements(_table(config, None))
    for query in judged.queries:
        words[judged.pictures[query.relevant[0]]] |= {stem(word) for word in words_of(query.texts[0])}
    if config.leave_out:
        for picture in read_judgements(_table(config, config.leave_out)).pictures:
            words.pop(picture, None)
    items = index.items_table()
    pairs = zip(items.column("id").to_pylist(), items.column("uri").to_pylist(), strict=True)
    kept = [(identity, words[uri]) for identity, uri in pairs if uri in words]
    if not kept:
        raise BeholderError("no picture of the table is in the index", "an index of the table's pictures")
    shows = {name: np.array([stem(name) in named for _, named in kept]) for name in word_list("short_subjects.txt")}
    return np.array([identity for identity, _ in kept], np.int64), shows


def _table(config: NegativesConfig, split: str | None) -> RetrievalConfig:
    return RetrievalConfig(
        table=config.table,
        image_column=config.image_column,
        text_column=config.text_column,
        splits=config.splits,
        split=split,
    )


def _pairs(shows: Shows, seed: int) -> list[tuple[str, str]]:
    pairs = [
        (a, b)
        for a, b in permutations(shows, 2)
        if (both := int((shows[a] & shows[b]).sum())) >= max(TOGETHER, SHARE * int(shows[a].sum()))
        and int(shows[a].sum()) - both >= ALONE
    ]
    if not pairs:
        raise BeholderError("no two subjects are often shown together", "a larger table")
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:PAIRS]
    return [pairs[place] for place in np.sort(drawn)]
