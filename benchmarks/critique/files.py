"""What critics are asked of a file of conversations: the options of `bench critique claims` and `pairs`, the choice of
conversations, the questions, and the record of a run.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.conversations import IMAGE, Claim, Conversation, Reading, read_conversations
from retrieval.progress import progress_line

from .critics import Asked, AskingConfig, Critic, Said, shown_spec


@dataclass(frozen=True)
class CritiqueConfig(AskingConfig):
    """Options of `bench critique claims` and `bench critique pairs`."""

    conversations: Path
    critic: str = ""
    data: Path | None = None  # the folder that pictures' paths begin at
    split: str = "val"
    blind: str = ""  # of `claims`: a critic that sees no picture; "": the same one, shown a plain grey
    no_blind: bool = False
    pictures: int = 0  # drawn at random; 0: all
    pairs: int = 0  # of `bench critique pairs`: drawn at random; 0: all


def choose(config: CritiqueConfig, kinds: Sequence[str]) -> tuple[Reading, list[Conversation]]:
    """The file, and its conversations of kinds and the configured split; of drawn pictures where that is wanted."""
    reading = read_conversations(config.conversations)
    chosen = [one for one in reading.conversations if one.split == config.split and one.kind in kinds]
    if config.pictures:
        names = sorted({path for one in chosen for path in one.pictures})
        drawn = set(random.Random(config.seed).sample(names, min(config.pictures, len(names))))
        chosen = [one for one in chosen if drawn.issuperset(one.pictures)]
    return reading, chosen


def ask(
    config: CritiqueConfig, critic: Critic, about: Sequence[Conversation], *, blind: bool = False, swapped: bool = False
) -> list[Said]:
    """The critic's answers to the first question of each. `swapped`: with the pictures in the other order."""
    asked = []
    for one in about:
        text = one.turns[0].text.replace(IMAGE, "").strip()
        pictures = one.pictures[::-1] if swapped else one.pictures
        shown = tuple((config.data or config.conversations.parent) / path for path in pictures)
        asked.append(Asked(f"{one.id}{'-swapped' if swapped else ''}", text, shown))
    with progress_line("questions") as progress:
        return critic.answer(asked, progress, blind)


def claim_of(one: Conversation) -> Claim:
    """The first claim of the answer. Raises BeholderError for one that carries none."""
    claims = one.turns[-1].claims
    if not claims:
        raise BeholderError(f"the answer {one.turns[-1].text[:40]!r} carries no claim", "a grounded conversation")
    return claims[0]


def mean_number(values: Sequence[float], seed: int, chance: float | None = None) -> Number:
    """The mean of values of single questions with its interval."""
    return Number.of(bootstrap_mean(values, seed=seed), chance=chance)


def record(
    verb: str, config: CritiqueConfig, critic: Critic, reading: Reading, chosen: Sequence[Conversation],
    numbers: dict[str, Number], notes: Sequence[str],
) -> Run:  # fmt: skip
    """The run record; empty and repeated notes are left out."""
    data = {
        "conversations": portable_path(config.conversations),
        "conversations_sha256": sha256_file(config.conversations),
        "split": config.split,
        "pictures": len({path for one in chosen for path in one.pictures}),
        "questions": len(chosen),
        **critic.known,
    }
    left = [f"In the file, and left out: {len(reading.problems)} records."] if reading.problems else []
    return Run(
        name=config.name,
        command=command_of(verb, replace(config, critic=shown_spec(config.critic), blind=shown_spec(config.blind))),
        machine=describe_machine(),
        seed=config.seed,
        data=data,
        numbers=numbers,
        notes=tuple(dict.fromkeys(note for note in (*notes, *left) if note)),
    )
