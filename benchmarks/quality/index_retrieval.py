"""`bench index`: what approximate search costs in retrieval: hit_rate@10 of captions through the index that the
planner builds and through kinds that are forced, against exact search over the same pictures.

Every index is tuned on captions of the table outside the split that is asked, so that no tuned setting has
seen a query. The differences are paired by query; one below the limit ends with exit 1.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures import metrics
from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.judgements import Judgements, Query, refuse_foregone
from benchmarks.tables.pictures import rows_of_names
from indexes.building.build import build_index
from indexes.building.index_config import IndexConfig
from indexes.engine.factories import lists_for
from indexes.engine.memory import parse_size
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.exact import Neighbors, exact_search
from indexes.records.manifest import sha256_file
from indexes.records.shards import Embeddings
from indexes.searching.search import Index, load_index
from retrieval.encoding.encoder import TextEncoder
from retrieval.encoding.encoders import load_encoder

from .captions import RetrievalConfig, read_judgements
from .rankings import query_vectors, rank_by_index

K = 10
TUNING = 1000  # captions, drawn by seed


@dataclass(frozen=True)
class IndexRetrievalConfig:
    """Options of `bench index`."""

    embeddings: Path
    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    split: str = "val"
    factory: tuple[str, ...] = ()  # none: IVF-SQ8 and IVF-PQ of as many lists as the planner would take
    knn_recall: float = 0.95
    memory: str = ""  # the planner's bound; none: any
    within: float = 0.01  # most that hit_rate@10 may lose
    model: str | None = None
    seed: int = 0
    name: str = "index-retrieval"

    def __post_init__(self) -> None:
        if not 0 <= self.within < 1:
            raise BeholderError(f"within {self.within}", "0 to 1, such as 0.01 for a point")
        if self.memory:
            parse_size(self.memory)


class Exactly:
    """An open index that is searched exactly: the oracle, with the index's own pictures."""

    def __init__(self, index: Index) -> None:
        self.folder, self.blocks, self.items = index.folder, index.blocks, index.items

    def search(self, queries: npt.NDArray[np.float32], k: int) -> Neighbors:
        return exact_search(queries, self.blocks(), k)


def measure(config: IndexRetrievalConfig, *, encoder: TextEncoder | None = None) -> Run:
    """The run record. `encoder`: one already loaded, instead of config.model."""
    embeddings = Embeddings(config.embeddings)
    encoder = encoder or load_encoder(config.model or embeddings.manifest.encoder.name, "cpu")
    judged = read_judgements(_table(config, config.split))
    refuse_foregone(judged, among_others=True)
    rows_of_names(judged.pictures, embeddings.items().column("uri").to_pylist(), embeddings.folder)
    texts = query_vectors(encoder, judged.queries)
    tuning = query_vectors(encoder, _tuning(config, judged))
    memory = parse_size(config.memory) if config.memory else 0
    lists = lists_for(len(embeddings))
    pieces = embeddings.manifest.dimension // 4
    forced = config.factory or (f"IVF{lists},SQ8", f"IVF{lists},PQ{pieces}x4fs")
    numbers: dict[str, Number] = {}
    told = []
    before: npt.NDArray[np.float64] | None = None
    exact: npt.NDArray[np.int64] | None = None
    with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
        for factory in ("auto", *forced):
            folder = Path(place) / factory.replace(",", "-")
            settings = IndexConfig(
                factory, seed=config.seed, knn_recall=config.knn_recall, memory=memory if factory == "auto" else 0
            )
            manifest = build_index(embeddings.folder, folder, settings, query_vectors=tuning, query_kind="text")
            index = load_index(folder)
            if before is None or exact is None:
                before = _hit_rate(judged, texts, Exactly(index))
                exact = exact_search(texts, index.blocks(), K).ids
                numbers[f"hit_rate@{K}, exact search"] = Number.of(bootstrap_mean(before, seed=config.seed))
            after = _hit_rate(judged, texts, index)
            name = f"planned ({manifest.factory})" if factory == "auto" else factory
            recall = metrics.knn_recall(index.search(texts, K).ids, exact, K)
            numbers[f"hit_rate@{K}, {name}"] = Number.of(bootstrap_mean(after, seed=config.seed))
            difference = paired_difference(after, before, seed=config.seed)
            numbers[f"hit_rate@{K}, {name}, less exact"] = Number.of(difference)
            numbers[f"knn_recall@{K}, {name}"] = Number.of(bootstrap_mean(recall, seed=config.seed))
            told.append(f"{name}: {_parameters(manifest.parameters)}")
    return Run(
        name=config.name,
        command=command_of("bench index", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "split": config.split,
            "queries": len(judged.queries),
            "candidates": len(embeddings),
            "encoder": Path(embeddings.manifest.encoder.name).name,
            "image_fingerprint": embeddings.manifest.encoder.image_fingerprint,
        },
        numbers=numbers,
        notes=(
            f"{len(judged.queries):,} captions of split {config.split}, each against {len(embeddings):,} pictures; "
            f"indexes tuned to knn_recall@{K} {config.knn_recall:g} on {len(tuning):,} other captions. "
            f"{'; '.join(told)}.",
        ),
    )


def check(run: Run, within: float) -> None:
    """Raises ConditionFailed naming the indexes that lost more than `within` of hit_rate@10."""
    lost = [
        f"{name.removesuffix(', less exact')} lost {-number.value:.4f}"
        for name, number in run.numbers.items()
        if name.endswith(", less exact") and number.value < -within
    ]
    if lost:
        raise ConditionFailed("; ".join(lost), f"at most {within:g}", "Build with a higher --knn-recall.")


def _table(config: IndexRetrievalConfig, split: str | None) -> RetrievalConfig:
    return RetrievalConfig(
        table=config.table,
        image_column=config.image_column,
        text_column=config.text_column,
        splits=config.splits,
        split=split,
    )


def _tuning(config: IndexRetrievalConfig, judged: Judgements) -> list[Query]:
    """TUNING captions of pictures outside the split. Raises BeholderError where there are none."""
    asked = set(judged.pictures)
    everything = read_judgements(_table(config, None))
    others = [query for query in everything.queries if everything.pictures[query.relevant[0]] not in asked]
    if not others:
        raise BeholderError(f"all captions are of split {config.split}", "others to tune with", "Give --splits.")
    drawn = np.random.default_rng(config.seed).permutation(len(others))[:TUNING]
    return [others[place] for place in np.sort(drawn)]


def _hit_rate(judged: Judgements, texts: npt.NDArray[np.float32], index: Any) -> npt.NDArray[np.float64]:
    return metrics.hit_rate(rank_by_index(judged, texts, index, K).hits, K)


def _parameters(parameters: dict[str, Any]) -> str:
    shown = [f"{name} {value}" for name, value in parameters.items() if name in ("nprobe", "efSearch", "candidates")]
    return ", ".join(shown) or "nothing to set"
