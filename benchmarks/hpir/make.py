"""`bench hpir make`: an HPIR-format set out of human scores, of choices between two pictures, or of votes of the page.

Scores: groups of pictures drawn with a size and a gap; one judgement an item, that of the scores. Choices: one item per
pair of pictures with the votes as they are, or Bradley-Terry strengths fitted to them and then treated as scores.
Exports: their items, parted by query; training items that share a picture with the test split are left out.
Which pictures are for the test is said by a column of the table, or drawn by seed (--test-share; 1 = all).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures.bradley_terry import bradley_terry
from benchmarks.runs import command_of, portable_path
from benchmarks.tables.hpir_set import TEST, TRAIN, pictures_of, write_set
from benchmarks.tables.judgements import read_tsv
from benchmarks.tables.values import digests_of, image_column, number, whole
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file
from retrieval.hpir import HpirItem, hpir_items, item_id, read_hpir
from retrieval.votes import ASPECTS, VoteBook
from retrieval.votes import KIND as VOTES_KIND

from .draw import draw_groups, draw_share

Judged = tuple[str, str, int, int]  # sha256 of two pictures, choices for each
GROUP_ITEMS = 300  # of groups, where --items is not given: as many as the paper's labelling screen counts to


@dataclass(frozen=True)
class HpirMakeConfig:
    """Options of `bench hpir make`."""

    out: Path
    scores: Path | None = None  # TSV with a score per picture
    pairs: Path | None = None  # TSV with two pictures and the choices for each per row
    export: tuple[Path, ...] = ()  # HPIR exports or votes files of the page
    query: str = ""  # what people were asked; exports have their own
    aspect: str = "aesthetics"
    score_column: str = "score"
    image_column: str = ""  # image or file where it is empty
    pair_column: tuple[str, ...] = ("file_1", "file_2", "wins_1", "wins_2")
    bradley_terry: bool = False
    splits: Path | None = None  # TSV with each picture's split; else the table's own column
    test_split: str = "test"
    train_split: str = "train"
    test_share: float | None = None  # of pictures (of queries, for exports), drawn; instead of a column
    size: int = 1  # pictures in a group
    gap: float = 0.0  # least difference of the groups' mean scores, in the table's unit (log odds for Bradley-Terry)
    items: int = 0  # per split; 0 = all pairs, or GROUP_ITEMS groups
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if sum((self.scores is not None, self.pairs is not None, bool(self.export))) != 1:
            wrong.append("give one of --scores, --pairs and --export")
        if not self.export and not self.query.strip():
            wrong.append("give --query, what people were asked")
        if self.aspect not in ASPECTS:
            wrong.append(f"the aspect {self.aspect!r} is none of {', '.join(ASPECTS)}")
        if self.bradley_terry and self.pairs is None:
            wrong.append("--bradley-terry needs --pairs")
        if self.pairs is not None and len(self.pair_column) != 4:
            wrong.append("--pair-column four times: both pictures, both counts")
        if self.pairs is not None and self.splits is None and self.test_share is None:
            wrong.append("--pairs needs --splits or --test-share: a pair has no split of its own")
        if self.export and (self.test_share is None or self.splits is not None):
            wrong.append("--export needs --test-share, and no --splits")
        if wrong:
            raise BeholderError("; ".join(wrong), "", "See `beholder bench hpir make --help`.")


@dataclass(frozen=True)
class Made:
    """What was written: items and pictures of each split, and what was left out and why."""

    items: Mapping[str, int]
    pictures: Mapping[str, int]
    left_out: Mapping[str, int]

    def lines(self) -> list[str]:
        lines = [f"{split}: {self.items[split]:,} items of {self.pictures[split]:,} pictures" for split in self.items]
        return lines + [f"{count:,} {reason}" for reason, count in self.left_out.items() if count]


def make(config: HpirMakeConfig) -> Made:
    """Writes the set. Raises FormatError for a table or an export that cannot be read so, BeholderError for missing
    pictures and for a split without items."""
    if config.export:
        splits, left_out = _from_exports(config)
        sources = list(config.export)
    elif config.scores is not None:
        splits, left_out = _from_scores(config, config.scores)
        sources = [config.scores]
    else:
        splits, left_out = _from_pairs(config, Path(config.pairs or ""))
        sources = [Path(config.pairs or "")]
    sources += [config.splits] if config.splits else []
    settings = {
        name: getattr(config, name)
        for name in config.__dataclass_fields__
        if name not in ("out", "scores", "pairs", "export", "splits")
    }
    made: dict[str, Any] = {
        "command": command_of("bench hpir make", replace(config, out=Path("SET"))),
        "settings": {**settings, "pair_column": list(config.pair_column)},
        "sources": {portable_path(path): sha256_file(path) for path in sources},
        "left_out": left_out,
    }
    write_set(config.out, splits, made)
    kept = {split: items for split, items in splits.items() if items}
    return Made({k: len(v) for k, v in kept.items()}, {k: len(pictures_of(v)) for k, v in kept.items()}, left_out)


def _from_scores(config: HpirMakeConfig, table: Path) -> tuple[dict[str, list[HpirItem]], dict[str, int]]:
    rows = read_tsv(table, [config.score_column])
    image = image_column(config.image_column, rows, table)
    scores = {row[image]: number(row[config.score_column], row[image], config.score_column) for row in rows}
    digests = digests_of(table.parent, list(scores))
    sides, left_out = _sides(config, list(scores), digests, None if config.splits else rows, image)
    splits = {
        split: _drawn_items(config, [digests[name] for name in names], [scores[name] for name in names])
        for split, names in sides.items()
    }
    return splits, left_out


def _from_pairs(config: HpirMakeConfig, table: Path) -> tuple[dict[str, list[HpirItem]], dict[str, int]]:
    first, second, wins_first, wins_second = config.pair_column
    rows = read_tsv(table, config.pair_column)
    if not rows:
        raise BeholderError(f"{table.name} has no rows", "at least one pair", "Check the table.")
    if all(row[wins_first] == row[wins_second] for row in rows):
        found = f"each of {len(rows)} pairs of {table.name} was chosen as often one way as the other"
        raise BeholderError(found, "a pair that people judge differently", "Check the columns.")
    names = list(dict.fromkeys(row[column] for row in rows for column in (first, second)))
    digests = digests_of(table.parent, names)
    sides, left_out = _sides(config, names, digests, None, "")
    side_of = {digests[name]: split for split, inside in sides.items() for name in inside}
    judged: dict[str, list[Judged]] = {split: [] for split in sides}
    across = 0
    for row in rows:
        one, other = digests[row[first]], digests[row[second]]
        a, b = (whole(row[column], row[first], column) for column in (wins_first, wins_second))
        split = side_of.get(one)
        if split is None or side_of.get(other) != split or one == other:
            across += a + b
        elif a + b:
            judged[split].append((one, other, a, b))
    left_out["choices between pictures that are not two of one split"] = across
    make_items = _strength_items if config.bradley_terry else _choice_items
    return {split: make_items(config, pairs) for split, pairs in judged.items()}, left_out


def _choice_items(config: HpirMakeConfig, judged: Sequence[Judged]) -> list[HpirItem]:
    """An item per two pictures with all their votes; a table may hold a pair twice, either way round."""
    votes: dict[tuple[str, str], list[str]] = {}
    for one, other, a, b in judged:
        turned = (other, one) in votes
        key, wins = ((other, one), (b, a)) if turned else ((one, other), (a, b))
        votes.setdefault(key, []).extend(["a"] * wins[0] + ["b"] * wins[1])
    return [_item(config, (one,), (other,), said) for (one, other), said in votes.items()]


def _strength_items(config: HpirMakeConfig, judged: Sequence[Judged]) -> list[HpirItem]:
    """Groups drawn from Bradley-Terry strengths, fitted to the choices within the split alone."""
    places = {sha256: place for place, sha256 in enumerate(sorted({sha256 for row in judged for sha256 in row[:2]}))}
    if not places:
        return []
    edges = np.array([(places[one], places[other]) for one, other, *_ in judged])
    strengths = bradley_terry(edges, np.array([(a, b) for *_, a, b in judged], np.float64), len(places))
    return _drawn_items(config, list(places), strengths.tolist())


def _from_exports(config: HpirMakeConfig) -> tuple[dict[str, list[HpirItem]], dict[str, int]]:
    items = [item for path in config.export for item in read_export(path)]
    repeated, times = Counter(item.qid for item in items).most_common(1)[0] if items else ("", 0)
    if times > 1:
        raise BeholderError(f"the item {repeated} is there twice", "once", "Give the latest export of each service.")
    chosen = draw_share([item.query for item in items], config.test_share or 1.0, config.seed)
    test = [item for item in items if item.query in chosen]
    seen, rest = set(pictures_of(test)), [item for item in items if item.query not in chosen]
    train = [item for item in rest if not seen & {*item.group_a, *item.group_b}]
    return {TEST: test, TRAIN: train}, {"training items that share a picture with the test": len(rest) - len(train)}


def read_export(path: Path) -> list[HpirItem]:
    """The items of an HPIR export, or of a votes file as the service keeps it."""
    try:
        with path.open("rb") as stream:
            votes = VOTES_KIND.encode() in stream.readline()
    except OSError as error:
        raise BeholderError(
            f"cannot read {path} ({error.strerror})", "an export of votes", "Check the path."
        ) from error
    return hpir_items(VoteBook(path).showings()) if votes else read_hpir(path)


def _sides(
    config: HpirMakeConfig, names: list[str], digests: dict[str, str], rows: list[dict[str, str]] | None, image: str
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Names of each split. A file under several names counts once, and for the test if one of them does."""
    if config.test_share is not None:
        chosen = draw_share([digests[name] for name in names], config.test_share, config.seed)
        split_of = {name: config.test_split if digests[name] in chosen else config.train_split for name in names}
    else:
        if rows is None:
            table = config.splits or Path()
            rows = read_tsv(table, ["split"])
            image = image_column(config.image_column, rows, table)
        elif rows and "split" not in rows[0]:
            raise FormatError(
                "the table has no column 'split'", "one, or another way to part pictures", "--test-share 1"
            )
        split_of = {row[image]: row["split"] for row in rows}
    sides: dict[str, dict[str, str]] = {TEST: {}, TRAIN: {}}  # sha256 -> name
    for wanted, split in ((config.test_split, TEST), (config.train_split, TRAIN)):
        for name in names:
            if split_of.get(name) == wanted and digests[name] not in sides[TEST]:
                sides[split].setdefault(digests[name], name)
    inside = {split: list(members.values()) for split, members in sides.items()}
    kept = sum(map(len, inside.values()))
    if not inside[TEST]:
        splits = sorted(set(split_of.values()))
        raise BeholderError(
            f"no picture is in the split {config.test_split!r}", f"one of {splits}", "Give --test-split."
        )
    return inside, {"pictures of other splits or there under another name": len(names) - kept}


def _drawn_items(config: HpirMakeConfig, pictures: list[str], scores: list[float]) -> list[HpirItem]:
    """Groups of `pictures` (sha256), judged by their mean scores: one vote an item. None for an absent split."""
    if not pictures:
        return []
    values, count = np.array(scores), config.items or (GROUP_ITEMS if config.size > 1 else 0)
    items = []
    for a, b in draw_groups(values, config.size, config.gap, count, config.seed):
        better = "a" if values[a].mean() > values[b].mean() else "b"
        items.append(_item(config, tuple(pictures[row] for row in a), tuple(pictures[row] for row in b), [better]))
    return items


def _item(config: HpirMakeConfig, a: tuple[str, ...], b: tuple[str, ...], votes: Sequence[str]) -> HpirItem:
    parts = {"text": [config.query]}
    unknown = (None,) * len(votes)
    said = {aspect: tuple(votes) if aspect == config.aspect else unknown for aspect in ASPECTS}
    return HpirItem(item_id(config.query, parts, a, b), config.query, parts, a, b, (), said, unknown, unknown)
