"""Protects the documents: the README's tour and the Python examples run, every verb and link is real."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retrieval.__main__ import VERBS

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "retrieval" / "models" / "beholder-mini" / "open_clip_model.safetensors"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/decisions/*.md")),
]
GUIDES = ["README.md", "docs/indexes.md", "docs/search-engineer.md", "docs/alignment-researcher.md", "docs/formats.md"]
needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="beholder-mini is not in the box")


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)


def commands(document: Path) -> list[str]:
    lines = [line.strip() for block in blocks(document, "sh") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("beholder ")]


def beholder(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`python -m retrieval`, so that the tests need no installed console script; -P keeps `folder` off the path."""
    command = [sys.executable, "-P", "-m", "retrieval", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the root of the repository; a sixth of the samples is quicker to embed."""
    samples, folder = ROOT / "retrieval" / "samples", tmp_path_factory.mktemp("clone")
    (folder / "retrieval" / "samples").mkdir(parents=True)
    named = [samples / "SOURCES.tsv", samples / "photo_elementary_sunset.jpg"]  # that the guides name
    for path in [*sorted(samples.glob("*.jpg"))[::6], *named]:
        shutil.copy(path, folder / "retrieval" / "samples" / path.name)
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "queries.txt", folder / "docs")
    return folder


@needs_model
def test_the_tour_of_the_readme_runs(clone: Path) -> None:
    tour = commands(ROOT / "README.md")
    assert len(tour) >= 8
    for line in tour:
        done = beholder(shlex.split(line)[1:], clone)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, f"{line} says nothing"
    assert (clone / "beholder-demo" / "gallery.html").is_file()
    assert (clone / "beholder-demo" / "flowers.html").is_file()


@needs_model
def test_the_guide_to_indexes_runs(clone: Path) -> None:
    for line in commands(ROOT / "docs" / "indexes.md"):
        done = beholder(shlex.split(line)[1:], clone)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, f"{line} says nothing"


@needs_model
def test_the_guide_to_searching_runs(clone: Path) -> None:
    for line in commands(ROOT / "docs" / "searching.md"):
        done = beholder(shlex.split(line)[1:], clone)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, f"{line} says nothing"


@needs_model
def test_the_python_examples_run(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    for name in GUIDES:
        for place, block in enumerate(blocks(ROOT / name, "python")):
            exec(compile(block, f"{name}, Python block {place}", "exec"), {})
    assert "photo_budgie" in capsys.readouterr().out  # "a city at night" finds one


def test_every_verb_is_in_the_manual_and_no_other() -> None:
    manual = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    quoted = "\n".join(re.findall(r"`[^`\n]+`|^beholder .*$", manual, re.MULTILINE))
    named = set(re.findall(r"\bbeholder ([a-z]+)\b", quoted))
    assert set(VERBS) <= named
    assert named <= set(VERBS)


def test_every_command_is_in_the_guide_to_the_command_line() -> None:
    """By its last word, in backticks or in a block: `align rewriter start`, `sft`, ..."""
    import typer

    from retrieval.__main__ import app

    def last_words(command: Any, name: str = "") -> list[str]:
        if not hasattr(command, "list_commands"):
            return [name]
        context = typer.Context(command)
        names = command.list_commands(context)
        return [word for one in names for word in last_words(command.get_command(context, one), one)]

    guide = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    said = set(re.findall(r"[a-z]+", " ".join(re.findall(r"`[^`\n]+`|^beholder .*$", guide, re.M))))
    found = last_words(typer.main.get_command(app))
    assert len(found) > 50
    assert set(found) <= said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_files_and_headings_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        if heading:
            lines = linked.read_text(encoding="utf-8").splitlines()
            headings = [line.lstrip("#").strip().lower().replace(" ", "-") for line in lines if line.startswith("#")]
            assert heading in headings, target


def test_options_that_the_documents_name_exist() -> None:
    """Every `--option` of a command line in a block is known to that verb's --help."""
    from typer.testing import CliRunner

    from retrieval.__main__ import app

    runner = CliRunner()
    helps: dict[tuple[str, ...], str] = {}
    for line in [line for document in DOCUMENTS for line in commands(document)]:
        words = shlex.split(re.split(r" [|>] ", line)[0])[1:]
        verb: tuple[str, ...] = ()
        for word in words[:3]:
            if not re.fullmatch("[a-z]+", word) or runner.invoke(app, [*verb, word, "--help"]).exit_code:
                break
            verb = (*verb, word)
            helps[verb] = runner.invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).output
            if "COMMAND" not in helps[verb]:
                break
        for option in [word for word in words if word.startswith("-")]:
            assert option in helps[verb], f"{line}: {option} is not an option of {' '.join(verb)}"
