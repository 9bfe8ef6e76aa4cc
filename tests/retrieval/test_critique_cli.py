"""The verb `critique`: of files and of an index, what is kept there, what is not asked again, what is counted."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from served import make_index
from typer.testing import CliRunner

from indexes import load_index
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.critiques import FILE, Critique, read_critiques, write_critiques
from indexes.searching.where import matching_ids
from retrieval.critic.cli import critique

app = typer.Typer()
app.command()(critique)


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, grey in (("bright.png", 250), ("dark.png", 5)):
        Image.fromarray(np.full((30, 40, 3), grey, np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def requests(server: str) -> int:
    with urllib.request.urlopen(server.removesuffix("/v1") + "/log") as reply:
        return sum(one["model"] == "sees" for one in json.load(reply)["requests"])


def test_files_get_what_was_said_apart_from_what_was_measured(shown: Path, chat_server: str) -> None:
    critic = f"llm:sees@{chat_server}"
    given = [shown / name for name in ("bright.png", "broken.png", "dark.png", "gone.png")]
    done = run(*given, "--critic", critic, "--cache", "none", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["said"] for row in rows] == [
        {"critique": "A picture full of light."},
        {},
        {"critique": "A picture full of shadow."},
        {},
    ]
    assert rows[1]["fallbacks"] == {"critique": "unreadable picture"}
    assert rows[3]["fallbacks"] == {"critique": "missing picture"}
    assert rows[0]["measured"]["brightness"] == pytest.approx(98.3, abs=0.2)  # L* of grey 250
    assert rows[1]["measured"] == {}
    assert {row["critic"] for row in rows} == {"llm:sees"}
    assert "2 of 4 answers (0 kept from before); 1 without: missing picture; 1 without: unreadable" in done.stderr
    with pytest.raises(ConditionFailed, match="2 of 4 answers are missing"):
        run(*given, "--critic", critic, "--cache", "none", "--max-fallback-share", 0.4)
    with pytest.raises(ConditionFailed, match="1 of 1"):  # nonsense is not shown
        run(shown / "dark.png", "--critic", f"llm:declines-by-field@{chat_server}", "--cache", "none")


@pytest.mark.parametrize(("model", "means"), [("likely", "log-probabilities"), ("sees", "words")])
def test_ratings_say_by_what_they_were_read(shown: Path, chat_server: str, model: str, means: str) -> None:
    given = [shown / name for name in ("bright.png", "broken.png")]
    done = run(*given, "--critic", f"llm:{model}@{chat_server}", "--cache", "none", "--rate", "--json")
    bright, broken = (json.loads(line) for line in done.stdout.splitlines())
    assert bright["rating"]["by"] == means
    assert 4 <= bright["rating"]["value"] <= 5
    assert "rating" not in broken
    assert broken["fallbacks"]["rating"] == "unreadable picture"
    assert f"2 of 4 answers (0 kept from before); ratings: 1 by {means}; 2 without: unreadable" in done.stderr
    plain = run(*given, "--critic", f"llm:{model}@{chat_server}", "--cache", "none", "--rate").stdout
    assert f"of 5 (by {means})" in plain
    assert "rating: (nothing: unreadable picture)" in plain


def test_an_index_keeps_what_was_said_and_asks_for_the_rest_alone(
    shown: Path, tmp_path: Path, chat_server: str
) -> None:
    (shown / "broken.png").unlink()
    index = make_index(tmp_path / "index", shown, ["bright.png", "dark.png"])
    ids = load_index(index).items_table().column("id").to_pylist()
    call = ("--index", index, "--critic", f"llm:sees@{chat_server}", "--cache", "none")
    before = requests(chat_server)
    assert "full of light" in run(*call, "--ids", ids[0]).stdout
    done = run(*call)
    assert requests(chat_server) - before == 2  # the first one's text was kept
    assert "2 of 2 answers (1 kept from before)" in done.stderr
    run(*call, "--aspect", "light")
    items = load_index(index).items_table()
    assert items.column("critique").to_pylist() == ["A picture full of light.", "A picture full of shadow."]
    assert matching_ids(items, "critique LIKE '%shadow%' AND critique_light IS NOT NULL").tolist() == [ids[1]]
    assert [row.split()[0] for row in run(*call, "--where", "critique LIKE '%shadow%'").stdout.splitlines()[::2]] == [
        str(ids[1])
    ]
    (shown / "dark.png").write_bytes((shown / "bright.png").read_bytes())  # another picture under its name
    with pytest.raises(ConditionFailed, match="1 of 1"):
        run(*call, "--kind", "emotion", "--ids", ids[1])


def test_a_newer_text_takes_the_older_ones_place(tmp_path: Path) -> None:
    one = Critique("a" * 64, "critique", "x", "1", "How?", "Old.")
    write_critiques(tmp_path, [one])
    write_critiques(tmp_path, [Critique("a" * 64, "critique", "y", "2", "How?", "New.")])
    write_critiques(tmp_path, [Critique("b" * 64, "critique", "y", "2", "How?", "Other.")])
    assert [found.text for found in read_critiques(tmp_path)] == ["New.", "Other."]
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    with pytest.raises(FormatError, match="cannot be read"):
        read_critiques(tmp_path)


def test_the_likeliest_mistakes_are_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    for arguments, said in (
        ((), "no pictures"),
        ((picture, "--index", tmp_path), "pictures and --index"),
        ((picture, "--ids", "3"), "without --index"),
        (("--index", tmp_path, "--rate"), "--rate with --index"),
        ((picture, "--critic", "nobody"), "there is no critic 'nobody'"),
        ((picture, "--critic", "llm:x", "--kind", "poem"), "no kind of critique 'poem'"),
        (("--index", tmp_path, "--ids", "a", "--critic", "llm:x"), "--ids a"),
        ((picture, "--critic", "llm:x", "--max-fallback-share", "2"), "wrong option"),
    ):
        with pytest.raises(BeholderError, match=said) as caught:
            run(*arguments)
        assert "\n" not in str(caught.value)
