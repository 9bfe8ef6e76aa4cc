"""Queries that describe a style and do not name it: what gives a style away, and the numbers of `bench knowledge`."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.knowledge.run import knowledge_numbers, mean_of, name_alone, relevance_of, share_of_gain
from benchmarks.knowledge.texts import KnowledgeQuery, check_texts, key, naming_problems, read_texts, spellings
from indexes.errors import BeholderError, FormatError
from retrieval.rewriting.table import read_rewrites

TEXTS = Path(__file__).parents[2] / "docs" / "experiments" / "knowledge"
STYLES = {"Cubism": "cubism", "ArtDeco": "art deco", "Realism": "realism", "Photorealism": "photorealism"}


def query(text: str, style: str = "Cubism", phrasing: int = 1, named: str = "") -> KnowledgeQuery:
    return KnowledgeQuery(style, phrasing, text, f"{text}, rewritten", named or STYLES.get(style, style))


def shipped() -> list[KnowledgeQuery]:
    return read_texts(TEXTS / "queries.tsv", TEXTS / "rewrites.tsv")


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("a cubist guitar", "Cubism"),
        ("cubism with bottles", "Cubism"),
        ("an impressionistic garden", "Impressionism"),
        ("academic nude", "Academicism"),
        ("a lady in an art deco gown", "ArtDeco"),
        ("realist peasants", "Realism"),
        ("a japanese lady", "Ukiyo-e"),
        ("a bowl in the manner of braque", "Cubism"),
        ("a guitar, 1912", "Cubism"),
        ("an eighteenth century parlour", "Rococo"),
        ("a medieval page", "InternationalGothic"),
        ("not realism at all", "Cubism"),  # another style of the collection
    ],
)
def test_a_query_that_gives_its_style_away_is_found(text: str, style: str) -> None:
    beside = [query("plain truth", "Realism"), query("x", "ArtDeco")]
    problems = naming_problems([query(text, style), *beside], {"Cubism": ["georges braque"]})
    assert len(problems) == 1
    assert text in problems[0]
    with pytest.raises(BeholderError, match="1 queries name what they describe"):
        check_texts([query(text, style), *beside], {"Cubism": ["georges braque"]})


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("a decorative fan", "ArtDeco"),  # begins as "deco" does
        ("a real street", "Realism"),
        ("two strangers on 42nd street", "Photorealism"),
        ("a bowl of peaches", "Cubism"),
        ("painted in the open air", "NewEuropeanPainting"),
    ],
)
def test_words_that_name_nothing_pass(text: str, style: str) -> None:
    assert naming_problems([query(text, style)], {"Cubism": ["georges braque", "juan gris"]}) == []


def test_labels_and_names_are_one_however_they_are_spelled() -> None:
    assert key("ArtNouveau(Modern)") == key("art nouveau")
    assert key("Shin-hanga") == key("shin-hanga")
    assert key("Realism") != key("MagicRealism")
    assert spellings([query("a", "ArtDeco"), query("b", "HighRenaissance", named="realism")]) == {
        "ArtDeco": "art deco",
        "HighRenaissance": "high renaissance",
    }


def test_the_shipped_queries_are_enough_and_name_nothing() -> None:
    texts = shipped()
    by_style: dict[str, list[int]] = {}
    for one in texts:
        by_style.setdefault(one.style, []).append(one.phrasing)
    assert len(by_style) == 40
    assert all(sorted(numbers) == list(range(1, 9)) for numbers in by_style.values())
    assert naming_problems(texts, {}) == []


def test_the_shipped_rewrites_put_the_named_style_first_and_last_and_keep_the_query() -> None:
    for one in shipped():
        assert one.rewrite.startswith(name_alone(one.named))
        assert one.rewrite.endswith(one.named) or one.rewrite.endswith(f"{one.named} art")
        assert one.query in one.rewrite
    names = {key(one.style) for one in shipped()}
    assert all(key(one.named) in names for one in shipped())


def test_queries_of_the_glossary_name_nothing_and_are_not_asked_in_the_test() -> None:
    _, rows = read_rewrites(TEXTS / "glossary-rewrites.tsv")
    drawn = [KnowledgeQuery(row["named"], 1, row["query"], row["rewrite"], row["named"]) for row in rows]
    assert len({key(one.named) for one in drawn}) == 40
    assert naming_problems(drawn, {}) == []
    assert not {one.query for one in drawn} & {one.query for one in shipped()}


def test_texts_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    queries, rewrites = tmp_path / "q.tsv", tmp_path / "r.tsv"
    queries.write_text("style\tphrasing\tquery\nCubism\t1\ta guitar\n")
    rewrites.write_text("query\trewrite\tnamed\na violin\tcubism painting, a violin\tcubism\n")
    with pytest.raises(FormatError, match="no rewrite that names a style for 'a guitar'"):
        read_texts(queries, rewrites)
    rewrites.write_text("query\trewrite\tnamed\na guitar\tcubism painting, a guitar\tcubism\n")
    assert [one.named_right for one in read_texts(queries, rewrites)] == [True]
    queries.write_text("style\tphrasing\tquery\nCubism\t1\ta guitar\nCubism\t2\ta guitar\n")
    with pytest.raises(FormatError, match="twice"):
        read_texts(queries, rewrites)


def test_relevant_are_the_bearers_of_the_style_and_a_style_without_any_is_refused() -> None:
    texts = [query("a", "Cubism"), query("b", "Realism")]
    assert relevance_of(texts, ["Realism", "Cubism", "Cubism"]).tolist() == [[False, True, True], [True, False, False]]
    with pytest.raises(BeholderError, match="no picture bears Realism"):
        relevance_of(texts, ["Cubism"])


def test_numbers_of_trained_and_unseen_phrasings_stand_apart_with_chance_and_ceiling() -> None:
    relevance = np.zeros((4, 20), bool)
    relevance[:, :4] = True
    seen = np.array([True, True, True, False])
    sides = {
        "base": {"precision@8": np.array([0.0, 0.0, 0.25, 0.0]), "mAP": np.full(4, 0.2)},
        "base, rewritten": {"precision@8": np.array([0.5, 0.5, 0.5, 0.5]), "mAP": np.full(4, 0.9)},
        "aligned": {"precision@8": np.array([0.25, 0.25, 0.5, 0.125]), "mAP": np.full(4, 0.5)},
    }
    numbers = knowledge_numbers(sides, relevance, seen, 0)
    assert numbers["precision@8, trained phrasings: base"].value == pytest.approx(0.25 / 3)
    assert numbers["precision@8, trained phrasings: base"].chance == pytest.approx(0.2)
    assert numbers["precision@8, unseen phrasings: aligned"].value == 0.125
    assert numbers["precision@8: the most there can be"].value == 0.5  # 4 of 8
    assert numbers["precision@8, trained phrasings: gain of aligned"].value == pytest.approx(0.25)
    assert numbers["share of the teacher's gain, trained phrasings"].value == pytest.approx(0.75 / 1.25)
    assert numbers["share of the teacher's gain, unseen phrasings"].value == pytest.approx(0.25)


def test_the_share_of_a_gain_has_ends_only_where_the_teacher_surely_gains() -> None:
    base, teacher = np.zeros(50), np.full(50, 0.4)
    sure = share_of_gain(np.full(50, 0.1), base, teacher, seed=0)
    assert (sure.value, sure.low, sure.high) == (pytest.approx(0.25), pytest.approx(0.25), pytest.approx(0.25))
    doubtful = share_of_gain(base, base, np.array([1.0, -0.5]).repeat(25)[:50] * (np.arange(50) % 25 < 2), seed=0)
    assert doubtful.low is None
    with pytest.raises(BeholderError, match="gain nothing"):
        share_of_gain(base, base, base, seed=0)


def test_several_seeds_are_one_number_per_query() -> None:
    found = mean_of([{"mAP": np.array([0.0, 1.0])}, {"mAP": np.array([1.0, 1.0])}])
    assert found["mAP"].tolist() == [0.5, 1.0]
