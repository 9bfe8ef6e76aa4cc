"""Votes of people as preference pairs: a conversation that asks which of two pictures, or rows of pictures, is better,
with the answer that the majority chose and the one that it did not.

Every pair comes in both orders, so that a place cannot be learned for an answer.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from indexes.errors import BeholderError
from retrieval.conversations import ASSISTANT, IMAGE, USER, Claim, Conversation, Reading, Turn, collect
from retrieval.hpir import HpirItem

from .conversation_readers import drawn

MOST = 4  # pictures of a row that are shown: ten of each are more tokens than small critics have
ORDINALS = "first", "second"
ROWS = {
    "accuracy": ("fits the query better", "shows more of what was asked for", "answers the query better"),
    "aesthetics": ("is more beautiful", "looks better", "is the more pleasing one"),
    "diversity": ("is more varied", "shows more different pictures", "has the greater variety"),
}
PICTURES = (
    "Which of the two pictures is more appealing, the first or the second?",
    "Which of these looks better, the first or the second?",
    "Most people preferred one of these two. Which one, the first or the second?",
)


def pairs_of_votes(
    items: Iterable[HpirItem], aspect: str, find: Callable[[str], str | None], *, source: str, split: str = "train"
) -> Reading:
    """Two conversations for each item whose votes on `aspect` have a majority. `find`: sha256 -> path, None where the
    picture is not at hand. The "lines" of problems are the items' numbers."""
    if aspect not in ROWS:
        raise BeholderError(f"aspect {aspect!r}", " or ".join(ROWS), "Choose one.")

    def made(row: tuple[HpirItem, bool]) -> Conversation:
        item, swapped = row
        votes = Counter(item.votes.get(aspect, ()))
        if votes["a"] == votes["b"]:
            raise BeholderError("no majority")
        groups = [item.group_a[:MOST], item.group_b[:MOST]]
        paths = [[find(sha256) for sha256 in group] for group in groups]
        known = [[path for path in group if path is not None] for group in paths]
        if len(known[0]) + len(known[1]) < len(paths[0]) + len(paths[1]):
            raise BeholderError("missing picture")
        better = int(votes["b"] > votes["a"])
        if swapped:
            known, groups, better = known[::-1], groups[::-1], 1 - better
        shown = "\n".join(f"The {name} row: {IMAGE * len(row)}" for name, row in zip(ORDINALS, known, strict=True))
        asked = f"Which row {drawn(ROWS[aspect], item.qid)}, the first or the second?"
        text = f'{shown}\nBoth were found for the query "{item.query}". {asked}'
        return _pair((*known[0], *known[1]), (*groups[0], *groups[1]), text, better, "row", aspect, source, split)

    rows = ((number, (item, swapped)) for number, item in enumerate(items, 1) for swapped in (False, True))
    return collect(rows, made)


def pairs_of_choices(
    rows: Iterable[tuple[int, Mapping[str, str]]], splits: Mapping[str, str], folder: str, *, source: str,
    licence: str = "", pictures: Path | None = None,
) -> Reading:  # fmt: skip
    """Two conversations for each row of file_1, file_2, wins_1, wins_2 with a majority and both pictures in one split.
    `folder`: what the pictures' paths begin with."""

    def made(given: tuple[Mapping[str, str], bool]) -> Conversation:
        row, swapped = given
        names = [row["file_1"], row["file_2"]]
        wins = [int(row["wins_1"]), int(row["wins_2"])]
        sides = {splits[name] for name in names}
        if wins[0] == wins[1]:
            raise BeholderError("no majority")
        if len(sides) > 1:
            raise BeholderError("pictures of different splits")
        if swapped:
            names, wins = names[::-1], wins[::-1]
        paths = tuple(f"{folder}/{name}" if folder else name for name in names)
        text = f"{IMAGE}{IMAGE}\n{drawn(PICTURES, row['file_1'] + row['file_2'])}"
        one = _pair(paths, (), text, int(wins[1] > wins[0]), "one", "appeal", source, sides.pop(), licence)
        counted = replace(one.turns[1].claims[0], measured=(float(wins[0]), float(wins[1])))  # choices for each
        return replace(one, turns=(one.turns[0], replace(one.turns[1], claims=(counted,))))

    return collect(_twice(rows), made, pictures)


def _twice(
    rows: Iterable[tuple[int, Mapping[str, str]]],
) -> Iterator[tuple[int, tuple[Mapping[str, str], bool]]]:
    for number, row in rows:
        yield number, (row, False)
        yield number, (row, True)


def _pair(
    paths: tuple[str, ...], sha256s: tuple[str, ...], text: str, better: int, noun: str, about: str, source: str,
    split: str, licence: str = "",
) -> Conversation:  # fmt: skip
    chosen, rejected = (f"The {ORDINALS[place]} {noun}." for place in (better, 1 - better))
    # Of two single pictures the claim names them; of two rows, the first picture of each.
    pictures = (0, 1) if noun == "one" else (0, text.partition("\n")[0].count(IMAGE))
    claim = Claim(about, ORDINALS[better], pictures, phrase=ORDINALS[better])
    turns = (Turn(USER, text), Turn(ASSISTANT, chosen, (claim,)))
    return Conversation(paths, turns, source, licence, split, "choice", "", sha256s, rejected)
