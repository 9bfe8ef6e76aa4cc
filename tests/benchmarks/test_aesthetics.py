"""`bench aesthetics`: agreement with made judgements whose answer is known, and the record of the run."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.runs import read_run
from benchmarks.tables.aesthetic_sets import SETS, file_of, read_table
from benchmarks.taste.aesthetics import AestheticsConfig, measure
from indexes.errors import BeholderError, FormatError
from retrieval.scoring.scorers import load_scorer
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


def test_linear_and_rank_correlation_tell_a_curve_from_a_line(judged: Path) -> None:
    numbers = measure(AestheticsConfig(judged / "items.tsv", "brightness", "score")).numbers
    assert numbers["Kendall"].value == pytest.approx(1.0)
    assert 0.97 < numbers["Pearson"].value < 1, "L* of greys is nearly a line of sRGB values"


def labels(root: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / name).write_text(text, encoding=encoding)


def test_a_set_by_name_finds_its_table_columns_and_files(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEHOLDER_DATA", str(tmp_path))
    rows = "".join(f"{number}\t{number}\t1\t9\t1\n" for number in range(8))
    labels(tmp_path, "ava_test_scores.tsv", "image_id\tmean_score\tstd\tn_votes\tcounts_1_to_10\n" + rows)
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes((judged / f"{number}.png").read_bytes())
    run = measure(AestheticsConfig(Path("ava"), "brightness", pictures=tmp_path))
    assert run.numbers["Spearman"].value == pytest.approx(1.0)
    assert run.numbers["Spearman"].n == 8
    assert "research use" in run.notes[0]
    assert run.command.startswith("beholder bench aesthetics ava ")
    assert run.data["table"] == "$BEHOLDER_DATA/labels/ava_test_scores.tsv"


def test_a_csv_is_read_with_its_quotes_and_its_encoding(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEHOLDER_DATA", str(tmp_path))
    text = "filename,Artistic Categories,Total aesthetic score,Language Comment\n"
    text += "".join(f'{number}.png,ink,{number},"good, 画"\n' for number in range(6))
    labels(tmp_path, "apddv2_10023.csv", text, "gb18030")
    config = AestheticsConfig(Path("apddv2"), "brightness", pictures=judged)
    assert measure(config).numbers["Spearman"].value == pytest.approx(1.0)
    (tmp_path / "labels" / "apddv2_10023.csv").write_bytes(b"filename,Total aesthetic score\nx.png\n")
    with pytest.raises(FormatError, match="row 1, has another number of cells"):
        measure(config)


def test_oasis_names_are_those_of_its_files() -> None:
    assert file_of("Acorns1", SETS["oasis"]) == "Acorns 1.jpg"
    assert file_of("Beach 2", SETS["oasis"]) == "Beach 2.jpg"
    assert file_of("687050", SETS["ava"]) == "687050.jpg"
    assert file_of("a.png", None) == "a.png"


def test_likely_mistakes_with_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEHOLDER_DATA", raising=False)
    with pytest.raises(BeholderError, match="BEHOLDER_DATA is not set"):
        AestheticsConfig(Path("ava"))
    monkeypatch.setenv("BEHOLDER_DATA", str(tmp_path))
    with pytest.raises(BeholderError, match="the pictures of ava are not with its scores"):
        measure(AestheticsConfig(Path("ava"), "brightness"))
    with pytest.raises(BeholderError, match="columns for the set ava"):
        AestheticsConfig(Path("ava"), score_column="mean_score")


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


@pytest.mark.skipif(not DATA, reason="BEHOLDER_DATA names no folder with labels/")
@pytest.mark.parametrize("name", SETS)
def test_every_set_by_name_is_there_with_its_columns(name: str) -> None:
    chosen = SETS[name]
    columns = [chosen.image_column, chosen.score_column] + ([chosen.group_column] if chosen.group_column else [])
    rows = read_table(Path(DATA) / chosen.table, columns, chosen.encoding)
    assert len(rows) > 80
    assert all(float(row[chosen.score_column]) == float(row[chosen.score_column]) for row in rows), "a number each"
    assert chosen.split is None or chosen.split in {row["split"] for row in rows}
    assert len({row[chosen.image_column] for row in rows}) == len(rows)
