"""CIDEr-D of captions, as a pure function: Vedantam, Zitnick and Parikh, CVPR 2015, section 5.

As pycocoevalcap's cider_scorer.py computes it: n-grams of 1 to 4 tokens, each n weighing a quarter; tf-idf, with the
document frequencies of the references (one picture, one document); counts of a candidate clipped to the reference's; a
Gaussian penalty of the difference in length, sigma 6; times 10, mean over references, then over pictures. No stemming.
Deliberate difference: the tokeniser is ours (`tokens`); theirs needs Java.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

NGRAMS = 4
SIGMA = 6.0
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
Grams = Counter[tuple[str, ...]]


def tokens(text: str) -> list[str]:
    """Words of letters and digits in lower case, "'s" and the like kept on; punctuation is left out."""
    return WORD.findall(text.lower())


def cider_d(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> npt.NDArray[np.float64]:
    """(N,) score of each candidate (tokens) against its references (lists of tokens), 0 and up, rarely above 10.

    Raises BeholderError for unequal numbers, and a picture without references. One picture alone scores 0: what is in
    every document weighs nothing.
    """
    if len(candidates) != len(references) or not all(references):
        raise BeholderError(
            f"{len(candidates)} captions for {len(references)} pictures with references", "references for each"
        )
    documents = Counter(gram for known in references for gram in set().union(*(_grams(one) for one in known)))
    total = float(np.log(max(1, len(references))))
    return np.array(
        [
            float(np.mean([_similarity(candidate, one, documents, total) for one in known]))
            for candidate, known in zip(candidates, references, strict=True)
        ]
    )


def _similarity(candidate: Sequence[str], reference: Sequence[str], documents: Grams, total: float) -> float:
    first, second = _weights(candidate, documents, total), _weights(reference, documents, total)
    penalty = float(np.exp(-((len(candidate) - len(reference)) ** 2) / (2 * SIGMA**2)))
    value = 0.0
    for one, other in zip(first, second, strict=True):
        length = np.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
        if length > 0:
            value += (
                sum(min(weight, other[gram]) * other[gram] for gram, weight in one.items() if gram in other) / length
            )
    return 10 * value / NGRAMS * penalty


def _weights(words: Sequence[str], documents: Grams, total: float) -> list[dict[tuple[str, ...], float]]:
    """tf-idf of the n-grams of each n. Counts are not normalised: lengths cancel in the cosine."""
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(NGRAMS)]
    for gram, count in _grams(words).items():
        weights[len(gram) - 1][gram] = count * (total - float(np.log(max(1, documents[gram]))))
    return weights


def _grams(words: Sequence[str]) -> Grams:
    return Counter(tuple(words[at : at + n]) for n in range(1, NGRAMS + 1) for at in range(len(words) - n + 1))
