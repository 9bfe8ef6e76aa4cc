"""What may be wrong with the preferences of a run: one line that says what, or a list left out and counted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from align_tiny import make_run
from typer.testing import CliRunner

from indexes.errors import BeholderError
from retrieval.__main__ import app
from rl.alignment.align import align
from rl.alignment.config import AlignConfig
from rl.preferences import PreferenceList, read_preferences, write_preferences


@pytest.fixture
def tiny_run(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> AlignConfig:
    return make_run(tmp_path, tiny_model, tiny_captions, dev_share=0.0, steps=3)


def rewritten(config: AlignConfig, change: Any) -> AlignConfig:
    """The run with its table's first row changed, as another program might have written it: unchecked."""
    path = Path(config.preferences)
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[0])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path.with_name("changed.parquet"))
    return replace(config, preferences=str(path.with_name("changed.parquet")))


def circle(row: dict[str, Any]) -> None:
    row["better"], row["worse"] = [0, 1, 2], [1, 2, 0]


def hole(row: dict[str, Any]) -> None:
    row["levels"] = [float("nan"), *row["levels"][1:]]


def strange_place(row: dict[str, Any]) -> None:
    row["better"], row["worse"] = [0], [99]


def twice(row: dict[str, Any]) -> None:
    row["pictures"] = [row["pictures"][0], *row["pictures"][:-1]]


def wordless(row: dict[str, Any]) -> None:
    row["query"] = " "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (circle, "list 1: .* prefers 3 pictures to each other in a circle"),
        (hole, "list 1: .* has levels that are not numbers"),
        (strange_place, "list 1: .* names place 99; expected 0 to 4"),
        (twice, "list 1: .* names a picture twice"),
        (wordless, "list 1: a list without a query"),
    ],
)
def test_a_table_that_cannot_be_meant_names_the_list(
    tmp_path: Path, tiny_run: AlignConfig, change: Any, message: str
) -> None:
    with pytest.raises(BeholderError, match=message) as caught:
        align(rewritten(tiny_run, change), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_queries_without_pairs_and_pictures_of_another_index_are_left_out_and_counted(
    tmp_path: Path, tiny_run: AlignConfig
) -> None:
    """The rest is learnt as if they were not there."""
    lists = list(read_preferences(Path(tiny_run.preferences)).lists)
    silent = PreferenceList("silence", lists[0].pictures)
    strange = PreferenceList("elsewhere", ("f" * 64, *lists[0].pictures[1:]), lists[0].better, lists[0].worse)
    write_preferences(tmp_path / "mixed.parquet", [*lists, silent, strange], {})
    said: list[str] = []
    mixed = replace(tiny_run, preferences=str(tmp_path / "mixed.parquet"))
    report = align(mixed, tmp_path / "mixed", say=said.append)
    assert "12 lists to learn from" in said[0]
    assert "1 left out: no pairs" in said[0]
    assert "1 left out: pictures that no folder holds" in said[0]
    assert report.tuned == align(tiny_run, tmp_path / "plain").tuned
    write_preferences(tmp_path / "none.parquet", [silent, strange], {})
    with pytest.raises(BeholderError, match="none of 2 lists can be learnt from; 1 left out: no pairs"):
        align(replace(tiny_run, preferences=str(tmp_path / "none.parquet")), tmp_path / "none")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none.parquet", "--run", "r", "--pictures", "pictures.emb"], "none.parquet is not there"),
        (["lists.parquet", "--run", "r", "--pictures", "none"], "none"),
        (["lists.parquet", "--run", "r"], "no folder that holds the pictures"),
        (["lists.parquet", "--pictures", "p"], "no folder for the run"),
        (["lists.parquet", "--run", "r", "--pictures", "p", "--loss", "best"], "loss 'best' is none of"),
        (["lists.parquet", "--run", "r", "--pictures", "p", "--seeds", "0,0"], "names one twice"),
        (["lists.parquet", "--run", "r", "--pictures", "p", "--augment", "flip-crop"], "no image tower"),
    ],
)
def test_mistakes_of_the_command_are_one_line(
    tmp_path: Path, tiny_run: AlignConfig, given: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEHOLDER_DATA", str(tmp_path))
    base = ["--base", tiny_run.base, "--captions", tiny_run.captions[0], "--dev-source", tiny_run.dev_source]
    with pytest.raises(BeholderError, match=message) as caught:
        CliRunner().invoke(app, ["align", "train", *given, *base], catch_exceptions=False)
    assert "\n" not in str(caught.value)
