"""Metrics of texts: hand-derived cases, the values of the published implementations, and what controls show."""

import math
import random

import numpy as np
import pytest

from benchmarks.critique.cider import cider_d, tokens
from benchmarks.critique.text_metrics import CAPTION_METRICS, METRICS, lengths, measure_texts, shuffled, signatures
from indexes.errors import BeholderError

WORDS = ["a", "dog", "runs", "in", "the", "grass", "two", "men", "play", "ball", "with", "red", "hat", "blue", "sky"]


def test_cider_d_is_what_pycocoevalcap_says() -> None:
    drawn = random.Random(0)
    references = [[[drawn.choice(WORDS) for _ in range(drawn.randint(3, 12))] for _ in range(5)] for _ in range(30)]
    candidates = [
        drawn.choice(known) if place % 3 == 0 else [drawn.choice(WORDS) for _ in range(drawn.randint(2, 14))]
        for place, known in enumerate(references)
    ]
    # pycocoevalcap 1.2, CiderScorer(n=4, sigma=6.0) on these tokens
    assert cider_d(candidates, references).mean() == pytest.approx(1.1733906587623162, abs=1e-12)


def test_cider_d_by_hand() -> None:
    # Two documents; every word and pair is in one alone, so each weighs log 2. "x y" against "x y": both n-grams agree,
    # two of four n have grams, so 10 * 2 / 4. Against "p q" nothing does.
    references = [[["x", "y"]], [["p", "q"]]]
    assert cider_d([["x", "y"], ["x", "y"]], references) == pytest.approx([5.0, 0.0])
    # Said twice the counts are clipped: of the words 2 * min(2, 1) / (sqrt(8) sqrt(2)) = 1 / 2, of the pairs 1 of
    # (2, 1) against (1, 0), and the text is two words too long.
    double = cider_d([["x", "y", "x", "y"], ["p"]], references)[0]
    log2 = math.log(2)
    pairs = math.sqrt(((2 * log2) ** 2 + log2**2) * log2**2)  # "y x" is in no document: its weight is log 2 too
    hand = 10 / 4 * (1 / 2 + log2**2 / pairs) * math.exp(-(2**2) / 72)
    assert double == pytest.approx(hand, rel=1e-9)


def test_the_same_text_scores_all_and_another_nothing() -> None:
    texts = ["a dog runs in the green grass", "two men play with a red ball"]
    same = measure_texts(texts, [[text] for text in texts], (*METRICS, "CIDEr-D"))
    assert [same[name].value for name in ("BLEU-4", "GLEU", "ROUGE-L")] == pytest.approx([1, 1, 1])
    assert same["METEOR"].value == pytest.approx(1 - 0.5 / 7**3)  # one chunk of seven words: 1 - 0.5 (1 / 7)^3
    assert same["CIDEr-D"].value == pytest.approx(10)
    other = measure_texts(["x y z u v", "p q r s t"], [[text] for text in texts], (*METRICS, "CIDEr-D"))
    assert [other[name].value for name in ("GLEU", "METEOR", "ROUGE-L", "CIDEr-D")] == [0, 0, 0, 0]
    assert other["BLEU-4"].value < 0.05


def test_bleu_by_hand_with_several_references() -> None:
    # 5 of 5 words, 4 of 4 pairs, 3 of 3, 2 of 2 by two references together; as long as the nearer one: BLEU 1.
    value = measure_texts(["a b c d e"], [["a b c d", "b c d e f", "a b c d e"]], ("BLEU-4",))["BLEU-4"].value
    assert value == pytest.approx(1)
    # 4 of 5, 3 of 4, 2 of 3, 1 of 2; lengths equal.
    value = measure_texts(["a b c d x"], [["a b c d e"]], ("BLEU-4",))["BLEU-4"].value
    assert value == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # Half as long, all right: the brevity penalty alone.
    value = measure_texts(["a b c d"], [["a b c d e f g h"]], ("BLEU-4",))["BLEU-4"].value
    assert value == pytest.approx(math.exp(1 - 8 / 4))


def test_an_empty_answer_scores_nothing_and_counts() -> None:
    known = [["a dog runs in the grass"], ["a red ball on a blue hat"]]
    whole = measure_texts([known[0][0], known[1][0]], known, ("ROUGE-L", "METEOR"))
    half = measure_texts([known[0][0], ""], known, ("ROUGE-L", "METEOR"))
    assert half["ROUGE-L"].value == pytest.approx(whole["ROUGE-L"].value / 2)
    assert half["METEOR"].each is not None
    assert half["METEOR"].each[1] == 0
    with pytest.raises(BeholderError):
        measure_texts(["a"], [["a"], ["b"]])
    with pytest.raises(BeholderError):
        measure_texts(["a"], [[]])


def test_other_pictures_answers_score_less_and_lengths_are_told() -> None:
    texts = [f"picture {n} shows thing{n} and thing{n + 1}" for n in range(20)]
    references = [[text] for text in texts]
    moved = shuffled(texts)
    assert sorted(moved) == sorted(texts)
    assert all(one != other for one, other in zip(texts, moved, strict=True))
    assert measure_texts(moved, references, ("CIDEr-D",))["CIDEr-D"].value < 5
    assert lengths(["a b"], [["a b c d"]]) == 0.5
    with pytest.raises(BeholderError):
        shuffled(["one"])


def test_signatures_say_what_is_computed() -> None:
    told = signatures((*METRICS, *CAPTION_METRICS))
    assert "WordNet" in told["METEOR"]
    assert "sacrebleu" in told["BLEU-4"]
    assert tokens("A dog's life, isn't it? 3 men.") == ["a", "dog's", "life", "isn't", "it", "3", "men"]
    assert np.isfinite(measure_texts(["a dog"], [["a dog"]], ("CIDEr-D",))["CIDEr-D"].value)
