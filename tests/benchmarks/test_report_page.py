"""Protects the report of runs: one page that loads nothing, doubts first, comparisons paired, rows of pictures."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.per_query import PerQuery, path_beside
from benchmarks.reports.gallery import GalleryConfig, gallery_rows, system_words
from benchmarks.reports.page import LONG, page
from benchmarks.reports.run_plots import MOST, plots_of
from benchmarks.runs import Number, Run, write_run
from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig

VALUES = (np.random.default_rng(2).random(200) < 0.4).astype(float)


def run_of(name: str, values: Any, **other: Any) -> Run:
    numbers = {
        "hit_rate@10": Number.of(bootstrap_mean(values), 0.01),
        "hit_rate@1 <b>": Number.of(bootstrap_mean(VALUES)),
    }
    kept = {"hit_rate@10": PerQuery(np.asarray(values), "q")}
    command = "beholder bench retrieval t.tsv --text-column 'a & b'"
    machine = {"cores": 2, "cpu": "A CPU"}
    return Run(name, command, machine, 0, {"split": "val"}, numbers, ("A note.",), per_query=kept, **other)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    better = np.maximum(VALUES, np.arange(200) % 10 == 0)
    for name, values in (("base", VALUES), ("aligned", better)):
        write_run(tmp_path / f"{name}.json", run_of(name, values))
    return tmp_path / "aligned.json", tmp_path / "base.json"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_page_holds_every_number_and_loads_nothing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = tmp_path / "one.html", tmp_path / "two.html"
    assert invoke(*runs, "--html", first, "--title", "A & B").exit_code == 0
    assert invoke(*runs, "--html", second, "--title", "A & B").exit_code == 0
    text = first.read_text()
    assert first.read_bytes() == second.read_bytes()
    assert "<title>A &amp; B</title>" in text
    assert "hit_rate@1 &lt;b&gt;" in text
    assert "--text-column &#x27;a &amp; b&#x27;" in text
    assert text.count("Source: measured here. 2 cores of A CPU") == 2
    assert text.count("<svg ") == 2
    loaded = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert all(place.startswith(("#", "data:")) for place in loaded)
    ids = re.findall(r'<section id="([^"]*)"', text)
    assert [place[1:] for place in re.findall(r'<a href="([^"]*)"', text)] == ids


def test_a_run_that_cannot_be_believed_is_the_first_thing_said(tmp_path: Path) -> None:
    doubted = run_of("judge", VALUES, headline="Unfit: prefers whatever is above.")
    text = page([run_of("look", VALUES), doubted], [], [], "T")
    assert text.index("Unfit: prefers") < text.index('<section id="r0"')
    write_run(tmp_path / "judge.json", doubted)
    assert invoke(tmp_path / "judge.json", "--markdown", tmp_path / "r.md").exit_code == 0
    assert (tmp_path / "r.md").read_text().splitlines()[2] == "**judge: Unfit: prefers whatever is above.**"


def test_without_a_file_runs_are_shown_as_text(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = invoke(*runs)
    assert done.stdout.startswith("# Measurements\n\n## aligned\n\n| measure | value | 95 % interval |")
    assert ".svg" not in done.stdout


def test_runs_are_compared_paired_while_their_values_lie_beside_them(runs: tuple[Path, Path], tmp_path: Path) -> None:
    aligned, base = runs
    out = tmp_path / "r.md"
    assert invoke(aligned, "--compare", base, "--markdown", out, "--html", tmp_path / "r.html").exit_code == 0
    row = next(line for line in out.read_text().splitlines() if line.startswith("| hit_rate@10 ") and "points" in line)
    assert "paired by query" in row
    assert "points*" in row
    assert (tmp_path / "r-aligned-against-base.svg").is_file()
    assert "![aligned-against-base](r-aligned-against-base.svg)" in out.read_text()
    assert "aligned, against base" in (tmp_path / "r.html").read_text()
    path_beside(base).unlink()
    assert invoke(aligned, "--compare", base, "--markdown", out).exit_code == 0
    row = next(line for line in out.read_text().splitlines() if line.startswith("| hit_rate@10 ") and "points" in line)
    assert "unpaired" in row
    assert "taken as independent" in out.read_text()


def test_long_tables_are_folded_and_plots_stay_readable() -> None:
    numbers = {f"look {place}, all words: percentile": Number(0.5, low=0.4, high=0.6) for place in range(LONG + 3)}
    long = Run("long", "beholder bench look t.tsv", {}, 0, {}, numbers)
    text = page([long], [], [], "T")
    assert "<summary>3 more numbers</summary>" in text
    assert all(name in text for name in numbers)
    assert f"the first {MOST} of {LONG + 3}" in plots_of(long)[0]
    assert plots_of(replace(long, numbers={"a": Number(0.5)})) == []


def test_what_a_paper_says_is_marked() -> None:
    numbers = {"ours": Number(0.6), "theirs": Number(0.7, source="quoted from Wang et al. 2024, table 3")}
    text = page([Run("hpir", "", {}, 0, {}, numbers)], [], [], "T")
    assert '<td class="words">quoted from Wang et al. 2024, table 3</td>' in text
    assert '<td class="words">measured here</td>' in text


def test_rows_of_pictures_by_every_setting(tiny_index: Path, tmp_path: Path) -> None:
    config = GalleryConfig(tiny_index, ("a red picture", "noise"), ("{}", '{"near": 0.5}'), count=3)
    rows = gallery_rows(config)
    assert [(row.query, row.system) for row in rows] == [
        ("a red picture", "plain search"),
        ("a red picture", "near 0.5"),
        ("noise", "plain search"),
        ("noise", "near 0.5"),
    ]
    assert len(rows[0].pictures) == 3
    assert all(one.thumbnail is not None for one in rows[0].pictures)
    text = page([], [], rows, "T")
    assert text.count("data:image/jpeg") == sum(len(row.pictures) for row in rows)
    with pytest.raises(BeholderError, match="two rows are 'plain search'"):
        gallery_rows(replace(config, searches=("{}", "{}")))


def test_settings_in_words() -> None:
    assert system_words("", SearchConfig(k=6)) == "plain search"
    search = SearchConfig.from_dict({"beauty": 1, "rerank": ["rank-mix@beholder-appeal"]})
    assert system_words("made/aligned", search) == "aligned: beauty 1, rerank rank-mix@beholder-appeal"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--html", "x.html"], "no run to show"),
        (["RUN", "--check"], "--check with runs"),
        (["RUN", "--html", "x.html", "--query", "a dog"], "without --gallery"),
        (["RUN", "--html", "x.html", "--gallery", "i"], "without a query"),
        (["RUN", "RUN", "RUN", "--html", "x.html", "--compare", "RUN", "--compare", "RUN"], "2 runs to compare 3 with"),
        (["gone.json", "--html", "x.html"], "there is no run gone.json"),
    ],
)
def test_mistakes_are_one_line(runs: tuple[Path, Path], arguments: list[str], words: str) -> None:
    done = invoke(*(runs[0] if word == "RUN" else word for word in arguments))
    assert isinstance(done.exception, BeholderError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
