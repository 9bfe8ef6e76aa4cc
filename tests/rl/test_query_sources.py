"""Queries from captions, items, templates and a model: each once, none that is kept apart, mistakes in one line."""

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexes.errors import BeholderError
from retrieval.language.chat_exchange import Answer, Failure
from rl.cli import app
from rl.lists.query_sources import captions_of, distinct, of_items, of_model, of_words


def test_templates_take_every_combination_of_words_and_each_row() -> None:
    words = {"mood": ["gloomy", "festive"], "subject": ["street", "harbour"]}
    made = list(of_words("a {mood} {subject}", words))
    assert made == ["a gloomy street", "a gloomy harbour", "a festive street", "a festive harbour"]
    rows = [{"style": "Cubism", "subject": "man "}, {"style": "", "subject": "dog"}]
    assert list(of_items(rows, "{style} of a {subject}")) == ["Cubism of a man"]
    for template, message in (("a street", "holes such as"), ("a {mood", "holes such as"), ("{colour}", "asks for")):
        with pytest.raises(BeholderError, match=message):
            list(of_words(template, words))
    with pytest.raises(BeholderError, match=r"asks for artist; expected a column \(style, subject\)"):
        list(of_items(rows, "{artist}"))


def test_each_query_once_and_none_that_is_kept_apart() -> None:
    given = ["A red  boat.", "a red boat", "a house", "", "The sea"]
    assert distinct(given, without=["the sea."]) == ["A red boat.", "a house"]
    many = [f"query {number}" for number in range(100)]
    drawn = distinct(many, most=10, seed=1)
    assert len(drawn) == 10
    assert drawn == distinct(many, most=10, seed=1) == sorted(drawn, key=many.index)
    assert drawn != distinct(many, most=10, seed=2)


class Model:
    """Answers one topic, fails at the next, and writes an empty query."""

    def ask_many(self, questions, progress=None):  # type: ignore[no-untyped-def]
        assert "write 2 different queries" in questions[0].system
        assert questions[0].user == 'Query: "boats"'
        said = {"queries": ["a boat\n at dawn", " ", "x" * 300]}
        return [Answer("", said, "plain"), Failure("timeout: 60 s")]


def test_a_model_s_failures_are_counted() -> None:
    rejected: Counter[str] = Counter()
    assert list(of_model(Model(), ["boats", "trains"], 2, rejected)) == ["a boat at dawn"]
    assert rejected == {"topics without an answer": 1, "queries that are empty or too long": 2}

    class Gone:
        def ask_many(self, questions, progress=None):  # type: ignore[no-untyped-def]
            return [Failure("http: 401", hopeless=True)]

    with pytest.raises(BeholderError, match="the model cannot be asked"):
        list(of_model(Gone(), ["boats"], 2, rejected))


def test_captions_are_those_of_training_pictures(tiny_captions: Path) -> None:
    lines = tiny_captions.read_text().splitlines()[1:]
    assert sorted(captions_of(str(tiny_captions), None)) == sorted(line.split("\t")[1] for line in lines)


def test_the_command_writes_what_align_preferences_reads(tmp_path: Path, tiny_captions: Path) -> None:
    from retrieval.search.query_file import read_queries

    out, apart = tmp_path / "q.txt", tmp_path / "apart.txt"
    apart.write_text("a dark thing\n")
    arguments = [str(out), "--captions", str(tiny_captions), "--template", "a {kind} thing", "--words", "kind=dark,red"]
    done = CliRunner().invoke(app, ["queries", *arguments, "--exclude", str(apart)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made = read_queries(out)
    assert "a red thing" in made
    assert "a dark thing" not in made
    assert f"{len(made)} queries" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no source of queries"),
        (["--captions", "index"], "--index INDEX"),
        (["--captions", "nowhere"], "there is no source 'nowhere'|under no folder"),
        (["--template", "a {mood}", "--words", "mood"], "NAME=ONE,OTHER"),
        (["--llm", "qwen@http://127.0.0.1:9/v1"], "--llm without topics"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(BeholderError, match=message):
        CliRunner().invoke(app, ["queries", str(tmp_path / "q.txt"), *arguments], catch_exceptions=False)
