"""Controls of a judge: rows that must lose, and rows of one system whose places must not matter. They can fail.

blanks            a row against a row of empty squares: must win half-credit BLANKS_LEAST or more on every aspect
another query     a row against the row of a query that shares no picture with it: must win on accuracy beyond
                  chance
same system       places 1..n of a system against places n+1..2n, so that both rows are of one kind: a first-position
                  rate outside FIRST_RANGE (of FIRST_CALLS calls or more) or an order consistency below
                  CONSISTENT_LEAST makes the judge unfit
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number
from retrieval.language.judge import ASPECTS, Verdict

from .rates import Tally, consistent, first_position, half_credits
from .rows import Pair, Row, System, blank_row, part_of

BLANKS, OTHER, SAME = "blanks", "another query", "same system"
BLANKS_LEAST = 0.9
FIRST_RANGE = 0.35, 0.65
FIRST_CALLS = 100
CONSISTENT_LEAST = 0.6
MOST_LOSING = 20  # pairs of each of the first two controls: what they look for is gross


@dataclass(frozen=True)
class Outcome:
    """Numbers to print; what failed (the judge or the set-up is wrong) and what makes the judge unfit, in words; what
    could not be tried."""

    numbers: Mapping[str, Number]
    failed: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def control_pairs(queries: Sequence[str], rows: Sequence[Row], systems: Sequence[System], top: int, count: int) \
        -> dict[str, list[Pair]]:  # fmt: skip
    """By control, its pairs; the row that must win is A. rows: of each query, none of them empty; count: pairs of the
    same system."""
    pairs: dict[str, list[Pair]] = {BLANKS: [], OTHER: [], SAME: []}
    asked = list(zip(queries, rows, strict=True))
    for place, (query, row) in enumerate(asked[:MOST_LOSING]):
        pairs[BLANKS].append(Pair(query, row, blank_row(len(row.sha256s))))
        # From half-way round: neighbours in a file of queries are often alike.
        turn = [(place + len(asked) // 2 + step) % len(asked) for step in range(len(asked))]
        other = next((asked[at][1] for at in turn if not set(asked[at][1].sha256s) & set(row.sha256s)), None)
        if other is not None:
            pairs[OTHER].append(Pair(query, row, other))
    for system in systems:
        wanted = list(queries)[: count - len(pairs[SAME])]
        if not wanted:
            break
        for query, row in zip(wanted, system.rows(wanted, 2 * top), strict=True):
            if len(row.sha256s) == 2 * top:
                pairs[SAME].append(Pair(query, part_of(row, 0, top), part_of(row, top, 2 * top)))
    return pairs


def losing_outcome(control: str, verdicts: Sequence[Verdict], seed: int) -> Outcome:
    """Of BLANKS or OTHER: A of every pair must win."""
    numbers, failed = {}, []
    if not verdicts:
        return Outcome({}, notes=(f"Control {control}: no rows to try it on.",))
    for aspect in ASPECTS if control == BLANKS else ("accuracy",):
        choices = [verdict.choices[aspect] for verdict in verdicts]
        tally = Tally.of(choices)
        if not tally.n:
            failed.append(f"{control}, {aspect}: no verdict can be read")
            continue
        found = bootstrap_mean(half_credits(choices), seed=seed)
        numbers[f"control {control}: half-credit, {aspect}"] = Number.of(found, 0.5)
        low = found.low if found.low is not None else found.mean
        if found.mean < BLANKS_LEAST if control == BLANKS else low <= 0.5:
            failed.append(f"{control}, {aspect}: the real row gets {found.mean:.0%} of {tally.n}")
    return Outcome(numbers, tuple(failed))


def same_outcome(verdicts: Sequence[Verdict], placed: bool, seed: int) -> Outcome:
    """Of SAME. placed: both rows are seen at once (not for the kind `scorer`)."""
    if not placed:
        return Outcome({}, notes=("Rows are judged alone: there is no place to prefer, nor an order to keep to.",))
    if not verdicts:
        return Outcome({}, notes=("Control same system: no query finds enough pictures for two rows.",))
    numbers, failed, unfit, notes = {}, [], [], []
    for aspect in ASPECTS:
        calls = [verdict.first[aspect] for verdict in verdicts]
        steady, (taken, count) = consistent(calls), first_position(calls)
        if not len(steady):
            failed.append(f"{SAME}, {aspect}: no two calls can be read")
            continue
        found = bootstrap_mean(steady, seed=seed)
        numbers[f"control {SAME}: order consistency, {aspect}"] = Number.of(found)
        if found.mean < CONSISTENT_LEAST:
            unfit.append(f"order consistency {found.mean:.0%} on {aspect} (below {CONSISTENT_LEAST:.0%})")
        if not len(taken):
            continue
        first = bootstrap_mean(taken, seed=seed)
        numbers[f"control {SAME}: first row preferred, {aspect}"] = Number.of(first, 0.5)
        low, high = FIRST_RANGE
        if count < FIRST_CALLS:
            notes.append(f"Position bias on {aspect} is not judged: {count} calls took a row, below {FIRST_CALLS}.")
        elif not low <= first.mean <= high:
            unfit.append(f"first row preferred {first.mean:.0%} on {aspect} (outside {low:.0%} to {high:.0%})")
    return Outcome(numbers, tuple(failed), tuple(unfit), tuple(notes))
