"""`search` as it is typed: each part of a query has its option, each stage says what it did, mistakes are one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from indexes import build_index, load_index
from indexes.errors import BeholderError
from retrieval.__main__ import app
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.search.config import SearchConfig
from retrieval.search.query import Part, Query
from retrieval.search.searcher import Searcher
from tests.conftest import write_pictures


@pytest.fixture(scope="module")
def index(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    write_pictures(folder / "pictures", 20)
    embed(folder / "pictures", folder / "emb", EmbedConfig(workers=1), encoder=load_encoder(str(tiny_model)))
    build_index(folder / "emb", folder / "index")
    return folder / "index"


def search(index: Path, tiny_model: Path, *arguments: object) -> Result:
    words = ["search", str(index), *map(str, arguments), "--model", str(tiny_model)]
    return CliRunner().invoke(app, words)


def ids(done: Result) -> list[list[int]]:
    assert done.exit_code == 0, done.exception
    return [[hit["id"] for hit in json.loads(line)["results"]] for line in done.stdout.splitlines()]


def test_options_make_the_query_that_python_makes(index: Path, tiny_model: Path, tmp_path: Path) -> None:
    picture = index.parent / "pictures" / "p003.jpg"
    rows = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    parts = ("--text", "a red square:2", "--image", f"{picture}:0.5", "--like", "7:0.3", "--not", "blue", "--json")
    common = (
        Part("text", "a red square", 2.0),
        Part("image", picture.read_bytes(), 0.5),
        Part("like", 7, 0.3),
        Part("text", "blue", -0.5),
    )
    searcher = Searcher(load_index(index), load_encoder(str(tiny_model)))
    queries = [Query(common), *(Query((Part("vector", row, 0.8), *common)) for row in rows)]
    expected = [[hit.id for hit in answer.results] for answer in searcher.search(queries, SearchConfig(k=10))]
    assert ids(search(index, tiny_model, *parts)) == expected[:1]
    assert ids(search(index, tiny_model, *parts, "--vector", f"{tmp_path / 'rows.npy'}:0.8")) == expected[1:]


def test_each_line_of_a_file_of_queries_gets_the_other_parts(index: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("a red square\nthe sea: at 12:30\n")
    many = ids(search(index, tiny_model, "--queries", tmp_path / "queries.txt", "--not", "blue", "--json"))
    alone = [
        ids(search(index, tiny_model, text, "--not", "blue", "--json"))[0]
        for text in ("a red square", "the sea: at 12:30")  # no weight is read from a plain text
    ]
    assert many == alone


def test_explain_and_notes_say_what_the_stages_did(index: Path, tiny_model: Path) -> None:
    done = search(index, tiny_model, "a dog", "--rewrite", "suffix:at dawn", "--rerank", "mmr", "--explain", "-k", 3)
    assert "1 of 1 queries rewritten" in done.stderr
    assert "rewritten a dog, at dawn" in done.stderr
    for stage in ("rewrite", "encode", "search", "rerank", "items", "total"):
        assert f" {stage} " in done.stderr
    content = json.loads(search(index, tiny_model, "a dog", "--rewrite", "suffix:at dawn", "--json").stdout)
    assert content["query"] == "a dog"
    assert content["good_match"] is True
    assert content["rewrites"][0]["text"] == "a dog, at dawn"
    assert "seconds" not in content


def test_no_good_match_is_an_answer(index: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert search(index, tiny_model, "a dog", "--min-relevance", "1").stdout == "no good match\n"
    (tmp_path / "queries.txt").write_text("a dog\na cat\n")
    done = search(index, tiny_model, "--queries", tmp_path / "queries.txt", "--min-relevance", "1", "--tsv")
    assert "2 of 2 queries have no good match" in done.stderr
    assert done.stdout.splitlines() == ["query\trank\tid\trelevance\turi\tcaption"]


def test_sort_and_a_gallery_of_a_query_of_parts(index: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = search(index, tiny_model, "a dog", "--not", "<b>cats</b>", "--html", tmp_path / "page.html", "--sort", "uri")
    uris = [line.split()[2] for line in done.stdout.splitlines()]
    assert uris == sorted(uris)
    assert "a dog - 0.5 * &lt;b&gt;cats&lt;/b&gt;" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no query; expected a text, --text, --image"),
        (("--text", ":2"), "a text is empty"),
        (("--text", "at 12:30"), "Write 'at 12:30:1' for the text"),
        (("--image", "nowhere.jpg"), "nowhere.jpg cannot be read"),
        (("--like", "harbour"), "--like harbour"),
        (("--like", "999"), "id 999 is not in"),
        (("--vector", "nowhere.npy"), "cannot be read"),
        (("a dog", "--not", "a dog:1"), "cancel out"),
        (("a dog", "--queries", "q.txt"), "--queries beside a text"),
        (("a dog", "--beauty", "lots"), "--beauty lots"),
        (("a dog", "--beauty", "liking:1"), "no scores of liking"),
        (("a dog", "--beauty", "1"), "no default scorer"),
        (("a dog", "--rewrite", "better"), "no rewriter 'better'"),
        (("a dog", "--rerank", "better"), "no re-ranker 'better'"),
        (("a dog", "--candidates", "50"), "without rerank or sort"),
        (("a dog", "--sort", "colour"), "no column 'colour'"),
        (("a dog", "--min-relevance", "high"), "--min-relevance high"),
        (("a dog", "--min-relevance", "auto"), "no calibration"),
    ],
)
def test_likely_mistakes_are_one_line(arguments: tuple[str, ...], said: str, index: Path, tiny_model: Path) -> None:
    done = search(index, tiny_model, *arguments)
    assert isinstance(done.exception, BeholderError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""
