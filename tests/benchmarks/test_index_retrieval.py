"""Protects `bench index`: the same queries on both sides, tuning on others, and an exit that follows the numbers."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.quality.index_retrieval import IndexRetrievalConfig, check, measure
from benchmarks.runs import Number, read_run
from indexes.errors import BeholderError, ConditionFailed


def test_bench_index_compares_kinds_with_exact_search(tiny_index: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    words = ["index", str(tiny_index.parent / "embeddings"), str(corpus / "captions.tsv")]
    words += ["--splits", str(corpus / "splits.tsv"), "--factory", "IVF3,SQ8", "--within", "0.9", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    assert run.data["candidates"] == 12
    assert run.numbers["hit_rate@10, exact search"].n == 18, "two captions for each of nine val pictures"
    assert run.numbers["hit_rate@10, planned (Flat), less exact"].value == 0
    assert run.numbers["knn_recall@10, planned (Flat)"].value == 1
    assert run.numbers["knn_recall@10, IVF3,SQ8"].value > 0.8
    assert "on 6 other captions" in run.notes[0]


def test_without_other_captions_nothing_is_tuned(tiny_index: Path, corpus: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.tsv"
    table.write_text("image\tcaption\tsplit\n00.png\tred\tval\n01.png\tgreen\tval\n")
    with pytest.raises(BeholderError, match="others to tune with"):
        measure(IndexRetrievalConfig(tiny_index.parent / "embeddings", table))


def test_a_loss_beyond_the_limit_is_a_failed_condition(tiny_index: Path, corpus: Path) -> None:
    config = IndexRetrievalConfig(
        tiny_index.parent / "embeddings", corpus / "captions.tsv", splits=corpus / "splits.tsv", factory=("SQ8",)
    )
    run = measure(config)
    check(run, 0.01)
    run.numbers["hit_rate@10, SQ8, less exact"] = Number(-0.02)
    with pytest.raises(ConditionFailed, match=r"hit_rate@10, SQ8 lost 0\.0200; expected at most 0\.01"):
        check(run, 0.01)
    check(run, 0.02)
