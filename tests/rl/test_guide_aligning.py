"""The guide to aligning runs from its first command to its last, as a reader types them."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.test_docs import MODEL, ROOT, beholder, blocks, commands

GUIDE = ROOT / "docs" / "aligning.md"


@pytest.mark.skipif(not MODEL.is_file(), reason="beholder-mini is not in the box")
def test_the_guide_to_aligning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, mine = ROOT / "retrieval" / "samples", tmp_path / "retrieval" / "samples"
    mine.mkdir(parents=True)
    for path in [*sorted(samples.glob("*.jpg"))[::3], samples / "SOURCES.tsv"]:  # a third is quicker to embed
        shutil.copy(path, mine / path.name)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "queries.txt", tmp_path / "docs")
    lines = commands(GUIDE)
    assert len(lines) >= 7
    for line in lines:
        done = beholder(shlex.split(line)[1:], tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, f"{line} says nothing"
    assert (tmp_path / "lists.html").is_file()
    assert (tmp_path / "compared.html").is_file()
    assert (tmp_path / "runs/colour/model/manifest.json").is_file()
    monkeypatch.chdir(tmp_path)
    for block in blocks(GUIDE, "python"):
        exec(compile(block, "docs/aligning.md", "exec"), {})


def test_options_of_the_recipes_that_are_not_run_exist() -> None:
    """The larger recipe stands in a block that no test runs: its options, and those of the table, are real."""
    from typer.testing import CliRunner

    from retrieval.__main__ import app

    def known(*verb: str) -> str:
        return CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).output

    for line in [line for block in blocks(GUIDE, "bash") for line in block.splitlines()]:
        words = shlex.split(line)[1:]
        verb = words[: 2 if words[0] in ("index", "align", "bench") else 1]
        told = known(*verb)
        assert all(word in told for word in words if word.startswith("--")), line
    told = known("align", "train") + known("align", "preferences")
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(rows)))
    assert len(named) > 15
    assert not [option for option in named - {"--nproc-per-node"} if option not in told]
