"""Preference lists from people: scores of pictures, choices between two, votes of the page, and the rows of
ImageReward and HPDv2. Pictures are named by sha256; readers are given a way from a table's names to these.

Lists of scores: L pictures drawn at random for each list, a query phrasing in turn. A pair counts where the scores
differ by more than `gap`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import BeholderError, FormatError
from retrieval.hpir import HpirItem
from rl.grids import level_chain, level_prefer, pairs_of
from rl.preferences import PreferenceList

Find = Callable[[str], str | None]  # a table's name of a picture -> its sha256, None where it is not at hand
MISSING = "pictures that are not at hand"


def lists_of_scores(
    scores: Mapping[str, float],
    phrasings: Sequence[str],
    *,
    length: int = 16,
    lists: int = 256,
    gap: float = 0.0,
    seed: int = 0,
) -> Iterator[PreferenceList]:
    """`lists` lists of `length` pictures (sha256 -> score), each drawn without repeats; phrasings take turns. NaN
    scores are left out. Raises BeholderError for fewer than two pictures or no phrasing."""
    known = sorted(name for name, score in scores.items() if np.isfinite(score))
    if len(known) < 2 or not phrasings:
        raise BeholderError(f"{len(known)} pictures with a score, {len(phrasings)} phrasings", "two and one at least")
    generator = np.random.default_rng(seed)
    for number in range(lists):
        chosen = [known[place] for place in generator.permutation(len(known))[: min(length, len(known))]]
        levels = np.array([scores[name] for name in chosen])
        better, worse = pairs_of(level_prefer(levels, gap))
        if better:
            yield PreferenceList(
                phrasings[number % len(phrasings)],
                tuple(chosen),
                tuple(better),
                tuple(worse),
                tuple(tuple(chain) for chain in level_chain(levels)) if not gap else (),
                tuple(float(level) for level in levels),
                {"from": "scores"},
            )


def lists_of_pairs(
    pairs: Iterable[tuple[str, str, float]], phrasings: Sequence[str], told: Mapping[str, Any]
) -> Iterator[PreferenceList]:
    """A list of two for each pair in (one, other, votes for the first less those for the other) whose votes have a
    majority, phrasings taking turns. Not one list of all: choices of people do go in circles."""
    net: dict[tuple[str, str], float] = {}
    for one, other, votes in pairs:
        first, second = sorted((one, other))
        net[first, second] = net.get((first, second), 0.0) + (votes if one == first else -votes)
    for number, ((one, other), votes) in enumerate(sorted(net.items())):
        if votes:
            winner, loser = (one, other) if votes > 0 else (other, one)
            query = phrasings[number % len(phrasings)]
            yield PreferenceList(query, (winner, loser), (0,), (1,), ((0, 1),), provenance={**told, "net": votes})


def lists_of_votes(items: Iterable[HpirItem], aspect: str, rejected: Counter[str]) -> Iterator[PreferenceList]:
    """A list for each item of an HPIR-format set: every picture of the row with more votes above every one of the
    other. Pictures in both rows stay out of the pairs; items without a majority are counted."""
    for item in items:
        votes = Counter(item.votes.get(aspect, ()))
        if votes["a"] == votes["b"]:
            rejected["items without a majority"] += 1
            continue
        groups = (item.group_a, item.group_b) if votes["a"] > votes["b"] else (item.group_b, item.group_a)
        liked, other = ([name for name in group if name not in rest] for group, rest in (groups, groups[::-1]))
        pictures = (*dict.fromkeys(liked), *dict.fromkeys(other))
        if not liked or not other:
            rejected["items whose rows hold the same pictures"] += 1
            continue
        cut = len(dict.fromkeys(liked))
        better = [i for i in range(cut) for _ in range(cut, len(pictures))]
        worse = [j for _ in range(cut) for j in range(cut, len(pictures))]
        told = {"from": "votes", "qid": item.qid, "aspect": aspect, "a": votes["a"], "b": votes["b"]}
        yield PreferenceList(item.query, pictures, tuple(better), tuple(worse), provenance=told)


def read_ranked_rows(path: Path, find: Find, rejected: Counter[str]) -> Iterator[PreferenceList]:
    """Rows in the style of ImageReward (`prompt`, `generations`, `ranking`: 1 is best) and HPDv2 (`prompt`,
    `image_path`, `rank`: 0 is best, or `human_preference`: 1 for the chosen): a JSON list, or a JSON object per line.

    Raises FormatError that names the row for one without these fields.
    """
    for number, row in enumerate(_rows(path), 1):
        names = row.get("generations") or row.get("image_path") or row.get("images")
        ranks = row.get("ranking") or row.get("rank")
        if ranks is None and "human_preference" in row:
            ranks = [-float(liked) for liked in row["human_preference"]]
        if (
            not isinstance(names, list)
            or not isinstance(ranks, list)
            or len(names) != len(ranks)
            or not row.get("prompt")
        ):
            raise FormatError(
                f"{path}, row {number} has {', '.join(sorted(row)) or 'nothing'}", "prompt, pictures, ranks"
            )
        found = [(find(str(name)), float(rank)) for name, rank in zip(names, ranks, strict=True)]
        rejected[MISSING] += sum(name is None for name, _ in found)
        rejected["pictures whose rank is no number"] += sum(not np.isfinite(rank) for _, rank in found)
        known = {name: -rank for name, rank in found if name is not None and np.isfinite(rank)}
        levels = np.array(list(known.values()))
        better, worse = pairs_of(level_prefer(levels))
        if not better:
            rejected["rows without a pair"] += 1
            continue
        yield PreferenceList(
            row["prompt"],
            tuple(known),
            tuple(better),
            tuple(worse),
            tuple(tuple(chain) for chain in level_chain(levels)),
            tuple(levels.tolist()),
            {"from": path.name, "row": number},
        )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "JSON, or a JSON object per line") from error
    if not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path} holds something else than objects", "objects with prompt, pictures, ranks")
    return rows
