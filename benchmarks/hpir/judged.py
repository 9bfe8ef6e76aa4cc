"""The items of a set that people voted on for one aspect, as arrays: votes, groups, and what resampling draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.hpir import HpirItem

from . import metric as hpir
from .systems import Question


@dataclass(frozen=True)
class Judged:
    """K items. counts (K, 2): votes for A and B. groups: rows of the questions' scores, one question after the other.
    members: for each item its unit, the query, or where all ask the same one (`by_pictures`) its pictures."""

    items: tuple[HpirItem, ...]
    counts: hpir.Ints
    groups: hpir.Groups
    members: tuple[tuple[int, ...], ...]
    by_pictures: bool
    width: int  # scores of all questions together

    @property
    def sure(self) -> int:
        """How many items have a majority."""
        return int(hpir.decided(self.counts).sum())

    def scored(self, scores: Sequence[hpir.Floats], rule: str) -> tuple[hpir.Floats, hpir.Floats]:
        """(K, 2) scores of the groups and (K,) choices, of a system's scores by question."""
        groups = hpir.group_scores(np.concatenate(scores), self.groups, rule)
        return groups, hpir.choices(groups)


def with_majority(items: Sequence[HpirItem], aspect: str) -> bool:
    """Whether any item has a majority for the aspect."""
    return bool(hpir.decided(hpir.tally([item.votes[aspect] for item in items])).any())


def judged_items(
    items: Sequence[HpirItem], aspect: str, questions: Sequence[Question], asked: hpir.Ints, rows: Mapping[str, int]
) -> Judged:
    """The items with a vote for either group. asked (items,): the question of each; rows: sha256 -> row of pictures."""
    voted = [place for place, item in enumerate(items) if {"a", "b"} & set(item.votes[aspect])]
    one_query = len({int(asked[place]) for place in voted}) == 1
    starts = np.concatenate([[0], np.cumsum([len(question.candidates) for question in questions])])
    pairs, members = [], []
    for place in voted:
        item, question = items[place], int(asked[place])
        both = [np.array([rows[sha256] for sha256 in group], np.int64) for group in (item.group_a, item.group_b)]
        a, b = (starts[question] + np.searchsorted(questions[question].candidates, group) for group in both)
        pairs.append((a, b))
        members.append(tuple(np.unique(np.concatenate(both)).tolist()) if one_query else (question,))
    chosen = tuple(items[place] for place in voted)
    counts = hpir.tally([item.votes[aspect] for item in chosen])
    return Judged(chosen, counts, hpir.Groups.of(pairs), tuple(members), one_query, int(starts[-1]))
