"""Queries of parts: what TEXT:W means, how parts combine, and that each wrong part is said."""

from pathlib import Path

import numpy as np
import pytest

from indexes.errors import BeholderError
from retrieval.search.query import Part, Query, combine, image_part, like_part, split_weight, text_part, vector_parts


@pytest.mark.parametrize(
    ("given", "text", "weight"),
    [
        ("a harbour", "a harbour", 1.0),
        ("a harbour:0.5", "a harbour", 0.5),
        ("a harbour:-.5", "a harbour", -0.5),
        ("Turner: the late sea pieces", "Turner: the late sea pieces", 1.0),
        ("Turner: rain:2", "Turner: rain", 2.0),
        ("at 12:30:1", "at 12:30", 1.0),
        ("boeing 747:0.5", "boeing 747", 0.5),
        ("two\nlines:2", "two\nlines", 2.0),
        ("nan:nan", "nan:nan", 1.0),
        ("1e5:1e5", "1e5:1e5", 1.0),
    ],
)
def test_the_weight_is_the_number_behind_the_last_colon(given: str, text: str, weight: float) -> None:
    assert split_weight(given) == (text, weight)


@pytest.mark.parametrize("given", ["at 12:30", "boeing 747:2", "16:9"])
def test_a_time_or_a_ratio_is_asked_about_and_both_remedies_work(given: str) -> None:
    with pytest.raises(BeholderError, match="may end in a weight") as raised:
        split_weight(given)
    as_text, as_weight = raised.value.remedy.split("'")[1::2]
    assert split_weight(as_text) == (given, 1.0)
    assert split_weight(as_weight) == (given.rpartition(":")[0], float(given.rpartition(":")[2]))


def test_relevance_to_a_query_is_the_weighted_sum_of_relevances_to_its_parts() -> None:
    generator = np.random.default_rng(0)
    parts = generator.normal(size=(3, 16)).astype(np.float32)  # of any length
    pictures = generator.normal(size=(50, 16))
    units = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    weights = [1.0, 0.5, -0.25]
    query = combine(parts, weights)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6)
    sums = sum(weight * (pictures @ unit) for weight, unit in zip(weights, units, strict=True))
    assert np.corrcoef(pictures @ query, sums)[0, 1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(combine(parts, [2 * weight for weight in weights]), query, atol=1e-6)
    np.testing.assert_allclose(combine(parts[:1], [-3]), -units[0], atol=1e-6)


def test_parts_that_cancel_out_are_refused() -> None:
    vector = np.ones((1, 4), np.float32)
    with pytest.raises(BeholderError, match="cancel out"):
        combine(np.concatenate([vector, 3 * vector]), [1, -1])


def test_unwanted_texts_weigh_half_unless_told_and_always_against() -> None:
    assert text_part("people", against=True).weight == -0.5
    assert text_part("people:2", against=True).weight == -2
    assert text_part("people").weight == 1


@pytest.mark.parametrize("given", ["people:x", "a lot of people:0,5", "people:", "people:nan", "people:1e-1", "a:b:c"])
@pytest.mark.parametrize("against", [False, True])
def test_a_weight_that_is_no_number_is_an_error_and_not_words(given: str, against: bool) -> None:
    with pytest.raises(BeholderError) as caught:
        text_part(given, against=against)
    assert repr(given.rpartition(":")[2]) in caught.value.found
    *_, as_weight, _, as_words, _ = caught.value.remedy.split("'")
    assert text_part(as_weight, against=against).value == given.rpartition(":")[0]
    assert text_part(as_words, against=against).value == given


@pytest.mark.parametrize("given", ["Star Wars: a film", "a film: part 2", "people: x", "a quiet harbour"])
def test_a_colon_with_a_space_behind_it_is_a_text_s_own(given: str) -> None:
    assert text_part(given).value == given


@pytest.mark.parametrize("given", ["people:-0.5", "people:0"])
def test_an_unwanted_text_never_counts_for_a_picture(given: str) -> None:
    with pytest.raises(BeholderError, match="a weight above 0"):
        text_part(given, against=True)


def test_a_label_names_every_part(tmp_path: Path) -> None:
    (tmp_path / "ref.jpg").write_bytes(b"x")
    parts = (
        text_part("a harbour"),
        image_part(f"{tmp_path}/ref.jpg:0.5"),
        like_part("7"),
        text_part("people", against=True),
    )
    assert Query(parts).label == "a harbour + 0.5 * ref.jpg + #7 - 0.5 * people"
    assert Query.of("a harbour").label == "a harbour"
    assert Query(parts).likes == (7,)
    assert Query.of("a harbour").plain == "a harbour"
    assert Query(parts[:1] + parts[2:3]).plain is None


def test_a_file_whose_name_ends_like_a_weight_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "take:2").write_bytes(b"picture")
    part = image_part(str(tmp_path / "take:2"))
    assert (part.value, part.weight) == (b"picture", 1.0)


def test_each_row_of_a_vector_file_is_a_part(tmp_path: Path) -> None:
    rows = np.arange(1, 7, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "q.npy", rows)
    parts = vector_parts(f"{tmp_path}/q.npy:0.5")
    assert [part.weight for part in parts] == [0.5, 0.5]
    np.testing.assert_array_equal([part.value for part in parts], rows.astype(np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BeholderError, match="cannot be read"):
        vector_parts(str(tmp_path / "objects.npy"))
    np.save(tmp_path / "ints.npy", np.ones((2, 3), np.int64))
    with pytest.raises(BeholderError, match="rows of floats"):
        vector_parts(str(tmp_path / "ints.npy"))


@pytest.mark.parametrize(
    ("kind", "value", "weight", "said"),
    [
        ("text", " ", 1, "a text is empty"),
        ("text", "x", 0, "has the weight 0"),
        ("text", "x", float("nan"), "has the weight nan"),
        ("text", b"x", 1, "is a bytes"),
        ("like", True, 1, "is a bool"),
        ("vector", np.zeros(4), 1, "not all 0"),
        ("vector", np.array([1, np.inf]), 1, "finite"),
        ("vector", np.ones((2, 2)), 1, "one row"),
        ("sound", "x", 1, "kind 'sound'"),
    ],
)
def test_a_wrong_part_is_said(kind: str, value: object, weight: float, said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        Part(kind, value, weight)  # type: ignore[arg-type]


def test_a_query_has_parts_and_a_like_is_an_id() -> None:
    with pytest.raises(BeholderError, match="without parts"):
        Query(())
    with pytest.raises(BeholderError, match="the id of a picture"):
        like_part("harbour.jpg")
    with pytest.raises(BeholderError, match="cannot be read"):
        image_part("nowhere.jpg")
