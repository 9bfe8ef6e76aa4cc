"""What the experiment `look` reports: every side on val, the aligned ones as means over seeds, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.knowledge.run import share_of_gain
from benchmarks.runs import Number
from benchmarks.taste.look import Look, numbers_of
from retrieval.encoding.encoders import load_encoder
from rl.alignment.shift import explained_share, left_over

from .kept import Floats, Kept, kept_numbers, mean_of
from .look_data import Measured


def tested(
    measured: Measured, kept: Kept, untrained: Mapping[str, Look], folders: Mapping[str, Sequence[Path]]
) -> dict[str, Any]:
    """Numbers as JSON of the rows that need no training (`base` and `teacher` among them), and of each side's
    checkpoints in `folders`; what each of these has kept."""
    base, words = measured.encoder, measured.words
    before = base.encode_texts([one.query for one in words.asked])
    rows, changes, numbers = dict(untrained), dict[str, dict[str, Floats]](), dict[str, Number]()
    for side, checkpoints in folders.items():
        found, held, shares = [], [], []
        for folder in checkpoints:
            encoder = load_encoder(str(folder))
            found.append(measured.asked(encoder))
            held.append(kept.values(encoder))
            after = encoder.encode_texts([one.query for one in words.asked])
            shares.append(explained_share(*left_over(before, after)))
        rows[side] = Look(
            *(np.mean([getattr(one, what) for one in found], axis=0) for what in ("percentile", "subject"))
        )
        changes[side] = mean_of(held)
        numbers[f"of {side}, one shared vector explains"] = Number.of_repeats(shares, "share")
    for side in folders:
        for group, mine in (("trained words", words.trained), ("unseen words", ~words.trained)):
            three = (rows[one].percentile[mine] for one in (side, "base", "teacher"))
            numbers[f"share of the teacher's gain, {group}: {side}"] = share_of_gain(*three, seed=0)
    numbers = numbers_of(rows, words.asked, 0) | numbers | kept_numbers(kept.values(base), changes, 0)
    return {name: asdict(one) for name, one in numbers.items()}
