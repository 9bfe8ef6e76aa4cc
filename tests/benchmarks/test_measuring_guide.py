"""Protects the guide "Measuring": its first section runs as it is written, over some of the pictures in the box."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = Path("retrieval", "samples")
MODEL = ROOT / "retrieval" / "models" / "beholder-mini" / "open_clip_model.safetensors"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like the root of the repository, with an eighth of the samples and of their table."""
    (tmp_path / SAMPLES).mkdir(parents=True)
    head, *rows = (ROOT / SAMPLES / "SOURCES.tsv").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if (ROOT / SAMPLES / row.partition("\t")[0]).is_file()][::8]
    for row in kept:
        shutil.copy(ROOT / SAMPLES / row.partition("\t")[0], tmp_path / SAMPLES)
    (tmp_path / SAMPLES / "SOURCES.tsv").write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "queries.txt", tmp_path / "docs")
    return tmp_path


@pytest.mark.skipif(not MODEL.is_file(), reason="beholder-mini is not in the box")
def test_the_first_section_runs(clone: Path) -> None:
    text = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    block = text.partition("```sh\n")[2].partition("```")[0]
    lines = [line for line in block.splitlines() if line.startswith("beholder ")]
    assert len(lines) == 6
    for line in lines:
        command = [sys.executable, "-P", "-m", "retrieval", *shlex.split(line)[1:]]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    for name in ("titles.json", "kinds.json", "stages.json", "stages.svg", "measured.html", "measured.md"):
        assert (clone / name).stat().st_size > 0
    assert str(clone) not in (clone / "titles.json").read_text(encoding="utf-8")
