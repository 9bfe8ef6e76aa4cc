"""Conversations of files, learnt beside what is drawn: their pictures join the training pictures, and their first
questions are asked as they stand at every visit of the picture, or of the pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.conversations import Conversation, read_conversations
from rl.critic.grounded import Facts
from rl.critic.grounded_facts import TRAIN

from .texts import Text, text_of


@dataclass(frozen=True)
class Further:
    """`texts`: pictures (paths under the data) -> what is asked of them; `pictures`: those that no set has; `sha256s`
    of the files; `left_out`: how many conversations were, and why."""

    texts: Mapping[tuple[str, ...], tuple[Text, ...]] = field(default_factory=dict)
    pictures: tuple[Facts, ...] = ()
    sha256s: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def by_rows(self, facts: Sequence[Facts]) -> dict[tuple[int, ...], tuple[Text, ...]]:
        rows = {one.picture: row for row, one in enumerate(facts)}
        return {tuple(rows[path] for path in paths): texts for paths, texts in self.texts.items()}


def read_further(files: Sequence[str], data: Path, known: Sequence[Facts]) -> Further:
    """Conversations of the split `train` about one picture or two. Left out and counted: other numbers of pictures,
    more than one question, pictures that are missing or that another split of the sets has. Raises BeholderError for a
    file that is none."""
    from benchmarks.tables.evaluation import evaluation_pictures

    left_out: Counter[str] = Counter()
    splits = {one.picture: one.split for one in known}
    texts: dict[tuple[str, ...], list[Text]] = {}
    added: dict[str, Facts] = {}
    for file in files:
        reading = read_conversations(Path(file), data)
        left_out.update(problem.reason for problem in reading.problems)
        for one in reading.conversations:
            reason = _unusable(one, splits)
            if reason:
                left_out[reason] += 1
                continue
            for path in one.pictures:
                if path not in splits and path not in added:
                    added[path] = Facts(path, sha256_file(data / path), one.source, one.licence, TRAIN)
            texts.setdefault(one.pictures, []).append(text_of(one))
    if held := [one.picture for one in added.values() if one.sha256 in evaluation_pictures()]:
        found = f"{len(held)} pictures to train on are kept for evaluation (first: {held[0]})"
        raise BeholderError(found, "training pictures only", "Leave them out of the file.")
    kept = {paths: tuple(dict.fromkeys(found)) for paths, found in texts.items()}
    return Further(kept, tuple(added.values()), tuple(sha256_file(Path(file)) for file in files), dict(left_out))


def _unusable(one: Conversation, splits: Mapping[str, str]) -> str:
    if one.split != TRAIN:
        return f"of the split {one.split}"
    if len(one.pictures) not in (1, 2):
        return f"{len(one.pictures)} pictures"
    if len(one.turns) != 2:
        return "more than one question"
    if any(splits.get(path, TRAIN) != TRAIN for path in one.pictures):
        return "a picture that is not for training"
    return ""
