"""`align critic data --grounded`: a file of conversations from what is measured and labelled.

For `train`, levels are cut here (tertiles of the training pictures) and kept in the file; for other splits they are
those of a file that was made for training, so that a word means the same there. Pairs for comparisons are drawn within
a set.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from retrieval.conversations import Conversation, read_conversations, split_by_picture, write_conversations

from .grounded import KINDS, Facts, Scales, Writer, scales_of
from .grounded_facts import DEV, LOOK, SOURCES, TRAIN, facts_of, read_kept


@dataclass(frozen=True)
class GroundedConfig:
    """Options of `align critic data --grounded`."""

    data: Path  # holds the sets
    embeddings: tuple[Path, ...]  # with kept scores
    sources: tuple[str, ...] = tuple(SOURCES)
    split: str = TRAIN  # of the sets; train brings dev along
    levels_of: Path | None = None  # a file made for training, for another split
    kinds: tuple[str, ...] = KINDS
    scorers: tuple[str, ...] = LOOK
    captions: int = 2  # of a picture
    pairs: int = 2  # partners that a picture is compared with
    least_gap: float = 0.0  # between the percentiles of two compared pictures
    dev_share: float = 0.1  # of the pictures of sets that have no dev of their own
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [f"kind {kind!r}" for kind in self.kinds if kind not in KINDS]
        problems += [f"--captions {self.captions}"] if self.captions < 1 else []
        problems += [f"--pairs {self.pairs}"] if self.pairs < 0 else []
        problems += [f"--least-gap {self.least_gap}"] if not 0 <= self.least_gap < 1 else []
        problems += [f"--dev-share {self.dev_share}"] if not 0 <= self.dev_share < 1 else []
        if problems:
            raise BeholderError(", ".join(problems), f"kinds of {', '.join(KINDS)}; counts; shares in [0, 1)")
        if (self.split == TRAIN) == (self.levels_of is not None):
            raise BeholderError(
                f"split {self.split} {'with' if self.levels_of else 'without'} --levels-of",
                "levels that are cut on the training pictures, and on nothing else",
                "Make the training file first; give it by --levels-of for another split.",
            )


@dataclass(frozen=True)
class Made:
    """How many conversations were written: by split and kind; pictures without a file; pairs torn by the split."""

    counts: Mapping[str, int]
    pictures: int
    missing: int
    torn: int
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def make_grounded(out: Path, config: GroundedConfig) -> Made:
    """Writes the file. The same pictures, scores and seed give the same bytes. Raises BeholderError."""
    splits = (TRAIN, DEV) if config.split == TRAIN else (config.split,)
    scores = read_kept(config.embeddings, config.scorers)
    scales = _kept_scales(config.levels_of, scores.fingerprints) if config.levels_of is not None else None
    facts, missing = facts_of(config.data, config.sources, splits, scores)
    scales = scales or scales_of([one for one in facts if one.split == TRAIN])
    writer = Writer(scales, config.seed, config.captions)
    made = [one for known in facts for one in writer.about(known, config.kinds)]
    if "compare" in config.kinds:
        made += _compared(writer, facts, config)
    torn = 0
    if config.split == TRAIN:
        own = {one.source for one in facts if one.split == DEV}
        rest, torn = split_by_picture((one for one in made if one.source not in own), config.dev_share)
        made = [one for one in made if one.source in own] + rest
    if not made:
        raise BeholderError("nothing can be said of these pictures", "scores or labels of them", "Check --kind.")
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
        if name not in ("data", "embeddings", "levels_of")  # paths of a machine
    }
    origin = {
        "made": "grounded",
        "settings": settings,
        "fingerprints": dict(scores.fingerprints),
        "scales": asdict(scales),
    }
    write_conversations(out, made, origin)
    counts = Counter(f"{one.split} {one.kind}" for one in made)
    return Made(dict(sorted(counts.items())), len(facts), missing, torn, scales.levels)


def scales_from(origin: Mapping[str, Any], where: Path) -> Scales:
    """The scales that a file was made with. Raises FormatError for a file that has none."""
    try:
        kept = {name: {scale: tuple(values) for scale, values in origin["scales"][name].items()} for name in _PARTS}
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{where} has no levels ({error!r})", "a file of `align critic data --grounded`") from error
    return Scales(**kept)


_PARTS = "levels", "ratings", "values"


def _kept_scales(path: Path, fingerprints: Mapping[str, str]) -> Scales:
    origin = read_conversations(path).origin
    scales = scales_from(origin, path)
    other = [name for name, found in fingerprints.items() if origin.get("fingerprints", {}).get(name) != found]
    if other:
        raise BeholderError(f"{path} was made with another version of {other[0]}", "one version", "Make it again.")
    return scales


def _compared(writer: Writer, facts: Sequence[Facts], config: GroundedConfig) -> Iterator[Conversation]:
    """Comparisons of each picture with random partners of its set and split, each on an attribute drawn at random."""
    groups: dict[tuple[str, str], list[Facts]] = {}
    for one in facts:
        groups.setdefault((one.source, one.split), []).append(one)
    for name, group in groups.items():
        drawn = random.Random(f"{config.seed}/pairs/{name}")
        for _ in range(config.pairs if len(group) > 1 else 0):
            partners = list(range(len(group)))
            drawn.shuffle(partners)
            for place, partner in enumerate(partners):
                one, other = group[place], group[partner]
                abouts = sorted(set(one.measured) & set(other.measured))
                if place == partner or not abouts:
                    continue
                about = drawn.choice(abouts)
                if config.least_gap and not _apart(writer.scales, one, other, about, config.least_gap):
                    continue
                conversation = writer.compared(one, other, about)
                if conversation is not None:
                    yield conversation


def _apart(scales: Scales, one: Facts, other: Facts, about: str, least: float) -> bool:
    first, second = one.measured[about], other.measured[about]
    if first.scale != second.scale or first.scale not in scales.values:
        return False
    return abs(scales.percentile(first) - scales.percentile(second)) >= least
