"""`bench critique claims`: does a critic say what is so?

Reads a file of grounded conversations (`align critic data --grounded`), whose answers carry claims with what was
measured. One forced question per attribute and picture, levels cut on training pictures: balanced accuracy, beside that
of a critic that sees no picture; labels (style, object, ...) likewise; and what critiques in the critic's own words
claim.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.measures.correlation import bootstrap_pictures
from benchmarks.runs import Number, Run
from indexes.errors import BeholderError
from retrieval.conversations import Conversation
from retrieval.critic.claims import LEVELS, claims_in, label_said, level_said

from .critics import Critic, Said, load_critic, unanswered
from .files import CritiqueConfig, ask, choose, claim_of, mean_number, record
from .scores import ABSENT, UNREAD, Ints, balanced_accuracy, truth_of_claims

LABELS = "style", "object", "depiction", "rating", "emotion"  # answered by one of the labels that the file has
FREE = "critique", "look"


def measure_claims(config: CritiqueConfig, *, critic: Critic | None = None) -> Run:
    """The run record. `critic`: one already loaded, instead of config.critic. Raises BeholderError for a file without
    claims to ask for."""
    critic = critic or load_critic(config.critic, config.settings)
    reading, chosen = choose(config, (*LABELS, *FREE, "level"))
    numbers: dict[str, Number] = {}
    notes: list[str] = []
    levels = [one for one in chosen if one.kind == "level"]
    if levels:
        _measure_levels(config, critic, levels, numbers, notes)
    for kind in LABELS:
        asked = [one for one in chosen if one.kind == kind]
        if asked:
            vocabulary = sorted({claim_of(one).says for one in reading.conversations if one.kind == kind})
            said = ask(config, critic, asked)
            truth = np.array([vocabulary.index(claim_of(one).says) for one in asked])
            named = np.array([_code(label_said(text.text or "", vocabulary), vocabulary) for text in said])
            numbers[f"{kind}: balanced accuracy"] = _balanced(named, truth, len(vocabulary), config.seed)
            notes.append(unanswered(said))
    free = [one for one in chosen if one.kind in FREE]
    if free and levels:
        _measure_free(config, critic, free, levels, numbers, notes)
    if not numbers:
        raise BeholderError(f"{config.conversations} has no claims of split {config.split}", "kinds level or labels")
    return record("bench critique claims", config, critic, reading, chosen, numbers, notes)


def _measure_levels(
    config: CritiqueConfig, critic: Critic, levels: Sequence[Conversation], numbers: dict[str, Number], notes: list[str]
) -> None:
    pictures = sorted({one.pictures[0] for one in levels})
    abouts = sorted({claim_of(one).about for one in levels})
    truth = _table(levels, pictures, abouts, [claim_of(one).says for one in levels])
    said = ask(config, critic, levels)
    table = _table(levels, pictures, abouts, _levels_said(levels, said))
    found = truth_of_claims(table, truth, abouts, len(LEVELS), config.seed)
    numbers["balanced accuracy"] = Number.of(found.overall, chance=1 / len(LEVELS))
    numbers["coverage"] = Number(found.coverage, n=len(levels))
    for about, value in found.each.items():
        numbers[f"balanced accuracy: {about}"] = Number(value, n=int((truth[:, abouts.index(about)] >= 0).sum()),
                                                       chance=1 / len(LEVELS))  # fmt: skip
    notes.append(unanswered(said))
    if config.no_blind:
        return
    other = load_critic(config.blind, config.settings) if config.blind else critic
    blind = _table(levels, pictures, abouts, _levels_said(levels, ask(config, other, levels, blind=not config.blind)))
    numbers["blind: balanced accuracy"] = Number.of(
        truth_of_claims(blind, truth, abouts, len(LEVELS), config.seed).overall, chance=1 / len(LEVELS)
    )

    def difference(rows: Ints) -> float:
        parts = [
            balanced_accuracy(table[rows, place], truth[rows, place], len(LEVELS))
            - balanced_accuracy(blind[rows, place], truth[rows, place], len(LEVELS))
            for place in range(len(abouts))
        ]
        known = [part for part in parts if not np.isnan(part)]
        return float(np.mean(known)) if known else float("nan")

    above = bootstrap_pictures(difference, len(pictures), seed=config.seed, resamples=1000)
    numbers["above the blind one"] = Number.of(above)
    how = f"asked of {other.name}" if config.blind else "the same critic, shown a plain grey in place of each picture"
    notes.append(f"Blind: the same questions, {how}.")


def _measure_free(
    config: CritiqueConfig, critic: Critic, free: Sequence[Conversation], levels: Sequence[Conversation],
    numbers: dict[str, Number], notes: list[str],
) -> None:  # fmt: skip
    """Of critiques in the critic's own words: how many levels they claim, and the share of these that is so."""
    known = {(one.pictures[0], claim_of(one).about): claim_of(one).says for one in levels}
    said = ask(config, critic, free)
    shares, counts = [], []
    for one, text in zip(free, said, strict=True):
        claims = [claim for claim in claims_in(text.text or "") if (one.pictures[0], claim.about) in known]
        counts.append(float(len(claims)))
        if claims:
            shares.append(float(np.mean([known[one.pictures[0], claim.about] == claim.says for claim in claims])))
    numbers["free critiques: claims in a text"] = Number(float(np.mean(counts)), "claims", n=len(free))
    if shares:
        numbers["free critiques: claims that are so"] = mean_number(shares, config.seed, 1 / len(LEVELS))
    notes.append(unanswered(said))


def _table(
    levels: Sequence[Conversation], pictures: Sequence[str], abouts: Sequence[str], said: Sequence[str | None]
) -> Ints:
    rows, columns = ({name: place for place, name in enumerate(names)} for names in (pictures, abouts))
    table = np.full((len(pictures), len(abouts)), ABSENT, np.int64)
    for one, level in zip(levels, said, strict=True):
        table[rows[one.pictures[0]], columns[claim_of(one).about]] = _code(level, LEVELS)
    return table


def _levels_said(levels: Sequence[Conversation], said: Sequence[Said]) -> list[str | None]:
    return [level_said(text.text or "", claim_of(one).about) for one, text in zip(levels, said, strict=True)]


def _code(said: str | None, names: Sequence[str]) -> int:
    return UNREAD if said is None else list(names).index(said)


def _balanced(said: Ints, truth: Ints, labels: int, seed: int) -> Number:
    def statistic(rows: Ints) -> float:
        return balanced_accuracy(said[rows], truth[rows], labels)

    return Number.of(bootstrap_pictures(statistic, len(said), seed=seed, resamples=1000), chance=1 / labels)
