"""Pictures found by what was said of them: the nearest text first, of pictures that are there."""

import json
from pathlib import Path

import pytest
import typer
from served import make_index
from typer.testing import CliRunner
from word_encoder import WordEncoder

from indexes import load_index
from indexes.errors import BeholderError
from indexes.records.critiques import Critique, write_critiques
from retrieval.critic import cli as critic_cli
from retrieval.critic.find import find_critiques
from retrieval.search import query_encoder
from retrieval.search.searcher import Searcher


def test_the_nearest_text_comes_first(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index(tmp_path / "index", pictures, ["p000.jpg", "p001.jpg", "p002.jpg"])
    with pytest.raises(BeholderError, match="holds no critiques"):
        find_critiques(index, "light", encoder=WordEncoder())
    sha256s = load_index(index).items_table().column("sha256").to_pylist()
    texts = ["stormy dark sea", "soft evening light", "soft morning fog"]
    said = [Critique(one, "critique", "x", "1", "?", text) for one, text in zip(sha256s, texts, strict=True)]
    write_critiques(index, [*said, Critique("e" * 64, "critique", "x", "1", "?", "soft evening light")])  # not there
    found = find_critiques(index, "soft evening light", encoder=WordEncoder())
    assert [match.id for match in found] == [1, 2, 0]
    assert found[0].likeness == pytest.approx(1)
    assert 0.1 < found[1].likeness < 0.7  # one word of three
    assert len(find_critiques(index, "fog", 1, WordEncoder())) == 1
    monkeypatch.setattr(query_encoder, "QueryEncoder", lambda index: WordEncoder())
    app = typer.Typer()
    app.command()(critic_cli.critique)
    done = CliRunner().invoke(app, ["--index", str(index), "--find", "dark sea", "-k", "1", "--json"])
    assert json.loads(done.stdout)["text"] == "stormy dark sea"
    with pytest.raises(BeholderError, match="--find with other options"):
        CliRunner().invoke(app, ["--index", str(index), "--find", "sea", "--critic", "llm:x"], catch_exceptions=False)


def test_a_filter_on_what_was_said_sees_what_is_said_next(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "index", pictures, ["p000.jpg", "p001.jpg"])
    opened = load_index(index)
    searcher = Searcher(opened)  # a filter needs no encoder
    first, second = opened.items_table().column("sha256").to_pylist()

    def say(sha256: str, text: str) -> None:
        write_critiques(index, [Critique(sha256, "critique", "x", "1", "?", text)])

    say(first, "soft light")
    say(second, "fog")
    assert searcher.matching("critique LIKE '%light%'").tolist() == [0]
    say(second, "hard light")
    assert searcher.matching("critique LIKE '%light%'").tolist() == [0, 1]
    kept = searcher.matching("critique LIKE '%light%'")
    assert searcher.matching("critique LIKE '%light%'") is kept
