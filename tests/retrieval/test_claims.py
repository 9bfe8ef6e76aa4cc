"""Claims in words: what is written with the table is read back from any text; levels are cut into equal parts."""

import numpy as np
import pytest

from indexes.errors import BeholderError
from retrieval.critic.claims import (
    LEVELS,
    claim_words,
    claims_in,
    cuts_of,
    label_said,
    level_of,
    level_said,
    rating_said,
    side_said,
)


def test_every_phrase_is_read_back_as_what_it_says() -> None:
    for about, levels in claim_words().items():
        assert set(levels) == {*LEVELS, "more", "less"}
        for says in LEVELS:
            for phrase in levels[says]:
                assert level_said(f"I would say the picture is {phrase}.", about) == says, phrase
                assert len(claims_in(f"It is {phrase}.")) == 1, phrase


def test_no_phrase_means_two_things() -> None:
    phrases = [phrase for levels in claim_words().values() for said in levels.values() for phrase in said]
    assert len(phrases) == len(set(phrases))


def test_the_longest_phrase_counts_and_what_is_denied_does_not() -> None:
    assert level_said("It is moderately bright.", "brightness") == "middle"
    assert level_said("It is neither dark nor bright.", "brightness") == "middle"
    assert level_said("It is not dark.", "brightness") is None
    assert level_said("It is not at all dark but warm.", "brightness") is None
    assert level_said("A dark sky over a bright lake.", "brightness") is None
    assert level_said("The darkness grows.", "brightness") is None
    assert level_said("It is darker.", "brightness") is None
    assert level_said("", "brightness") is None


def test_claims_of_a_whole_critique() -> None:
    text = "A warm, muted painting; high in contrast and, for all that, simple."
    assert {claim.about: claim.says for claim in claims_in(text)} == {
        "warmth": "high",
        "saturation": "low",
        "contrast": "high",
        "complexity": "low",
    }


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("The first one.", "first"),
        ("Second", "second"),
        ("The second is darker than the first.", "second"),
        ("It is darker than the first.", "second"),
        ("The left picture", "first"),
        ("Picture 2 is.", "second"),
        ("The first and the second are alike.", None),
        ("Neither.", None),
        ("In a split second", "second"),  # known: words have more than one meaning
        ("seconds", None),
    ],
)
def test_which_of_two_is_named(text: str, side: str | None) -> None:
    assert side_said(text) == side


def test_labels_and_ratings() -> None:
    styles = ["cubism", "mechanistic cubism", "art nouveau"]
    assert label_said("This is Mechanistic Cubism.", styles) == "mechanistic cubism"
    assert label_said("Cubism or Art Nouveau", styles) is None
    assert rating_said("I find it good.") == "good"
    assert rating_said("Goodness!") is None


def test_tertiles_part_the_training_values_evenly() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    cuts = cuts_of(values)
    counts = [sum(level_of(value, cuts) == level for value in values) for level in LEVELS]
    assert counts == [1000, 1000, 1000]
    assert level_of(cuts[0], cuts) == "low"
    assert level_of(np.nextafter(cuts[1], np.inf), cuts) == "high"
    with pytest.raises(BeholderError, match="equal"):
        cuts_of([1.0] * 50)
