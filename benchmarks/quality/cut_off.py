"""`bench cutoff`: what --min-relevance auto refuses: captions that have their picture in the index, one-word subjects
that many captions name, gibberish, and subjects that no caption of the table names.

The index is calibrated here on captions of one split (`train`) and asked those of another (`val`). Two thresholds are
reported: the one that an index of these pictures would keep, and the one that refuses 5 % of the calibration captions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.subjects import absent_subjects, short_subjects
from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, REAL_REFUSED
from indexes.records.manifest import sha256_file
from indexes.searching.search import load_index
from retrieval.encoding.encoder import TextEncoder
from retrieval.encoding.encoders import load_encoder
from retrieval.search.calibrate import CAPTIONS, calibrate
from retrieval.search.gibberish import gibberish
from retrieval.search.query_encoder import check_encoder

from .captions import RetrievalConfig, read_judgements

GIBBERISH = 200
DEEP = 1000  # neighbours that the compared statistics look at
Statistics = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class CutOffConfig:
    """Options of `bench cutoff`."""

    index: Path
    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    calibration_split: str = "train"
    split: str = "val"
    compare: bool = False  # other statistics than the one in use: for the split that choices are made on
    model: str | None = None
    seed: int = 1
    name: str = "cut-off"

    def __post_init__(self) -> None:
        if self.calibration_split == self.split:
            raise BeholderError(f"calibration and questions are both of {self.split}", "two splits")


def measure(config: CutOffConfig, *, encoder: TextEncoder | None = None) -> Run:
    """The run record. `encoder`: one already loaded, instead of config.model."""
    index = load_index(config.index)
    encoder = encoder or load_encoder(config.model or index.manifest.encoder.name, "cpu")
    check_encoder(index, encoder)
    known, asked = (_captions(config, split) for split in (config.calibration_split, config.split))
    every = _captions(config, None)
    absent, short = absent_subjects(every), short_subjects(every)
    null = gibberish(GIBBERISH, config.seed)

    def statistics(texts: Sequence[str]) -> Statistics:
        found = index.search(encoder.encode_texts(texts), DEEP if config.compare else DEPTH).scores
        return _statistics(found, config.compare)

    drawn = np.sort(np.random.default_rng(config.seed).permutation(len(known))[:CAPTIONS])
    calibration = calibrate(index, encoder, captions=known, seed=config.seed)
    of = {
        config.calibration_split: statistics([known[place] for place in drawn]),
        f"{config.split} captions": statistics(asked),
        f"{len(short)} one-word subjects": statistics(short),
        f"{GIBBERISH} gibberish queries": statistics(null),
        f"{len(absent)} absent subjects": statistics(absent),
    }
    numbers: dict[str, Number] = {}
    used = f"mean of the best {DEPTH}"
    numbers["threshold kept by the index"] = Number(calibration.threshold, "cosine")
    real = of.pop(config.calibration_split)
    _report(numbers, of, used, calibration.threshold, "as kept", config.seed)
    for statistic, values in real.items():
        threshold = float(np.quantile(values, REAL_REFUSED["captions"]))
        told = f"at 5 % of {config.calibration_split} captions" + ("" if statistic == used else f", {statistic}")
        numbers[f"threshold {told}"] = Number(round(threshold, 4), "cosine")
        _report(numbers, of, statistic, threshold, told, config.seed)
    return Run(
        name=config.name,
        command=command_of("bench cutoff", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "calibration_split": config.calibration_split,
            "split": config.split,
            "captions": len(asked),
            "pictures": len(index),
            "encoder": Path(index.manifest.encoder.name).name,
            "image_fingerprint": index.manifest.encoder.image_fingerprint,
        },
        numbers=numbers,
        notes=(
            f"Refused: the mean relevance of a query's best {DEPTH} of {len(index):,} pictures is below the threshold. "
            f"{len(asked):,} captions of {config.split}; calibrated on {len(drawn)} captions of "
            f"{config.calibration_split} and {calibration.null.queries} other gibberish queries.",
        ),
    )


def _statistics(found: npt.NDArray[np.float32], compare: bool) -> Statistics:
    """By name, (Q,) each: of the relevances (Q, K) of the best K."""
    used = {f"mean of the best {DEPTH}": found[:, :DEPTH].mean(1, dtype=np.float64)}
    if not compare:
        return used
    return used | {
        "the best": found[:, 0].astype(np.float64),
        "mean of the best 100": found[:, :100].mean(1, dtype=np.float64),
        f"the best less the {found.shape[1]:,}th": (found[:, 0] - found[:, -1]).astype(np.float64),
    }


def _report(
    numbers: dict[str, Number], of: dict[str, Statistics], statistic: str, threshold: float, told: str, seed: int
) -> None:
    """The share of each sort of queries that is refused."""
    for sort, statistics in of.items():
        refused = (statistics[statistic] < threshold).astype(np.float64)
        numbers[f"{sort} refused, {told}"] = Number.of(bootstrap_mean(refused, seed=seed))


def _captions(config: CutOffConfig, split: str | None) -> list[str]:
    table = RetrievalConfig(
        table=config.table,
        image_column=config.image_column,
        text_column=config.text_column,
        splits=config.splits,
        split=split,
    )
    return [query.texts[0] for query in read_judgements(table).queries]
