"""Controls of the HPIR metric on the very items that are scored: what must come out whatever the pictures show."""

import numpy as np

from indexes.errors import ConditionFailed

from . import metric as hpir
from .judged import Judged

MODELS, CHOICES = 200, 200_000  # random models, and choices of all of them together
STANDARD_ERRORS = 5  # that the mean of random models may be from chance: one run in two million fails by luck


def run_controls(judged: Judged, group: str, weight: str, *, seed: int = 0) -> dict[str, float]:
    """Agreement of random models (the mean of many) and of an oracle.

    Raises ConditionFailed unless random models agree by chance (groups of one size), the oracle always, exchanging A
    and B changes nothing, and turning all labels gives 1 less the agreement.
    """
    sure = hpir.decided(judged.counts)
    counts = judged.counts[sure]
    weights = hpir.weights(counts, weight)
    generator = np.random.default_rng(seed)
    models = max(20, min(MODELS, CHOICES // len(counts)))
    drawn = [generator.random(judged.width) for _ in range(models)]
    values = [_agreement(hpir.group_scores(one, judged.groups, group)[sure], counts, weights) for one in drawn]
    random, error = float(np.mean(values)), float(np.std(values) / np.sqrt(models))
    oracle = _agreement(counts.astype(np.float64), counts, weights)
    swapped_scores = hpir.group_scores(drawn[-1], judged.groups.swapped(), group)[sure]
    swapped = _agreement(swapped_scores, counts[:, ::-1], weights)
    inverted = _agreement(hpir.group_scores(drawn[-1], judged.groups, group)[sure], counts[:, ::-1], weights)
    wrong = []
    if judged.groups.even and abs(random - hpir.CHANCE) > STANDARD_ERRORS * error + 1e-9:
        wrong.append(f"random models agree {random:.1%}")
    if abs(oracle - 1) > 1e-9:
        wrong.append(f"an oracle agrees {oracle:.1%}")
    if abs(swapped - values[-1]) > 1e-9:
        wrong.append("exchanging the groups changes the agreement")
    if abs(inverted - (1 - values[-1])) > 1e-9:
        wrong.append("inverted labels do not give 1 - x")
    if wrong:
        raise ConditionFailed(f"controls fail: {'; '.join(wrong)}", "chance, 100 %, no change and 1 - x", "Report it.")
    return {f"mean of {models} random models": random, "oracle": oracle}


def _agreement(scores: hpir.Floats, counts: hpir.Ints, weights: hpir.Floats) -> float:
    return hpir.agreement(hpir.correct(hpir.choices(scores), counts), weights)
