"""`bench aesthetics`: agreement with made judgements whose answer is known, and the record of the run."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.aesthetics import AestheticsConfig, measure
from benchmarks.runs import read_run
from indexes.errors import BeholderError, FormatError
from retrieval.scorers import load_scorer
from tests.conftest import ROOT

DATA = os.environ.get("BEHOLDER_DATA", "")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 grey pictures, lighter and lighter, whose scores follow the grey; and choices of the lighter one."""
    folder = tmp_path_factory.mktemp("judged")
    lines = ["file\tscore\tother\tkind\tsplit"]
    for number in range(20):
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(folder / f"{number}.png")
        kind = "a" if number < 10 else "b"
        other = number if kind == "a" else number - 100  # right within kinds, wrong between them
        lines.append(f"{number}.png\t{number}\t{other}\t{kind}\t{'test' if number % 2 else 'train'}")
    (folder / "items.tsv").write_text("\n".join(lines) + "\n")
    pairs = ["file_1\tfile_2\twins_1\twins_2", "3.png\t9.png\t1\t3", "12.png\t5.png\t4\t0", "7.png\t8.png\t2\t0"]
    (folder / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    return folder


def test_a_scorer_that_agrees_with_people_wholly_says_so(judged: Path) -> None:
    run = measure(AestheticsConfig(judged / "items.tsv", "brightness", "score", split="test"))
    assert run.numbers["Spearman"].value == pytest.approx(1.0)
    assert run.numbers["pair accuracy"].value == 1.0
    assert run.numbers["pair accuracy"].chance == 0.5
    assert run.numbers["Spearman"].n == 10
    assert run.data["scorer_fingerprint"] == load_scorer("brightness").card.fingerprint


def test_groups_are_judged_apart(judged: Path) -> None:
    apart = measure(AestheticsConfig(judged / "items.tsv", "brightness", "other", group_column="kind"))
    together = measure(AestheticsConfig(judged / "items.tsv", "brightness", "other"))
    assert apart.numbers["pair accuracy"].value == 1.0
    assert together.numbers["pair accuracy"].value < 0.6


def test_single_choices_are_counted_one_by_one(judged: Path) -> None:
    run = measure(AestheticsConfig(judged / "pairs.tsv", "brightness"))
    assert run.numbers["agreement"].value == pytest.approx((3 + 4 + 0) / 10)
    assert "10 single choices" in run.notes[0]


def test_mistakes_are_one_line(judged: Path) -> None:
    with pytest.raises(BeholderError, match="without --score-column"):
        AestheticsConfig(judged / "pairs.tsv", split="test")
    with pytest.raises(FormatError, match="no column 'file_1'"):
        measure(AestheticsConfig(judged / "items.tsv", "brightness"))
    with pytest.raises(FormatError, match="a finite number"):
        measure(AestheticsConfig(judged / "items.tsv", "brightness", "kind"))


def test_the_command_writes_a_run(
    beholder: Callable[..., subprocess.CompletedProcess[str]], judged: Path, tmp_path: Path
) -> None:
    out = tmp_path / "look.json"
    beholder(
        "bench", "aesthetics", judged / "items.tsv", "--scorer", "brightness", "--score-column", "score", "--out", out
    )
    assert read_run(out).numbers["Spearman"].value == pytest.approx(1.0)


@pytest.mark.skipif(not DATA, reason="BEHOLDER_DATA names no folder with website/")
def test_the_committed_figures_of_beholder_appeal_are_those_of_the_committed_weights() -> None:
    table = Path(DATA) / "website" / "items.tsv"
    run = measure(AestheticsConfig(table, score_column="mean_score", split="test"))
    committed = json.loads((ROOT / "docs" / "results" / "appeal-website.json").read_text())
    assert run.data["scorer_fingerprint"] == committed["data"]["scorer_fingerprint"]
    for name, number in committed["numbers"].items():
        assert run.numbers[name].value == pytest.approx(number["value"], abs=2e-3)
