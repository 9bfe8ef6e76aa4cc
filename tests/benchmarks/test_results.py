"""Protects `bench results`: what is done is not done again, other weights are measured again, failures name their log,
and the document shows the runs that there are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.report import find_blocks
from benchmarks.reports import results as results_module
from benchmarks.reports.results import ResultsConfig, results
from benchmarks.reports.results_document import TITLES, document, summary
from benchmarks.reports.results_steps import Places, steps
from benchmarks.runs import Number, Run, read_run, write_run
from indexes.errors import BeholderError, ConditionFailed
from retrieval.__main__ import app as beholder

NAMES = {
    "captions": ["hit_rate@10", "base: hit_rate@10", "change of hit_rate@10"],
    "objects": ["mAP", "change of mAP"],
    "styles": ["mAP", "change of mAP"],
    "zero-shot": ["zero-shot top-1"],
    "hpir-web": ["mini", "mini, beauty 1", "mini, rank-mix:0.5@beholder-appeal", "beholder-appeal", "tuned"],
    "look": ["base, all words: percentile", "tuned, all words: percentile"],
    "beauty": ["sum, b = 0: hit_rate@10", "sum, b = 1: hit_rate@10", "rank-mix, share 0.5: hit_rate@10"],
}


class Steps:
    """Stands for the processes: makes what each step would, and keeps its words."""

    def __init__(self, fail: str = "") -> None:
        self.asked: list[list[str]] = []
        self.fail = fail

    def __call__(self, words: Sequence[str], log: Path) -> int:
        self.asked.append(list(words))
        log.write_text("working\nno space left\n")
        if "--out" not in words:
            Path(words[2 if words[0] == "embed" else 3]).mkdir(parents=True)
            return 0
        made = Path(words[-1])
        step = made.stem.removeprefix("results-")
        if step == self.fail:
            return 2
        known = next((NAMES[name] for name in NAMES if step.startswith(name)), ["x"])
        headline = "Not to be believed." if step == "judge" else ""
        run = Run(made.stem, " ".join(words), {}, 0, {}, {name: Number(0.5) for name in known}, headline=headline)
        write_run(made, run)
        return 1 if step == "judge" else 0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultsConfig:
    for name in ("flickr8k/captions.tsv", "photoart/items.tsv", "peopleart/items.tsv", "imagenet1000/items.tsv",
                 "website/items.tsv", "savoias/items.tsv"):  # fmt: skip
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("")
    (tmp_path / "data/flickr8k/images").mkdir()
    (tmp_path / "data/flickr8k/images/a.jpg").write_text("")
    (tmp_path / "data/flickr8k/splits.tsv").write_text("image\tsplit\na.jpg\tval\nb.jpg\ttrain\n")
    (tmp_path / "queries.tsv").write_text("a dog\n")
    monkeypatch.setattr(results_module, "_digest_of_model", lambda name: f"weights of {name}")
    return ResultsConfig(
        data=tmp_path / "data",
        texts=tmp_path / "queries.tsv",
        knowledge=tmp_path,
        work=tmp_path / "work",
        out=tmp_path / "docs" / "results",
        document=tmp_path / "docs" / "results.md",
        model="mini",
        aligned=("made/tuned",),
    )


def test_all_steps_once_then_none(config: ResultsConfig) -> None:
    first, again = Steps(), Steps()
    lines = results(config, run_step=first)
    assert len(first.asked) == sum("left out" not in line for line in lines)
    assert any("website_pairs/pairs.tsv" in line for line in lines if "left out" in line)
    before = config.document.read_bytes() if config.document else b""
    assert all("done before" in line or "left out" in line for line in results(config, run_step=again))
    assert again.asked == []
    assert config.document is not None
    assert config.document.read_bytes() == before
    assert [path.name for path in (config.work / "flickr8k-val").iterdir()] == ["a.jpg"]


def test_only_the_steps_of_other_weights_are_done_again(config: ResultsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    results(config, run_step=Steps())
    monkeypatch.setattr(results_module, "_digest_of_model", lambda name: f"weights of {name}{'!' * ('tuned' in name)}")
    tuned = Steps()
    results(config, run_step=tuned)
    assert tuned.asked
    assert all("made/tuned" in words for words in tuned.asked)
    monkeypatch.setattr(results_module, "_digest_of_model", lambda name: f"others of {name}")
    every = Steps()
    results(config, run_step=every)
    assert every.asked[0][0] == "embed"  # what the old base made was removed: the step made it anew


def test_a_step_whose_result_was_removed_is_done_again(config: ResultsConfig) -> None:
    results(config, run_step=Steps())
    (config.out / "results-look.json").unlink()
    again = Steps()
    results(config, run_step=again)
    assert [words[1] for words in again.asked] == ["look"]
    again = Steps()
    results(replace(config, only=("objects",), fresh=True), run_step=again)
    assert len(again.asked) == 1


def test_a_step_that_fails_ends_the_run_names_its_log_and_comes_first_the_next_time(config: ResultsConfig) -> None:
    with pytest.raises(ConditionFailed, match=r"look ended with 2 \(no space left\).*look\.log"):
        results(config, run_step=Steps(fail="look"))
    again = Steps()
    results(config, run_step=again)
    assert again.asked[0][1] == "look"


def test_an_unfit_judge_is_a_result_and_is_said_first(config: ResultsConfig) -> None:
    results(config, run_step=Steps())
    assert config.document is not None
    text = config.document.read_text()
    assert text.index("**judge: Not to be believed.**") < text.index("## Summary")


def test_the_document_shows_every_run_and_the_summary_all_systems(config: ResultsConfig) -> None:
    results(config, run_step=Steps())
    assert config.document is not None
    text = config.document.read_text()
    shown = {name for block in find_blocks(text) for name in block.names}
    assert shown == {path.stem for path in config.out.glob("*.json")}
    numbers = read_run(config.out / "results-summary.json").numbers
    assert {name.rpartition(": ")[0] for name in numbers} == {
        "base", "sum, b = 1", "rank-mix", "beholder-appeal alone", "tuned",
    }  # fmt: skip
    assert "tuned: objects, mAP" in numbers
    seconds = json.loads((config.out / "results-times.json").read_bytes())["numbers"]
    assert "all steps" in seconds


def test_the_committed_summary_is_what_its_runs_say() -> None:
    folder = Path(__file__).parents[2] / "docs" / "results"
    if not (folder / "results-summary.json").is_file():
        pytest.skip("docs/results.md has not been measured yet: make results")
    said = read_run(folder / "results-summary.json")
    runs = {name: read_run(folder / f"results-{name}.json") for name in said.data["runs"]}
    assert summary(runs, said.data["base"], said.data["aligned"]).numbers == said.numbers


def test_every_run_has_a_title_and_needs_only_what_it_reads(tmp_path: Path) -> None:
    places = Places(Path("data"), Path("work"), Path("q.txt"), tmp_path)
    for step in steps(places, "mini", ()):
        assert step.folder or step.name in TITLES
        read = [word for word in step.words if word.startswith("data/")]
        assert all(any(word.startswith(f"data/{need.partition('/')[0]}/") for need in step.needs) for word in read)
    assert summary({}, "mini", ()).numbers == {}
    assert "## Summary" in document({}, "results-")


def test_every_step_is_a_command_that_there_is(tmp_path: Path) -> None:
    """Parsed and not run: an option that was renamed would otherwise show after a quarter of an hour."""
    door: Any = typer.main.get_command(beholder)
    places = Places(tmp_path, tmp_path, tmp_path / "q.txt", tmp_path)
    for step in steps(places, "mini", ("made/tuned",)):
        words = [*step.words, *([] if step.folder else ["--out", "run.json"])]
        command, context = door, typer.Context(door, info_name="beholder")
        while hasattr(command, "get_command"):
            command, words = command.get_command(context, words[0]), words[1:]
        assert command.make_context(step.name, list(words)).command is command, step.name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere"], "the data folder is nowhere"),
        (["--data", ".", "--texts", "none.txt"], "there is no none.txt"),
        (["--data", ".", "--only", "dancing"], "no step is called dancing"),
        (["--data", ".", "--aligned", "a/beholder-mini"], "two encoders are called beholder-mini"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["results", *arguments])
    assert isinstance(done.exception, BeholderError)
    assert words in str(done.exception)
