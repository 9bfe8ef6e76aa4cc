"""`bench hpir score`: agreement of encoders, rewriters, re-rankers and scorers with people, on any number of sets.

The metric is `hpir.py`'s; intervals and paired differences are bootstraps over queries, or over pictures where a set
asks one query only. Controls run every time and end the run with exit 1 when they fail: then the metric is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from indexes.manifest import sha256_bytes, write_bytes_atomic
from retrieval.votes import ASPECTS

from . import hpir
from .hpir_controls import run_controls
from .hpir_judged import Judged, judged_items, with_majority
from .hpir_pictures import SetPictures
from .hpir_set import TEST, HpirSet, pictures_of, read_set
from .hpir_systems import System, SystemSpecs, query_of, questions_of, systems
from .runs import Number, Run, command_of, describe_machine
from .stats import paired_difference

SMALL = 150  # units; the paper's set has as many queries, and even there 95 % is +- 7 points
BESIDE = {"net": "weighted by net votes", "confidence": "weighted by confidence", "one": "unweighted"}


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
        return SystemSpecs(self.encoder, self.rewrite, self.rerank, self.scorer, tables, self.device)


def measure(config: HpirScoreConfig) -> Run:
    """The run record. Raises FormatError for a file that is no set, BeholderError for one without items or without a
    majority and for missing pictures, ConditionFailed where a control fails."""
    sets = [read_set(path, config.split) for path in config.sets]
    names = [one.name for one in sets]
    if len(set(names)) != len(names):
        raise BeholderError(f"two sets are called {max(names, key=names.count)}", "different names", "Rename a folder.")
    numbers: dict[str, Number] = {}
    notes: list[str] = []
    data: dict[str, Any] = {"split": config.split, "sets": {}}
    lines: list[str] = []
    for one in sets:
        pictures = SetPictures(pictures_of(one.items), config.pictures, config.embeddings)
        scored = _Scored(config, one, pictures, f"{one.name}: " if len(sets) > 1 else "")
        scored.run()
        numbers |= scored.numbers
        notes += [note for note in scored.notes if note not in notes]
        data["sets"][one.name] = scored.data
        lines += scored.lines if not lines else scored.lines[1:]
    if config.per_item is not None:
        write_bytes_atomic(config.per_item, ("\n".join(lines) + "\n").encode())
    command, machine = command_of("bench hpir score", config), describe_machine(config.device)
    return Run(config.name, command, machine, config.seed, data, numbers, tuple(notes))


class _Scored:
    """One set on its way into the run."""

    def __init__(self, config: HpirScoreConfig, one: HpirSet, pictures: SetPictures, prefix: str) -> None:
        self.config, self.set, self.pictures, self.prefix = config, one, pictures, prefix
        self.numbers: dict[str, Number] = {}
        self.notes: list[str] = []
        self.lines: list[str] = []
        self.data: dict[str, Any] = {}

    def run(self) -> None:
        items = self.set.items
        if self.config.specs.encoders(self.pictures):
            items = tuple(item for item in items if query_of(item) is not None)
            if len(items) < len(self.set.items):
                left = len(self.set.items) - len(items)
                self._note(f"{left:,} items left out for every system: their queries hold pictures or vectors.")
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
        self.notes += [self.prefix + note for system in found for note in system.notes]
        self.data = {
            "sha256": self.set.sha256,
            "sources": dict(self.set.made.get("sources", {})),
            "items": len(self.set.items),
            "queries": len(questions),
            "pictures": len(self.pictures.sha256s),
            "pictures_sha256": sha256_bytes("\n".join(self.pictures.sha256s).encode()),
            "test_pictures": self.pictures.sha256s,
        }
        for aspect in wanted:
            judged = judged_items(items, aspect, questions, asked, self.pictures.rows)
            self._aspect(aspect, f" ({aspect})" if len(wanted) > 1 else "", judged, found)

    def _aspect(self, aspect: str, suffix: str, judged: Judged, found: Sequence[System]) -> None:
        config, prefix = self.config, self.prefix
        sure = hpir.decided(judged.counts)
        counts = judged.counts[sure]
        members = [units for units, one in zip(judged.members, sure, strict=True) if one]
        plain = bool((hpir.confidence(counts) == 1).all())  # then all weights are the same
        scores = {system.name: judged.scored(system.scores, config.group) for system in found}
        right = {name: hpir.correct(chosen[sure], counts) for name, (_, chosen) in scores.items()}
        baseline = config.baseline or found[0].name
        if baseline not in right:
            raise BeholderError(f"no system is called {baseline!r}", " or ".join(right), "Give --baseline one of them.")
        weight = hpir.weights(counts, config.weight)
        values = {name: hpir.unit_values(one, weight, members) for name, one in right.items()}
        for name, one in values.items():
            number = hpir.interval(one, len(counts), seed=config.seed)
            self.numbers[f"{prefix}{name}{suffix}"] = Number.of(number, hpir.CHANCE)
        halves = []
        for name, one in values.items():
            if name != baseline:
                gain = paired_difference(one, values[baseline], seed=config.seed)
                low, high = (None if len(counts) < 2 or end is None else 100 * end for end in (gain.low, gain.high))
                halves += [] if low is None or high is None else [(high - low) / 2]
                label = f"{prefix}{name} less {baseline}{suffix}"
                self.numbers[label] = Number(100 * gain.mean, "points", low, high, gain.n)
        every = [judged.members[place] for place in range(len(judged.items))]
        totals = judged.counts.sum(axis=1).astype(float)
        for name, (_, chosen) in scores.items():
            for rule in () if plain else (rule for rule in hpir.WEIGHTS if rule != config.weight):
                beside = hpir.unit_values(right[name], hpir.weights(counts, rule), members)
                number = hpir.interval(beside, len(counts), seed=config.seed)
                self.numbers[f"{prefix}{name}, {BESIDE[rule]}{suffix}"] = Number.of(number, hpir.CHANCE)
            if not plain or not sure.all():
                single = hpir.unit_values(hpir.votes_met(chosen, judged.counts), totals, every)
                number = hpir.interval(single, len(judged.items), seed=config.seed)
                self.numbers[f"{prefix}{name}, single votes{suffix}"] = Number.of(number, hpir.CHANCE)
        label = f"{prefix}mean confidence of the majority{suffix}"
        self.numbers[label] = Number(float(hpir.confidence(counts).mean()), n=len(counts))
        controls = run_controls(judged, config.group, config.weight, seed=config.seed)
        for name, value in controls.items():
            self.numbers[f"{prefix}control: {name}{suffix}"] = Number(value, n=len(counts))
        self._say(suffix, judged, len(counts), plain, halves)
        self._look(aspect, judged, scores)

    def _say(self, suffix: str, judged: Judged, items: int, plain: bool, halves: Sequence[float]) -> None:
        config = self.config
        units = len({unit for members in judged.members for unit in members})
        size = len(judged.items[0].group_a)
        tied = len(judged.items) - items
        groups = "pairs of pictures" if size == 1 else f"pairs of groups of {size}"
        votes = int(judged.counts.sum())
        text = f"{items:,} {groups} with a majority{suffix}, {votes:,} votes; {tied:,} ties left out"
        text += "; one judgement an item" if plain and not tied else f"; {BESIDE[config.weight]}"
        text += "." if size == 1 else f"; a group's score is its {config.group}."
        self._note(text)
        half = f" Here systems differ beyond chance from about {max(halves):.0f} points." if halves else ""
        if judged.by_pictures:
            self._note(
                f"One query: the intervals resample its {units:,} pictures and say how far these speak for others like "
                f"them; of other queries they say nothing.{half}"
            )
        elif units < SMALL:
            self._note(f"Only {units:,} queries: differences of a few points are no evidence.{half}")

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

    def _note(self, text: str) -> None:
        self.notes.append(self.prefix + text)
