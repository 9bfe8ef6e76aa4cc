"""`bench hpir score`: agreement of encoders, rewriters, re-rankers and scorers with people, on any number of sets.

The metric is `metric.py`'s; intervals and paired differences are bootstraps over queries, or over pictures where a set
asks one query only. Controls run every time and end the run with exit 1 when they fail: then the metric is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.per_query import PerQuery, digest_of
from benchmarks.runs import Number, Run, command_of, describe_machine
from benchmarks.tables.hpir_set import TEST, HpirSet, pictures_of, read_set
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_bytes, write_bytes_atomic
from retrieval.votes import ASPECTS

from . import metric as hpir
from .controls import run_controls
from .judged import Judged, judged_items, with_majority
from .numbers import agreements, beside, differences, notes_of, per_unit
from .pictures import SetPictures
from .systems import System, SystemSpecs, query_of, questions_of, systems


@dataclass(frozen=True)
class HpirScoreConfig:
    """Options of `bench hpir score`."""

    sets: tuple[Path, ...]
    pictures: tuple[Path, ...] = ()  # folders that hold the sets' pictures
    embeddings: tuple[Path, ...] = ()
    encoder: tuple[str, ...] = ()
    rewrite: tuple[str, ...] = ()
    rerank: tuple[str, ...] = ()
    scorer: tuple[str, ...] = ()
    beauty: tuple[float, ...] = ()  # weights of the first scorer, as of `search --beauty`
    scores: tuple[Path, ...] = ()  # TSV of human scores beside their pictures, each with a --score-column
    score_column: tuple[str, ...] = ()
    aspect: tuple[str, ...] = ()  # none = all that have a majority somewhere
    group: str = "mean"
    weight: str = "net"
    baseline: str = ""  # the system that the others are compared with; "" = the first
    split: str = TEST
    seed: int = 0
    device: str = "cpu"
    per_item: Path | None = None  # TSV to look at
    name: str = "hpir"

    def __post_init__(self) -> None:
        wrong = []
        if not self.sets:
            wrong.append("give a set")
        if len(self.scores) != len(self.score_column):
            wrong.append("give a --score-column for each --scores")
        if self.beauty and not self.scorer:
            wrong.append("--beauty needs a --scorer, whose beauty it weighs")
        if any(not np.isfinite(b) for b in self.beauty):
            wrong.append(f"--beauty {self.beauty} holds what is no number")
        if self.group not in hpir.GROUP_RULES:
            wrong.append(f"--group {self.group} is none of {', '.join(hpir.GROUP_RULES)}")
        if self.weight not in hpir.WEIGHTS:
            wrong.append(f"--weight {self.weight} is none of {', '.join(hpir.WEIGHTS)}")
        wrong += [
            f"--aspect {aspect} is none of {', '.join(ASPECTS)}" for aspect in self.aspect if aspect not in ASPECTS
        ]
        if wrong:
            raise BeholderError("; ".join(wrong), "", "See `beholder bench hpir score --help`.")

    @property
    def specs(self) -> SystemSpecs:
        tables = tuple(zip(self.scores, self.score_column, strict=True))
        return SystemSpecs(self.encoder, self.rewrite, self.rerank, self.scorer, tables, self.device, self.beauty)


def measure(config: HpirScoreConfig) -> Run:
    """The run record. Raises FormatError for a file that is no set, BeholderError for one without items or without a
    majority and for missing pictures, ConditionFailed where a control fails."""
    sets = [read_set(path, config.split) for path in config.sets]
    names = [one.name for one in sets]
    if len(set(names)) != len(names):
        raise BeholderError(f"two sets are called {max(names, key=names.count)}", "different names", "Rename a folder.")
    numbers: dict[str, Number] = {}
    per_query: dict[str, PerQuery] = {}
    notes: list[str] = []
    data: dict[str, Any] = {"split": config.split, "sets": {}}
    lines: list[str] = []
    shown: set[str] = set()
    for one in sets:
        pictures = SetPictures(pictures_of(one.items), config.pictures, config.embeddings)
        scored = _Scored(config, one, pictures, f"{one.name}: " if len(sets) > 1 else "")
        scored.run()
        numbers |= scored.numbers
        per_query |= scored.per_query
        notes += [note for note in scored.notes if note not in notes]
        data["sets"][one.name] = scored.data
        shown.update(pictures.sha256s)
        lines += scored.lines if not lines else scored.lines[1:]
    if config.per_item is not None:
        write_bytes_atomic(config.per_item, ("\n".join(lines) + "\n").encode())
    data[f"{config.split}_pictures"] = sorted(shown)  # by sha256: training leaves them out
    command, machine = command_of("bench hpir score", config), describe_machine(config.device)
    return Run(config.name, command, machine, config.seed, data, numbers, tuple(notes), per_query=per_query)


class _Scored:
    """One set on its way into the run."""

    def __init__(self, config: HpirScoreConfig, one: HpirSet, pictures: SetPictures, prefix: str) -> None:
        self.config, self.set, self.pictures, self.prefix = config, one, pictures, prefix
        self.numbers: dict[str, Number] = {}
        self.notes: list[str] = []
        self.lines: list[str] = []
        self.data: dict[str, Any] = {}
        self.per_query: dict[str, PerQuery] = {}

    def run(self) -> None:
        items = self.set.items
        if self.config.specs.encoders(self.pictures):
            items = tuple(item for item in items if query_of(item) is not None)
            left = len(self.set.items) - len(items)
            if left:
                text = f"{left:,} items left out for every system: their queries hold pictures or vectors."
                self.notes.append(self.prefix + text)
            if not items:
                raise BeholderError(
                    f"all queries of {self.set.name} hold pictures", "queries of words", "Use --scorer."
                )
        questions, asked = questions_of(items, self.pictures.rows)
        aspects = [aspect for aspect in ASPECTS if with_majority(items, aspect)]
        wanted = list(self.config.aspect) or aspects
        tied = next((aspect for aspect in wanted or ASPECTS if aspect not in aspects), None)
        if tied is not None:
            problem = (
                f"none of the {len(items):,} items of {self.set.name} has a majority for {tied}: all tie or are empty"
            )
            raise BeholderError(problem, "votes that differ", "Collect more votes, or choose another --aspect.")
        found = systems(self.config.specs, questions, self.pictures)
        self.notes += dict.fromkeys(self.prefix + note for system in found for note in system.notes)
        if "command" in self.set.made:
            self.notes.append(f"{self.prefix}Made by `{self.set.made['command']}`.")
        self.data = {
            "sha256": self.set.sha256,
            "sources": dict(self.set.made.get("sources", {})),
            "items": len(self.set.items),
            "queries": len(questions),
            "pictures": len(self.pictures.sha256s),
            "systems": {system.name: dict(system.parts) for system in found},
            "pictures_sha256": sha256_bytes("\n".join(self.pictures.sha256s).encode()),
        }
        for aspect in wanted:
            judged = judged_items(items, aspect, questions, asked, self.pictures.rows)
            self._aspect(aspect, f" ({aspect})" if len(wanted) > 1 else "", judged, found)

    def _aspect(self, aspect: str, suffix: str, judged: Judged, found: Sequence[System]) -> None:
        config = self.config
        scores = {system.name: judged.scored(system.scores, config.group) for system in found}
        baseline = config.baseline or found[0].name
        if baseline not in scores:
            raise BeholderError(
                f"no system is called {baseline!r}", " or ".join(scores), "Give --baseline one of them."
            )
        chosen = {name: one for name, (_, one) in scores.items()}
        numbers = agreements(judged, chosen, config.weight, config.seed)
        gains = differences(judged, chosen, baseline, config.weight, config.seed)
        controls = run_controls(judged, config.group, config.weight, seed=config.seed)
        numbers |= gains | beside(judged, chosen, config.weight, config.seed)
        numbers |= {f"control: {name}": Number(value, n=judged.sure) for name, value in controls.items()}
        self.numbers |= {f"{self.prefix}{name}{suffix}": number for name, number in numbers.items()}
        asked = digest_of([self.set.sha256, config.split, aspect, config.weight, [item.qid for item in judged.items]])
        for name, values in per_unit(judged, chosen, config.weight).items():
            if 0 <= values.mean() <= 1:  # rounding can take it out; the number was put back
                self.per_query[f"{self.prefix}{name}{suffix}"] = PerQuery(values, asked)
        halves = [(one.high - one.low) / 2 for one in gains.values() if one.low is not None and one.high is not None]
        self.notes += [self.prefix + note for note in notes_of(judged, aspect, config.group, config.weight, halves)]
        self._look(aspect, judged, scores)

    def _look(self, aspect: str, judged: Judged, scores: dict[str, tuple[hpir.Floats, hpir.Floats]]) -> None:
        """Lines of the TSV: what people said of each item and what every system chose."""
        names = list(scores)
        header = ["set", "qid", "query", "aspect", "votes_a", "votes_b"]
        self.lines = self.lines or ["\t".join([*header, *(f"{n}: {w}" for n in names for w in ("a", "b", "choice"))])]
        for place, item in enumerate(judged.items):
            cells = [self.set.name, item.qid, " ".join(item.query.split()), aspect, *map(str, judged.counts[place])]
            for name in names:
                groups, chosen = scores[name]
                word = {1.0: "a", 0.0: "b"}.get(float(chosen[place]), "same")
                cells += [f"{groups[place, 0]:.6g}", f"{groups[place, 1]:.6g}", word]
            self.lines.append("\t".join(cells))
