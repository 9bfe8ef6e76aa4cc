"""Rows for training a rewriter: where a query stands in its rewrite, what is relevant, which pairs there are."""

from pathlib import Path

import pytest

from indexes.errors import BeholderError, FormatError
from retrieval.rewriting.arms import filled
from rl.preferences import PreferenceList, write_preferences
from rl.rewriting.data import pattern_of, prompt_of, questions, ranked_pairs, taught, write_questions


@pytest.mark.parametrize(
    ("query", "rewrite", "pattern"),
    [
        ("a boat", "impressionism painting, a boat, in mist", "impressionism painting, <query>, in mist"),
        ("A boat.", "a  boat at dawn", "<query> at dawn"),
        ("a boat", "a ship at dawn", None),
        ("a boat", "a boat", None),
    ],
)
def test_a_pattern_marks_the_query(query: str, rewrite: str, pattern: str | None) -> None:
    assert pattern_of(query, rewrite) == pattern
    if pattern is not None:
        assert filled("a boat", pattern).text == " ".join(rewrite.split())


def test_taught_rows_leave_out_fallbacks_and_rewrites_without_their_query(tmp_path: Path) -> None:
    table = tmp_path / "rewrites.tsv"
    rows = [("a boat", "a boat in mist", ""), ("a dog", "a hound", ""), ("a cat", "a cat", "refused")]
    table.write_text("query\trewrite\tfallback\n" + "".join("\t".join(row) + "\n" for row in rows))
    found = taught([table])
    assert found.without_query == 1
    assert [row["completion"][0]["content"] for row in found.rows] == ["<query> in mist"]
    assert found.rows[0]["prompt"] == prompt_of("a boat")
    assert found.rows[0]["prompt"][1]["content"] == 'Query: "a boat"'
    table.write_text("query\trewrite\na dog\ta hound\n")
    with pytest.raises(BeholderError, match="no rewrite to learn from"):
        taught([table])


def test_questions_come_back_as_written_and_from_preferences_the_unbeaten_are_relevant(tmp_path: Path) -> None:
    path = tmp_path / "questions.tsv"
    write_questions(path, [("a boat", "style = 'Tonalism'")])
    assert [(row["query"], row["relevant"]) for row in questions(path)] == [("a boat", "style = 'Tonalism'")]
    with pytest.raises(BeholderError, match="tab"):
        write_questions(path, [("a\tboat", "x")])
    hashes = ["a" * 64, "b" * 64, "c" * 64]
    lists = [PreferenceList("a boat", tuple(hashes), (0, 2), (1, 1))]
    write_preferences(tmp_path / "lists.parquet", lists, {})
    assert questions(tmp_path / "lists.parquet")[0]["pictures"] == [hashes[0], hashes[2]]


def test_pairs_are_the_best_answer_against_each_that_is_worse_by_the_margin(tmp_path: Path) -> None:
    path = tmp_path / "ranked.tsv"
    rows = [("a", "x", "0.5"), ("a", "y", "0.49"), ("a", "z", "0.1"), ("a", "z", "0.1"), ("b", "x", "0.3")]
    path.write_text("query\tanswer\tscore\n" + "".join("\t".join(row) + "\n" for row in rows))
    pairs = ranked_pairs(path, 0.02)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs] == [("x", "z")]
    with pytest.raises(BeholderError, match="no pair"):
        ranked_pairs(path, 0.9)
    path.write_text("query\tanswer\tscore\na\tx\thigh\n")
    with pytest.raises(FormatError, match="high"):
        ranked_pairs(path, 0.02)
