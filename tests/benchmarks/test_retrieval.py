"""Protects `bench retrieval` from the command line to the record: what is counted, and the likeliest
mistakes.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.measures import metrics
from benchmarks.quality.captions import RetrievalConfig, measure, read_judgements
from benchmarks.quality.rankings import query_vectors
from benchmarks.runs import read_run
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.shards import Embeddings
from retrieval.encoding.encoders import load_encoder


def bench(*words: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.exception


def test_captions_exactly_write_a_run(tiny_model: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "tiny-captions.json"
    table, splits = corpus / "captions.tsv", corpus / "splits.tsv"
    words = [
        "--text-column",
        "caption",
        "--splits",
        splits,
        "--split",
        "val",
        "--pictures",
        corpus / "images",
    ]
    code, printed, _ = bench("retrieval", table, *words, "--model", tiny_model, "--out", out)
    assert code == 0
    assert "| hit_rate@10 |" in printed
    run = read_run(out)
    assert run.name == "tiny-captions"
    assert run.data["queries"] == 18
    assert run.data["candidates"] == run.data["pictures"] == 9
    assert run.numbers["hit_rate@10"].value == 1.0  # nine candidates: the right one is always in the top ten
    assert run.numbers["hit_rate@5"].chance == pytest.approx(5 / 9)
    assert run.numbers["hit_rate@1"].n == 18
    assert str(tmp_path) not in out.read_text()  # no path of the machine
    assert str(corpus.parent) not in out.read_text()


def test_labels_equal_the_metrics_of_stored_vectors(tiny_model: Path, corpus: Path, tiny_index: Path) -> None:
    config = RetrievalConfig(
        corpus / "items.tsv",
        pictures=corpus / "images",
        label_column=("colour", "colour,kind"),
        template=("a {colour} picture", "{}"),
        model=str(tiny_model),
        embeddings=tiny_index.parent / "embeddings",
    )
    run = measure(config)
    assert list(run.numbers) == [
        "mAP (colour)",
        "R-precision (colour)",
        "nDCG@10 (colour)",
        "mAP (colour,kind)",
        "R-precision (colour,kind)",
        "nDCG@10 (colour,kind)",
    ]
    judged = read_judgements(config).only("colour")
    texts = query_vectors(load_encoder(str(tiny_model)), judged.queries)
    embeddings = Embeddings(tiny_index.parent / "embeddings")
    vectors = np.concatenate([block for _, block in embeddings.blocks()]).astype(np.float32)
    hits = metrics.ranked_hits(texts @ vectors.T, judged.relevance())  # uris sort as the table does
    expected = metrics.average_precision(hits, judged.relevant_counts()).mean()
    assert run.numbers["mAP (colour)"].value == pytest.approx(expected)
    assert run.numbers["mAP (colour)"].n == 3
    assert run.numbers["R-precision (colour)"].chance == pytest.approx(4 / 12)


def test_through_the_index_equals_exact_over_the_same_pictures(
    tiny_model: Path, corpus: Path, tiny_index: Path
) -> None:
    words = ["retrieval", corpus / "captions.tsv", "--text-column", "caption", "--json"]
    exact = bench(*words, "--model", tiny_model, "--embeddings", tiny_index.parent / "embeddings")
    index = bench(*words, "--index", tiny_index)
    by_cli = bench(*words, "--index", tiny_index, "--cli")
    runs = [json.loads(printed) for _, printed, _ in (exact, index, by_cli)]
    whole = {key: value for key, value in runs[0]["numbers"].items() if key in runs[1]["numbers"]}
    assert whole == runs[1]["numbers"] == runs[2]["numbers"]
    assert set(whole) == {"hit_rate@1", "hit_rate@5", "hit_rate@10", "nDCG@10"}, "an index answers the first ten"
    assert "by the index and the CLI" in runs[2]["notes"][0]


def test_zero_shot_counts_pictures(tiny_model: Path, corpus: Path) -> None:
    words = ["retrieval", corpus / "items.tsv", "--label-column", "colour", "--zero-shot", "--split", "val"]
    code, printed, _ = bench(*words, "--model", tiny_model, "--json")
    assert code == 0
    number = json.loads(printed)["numbers"]["zero-shot top-1"]
    assert number["n"] == 9
    assert number["chance"] == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def other_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with another text tower: its last projection the other way up."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "other"
    folder.mkdir()
    state = load_file(str(tiny_model / "open_clip_model.safetensors"))
    state["text_projection"] = -state["text_projection"].contiguous()
    save_file(state, str(folder / "open_clip_model.safetensors"))
    (folder / "open_clip_config.json").write_bytes((tiny_model / "open_clip_config.json").read_bytes())
    return folder


def test_an_encoder_keeps_all_of_itself_and_loses_what_is_measured(
    tiny_model: Path, other_model: Path, corpus: Path, tiny_index: Path
) -> None:
    words = ["retrieval", corpus / "captions.tsv", "--text-column", "caption", "--json"]
    words += ["--embeddings", tiny_index.parent / "embeddings"]
    code, printed, _ = bench(*words, "--model", tiny_model, "--compare", tiny_model, "--max-retention-loss", 0)
    numbers = json.loads(printed)["numbers"]
    assert code == 0
    assert {numbers[name]["value"] for name in numbers if name.startswith("change of")} == {0}
    assert "image to text: median rank" in numbers
    _, printed, _ = bench(*words, "--model", other_model)
    other = json.loads(printed)["numbers"]
    code, printed, _ = bench(*words, "--model", other_model, "--compare", tiny_model)
    both = json.loads(printed)["numbers"]
    assert code == 0
    for name, number in other.items():
        assert both[name] == number
        assert both[f"base: {name}"] == numbers[name]
        change = number["value"] - numbers[name]["value"]
        assert both[f"change of {name}"]["value"] == pytest.approx(change)
    lost = -100 * both["change of hit_rate@10"]["value"]
    code, _, error = bench(*words, "--model", other_model, "--compare", tiny_model, "--max-retention-loss", lost - 0.1)
    assert code == 1
    assert isinstance(error, ConditionFailed)
    assert f"hit_rate@10 lost {lost:.2f} points" in str(error)
    code, *_ = bench(*words, "--model", other_model, "--compare", tiny_model, "--max-retention-loss", lost + 0.1)
    assert code == 0


def test_labels_and_zero_shot_have_a_budget_too(tiny_model: Path, other_model: Path, corpus: Path) -> None:
    words = ["retrieval", corpus / "items.tsv", "--label-column", "colour", "--json", "--compare", tiny_model]
    for more, gate in (([], "mAP"), (["--zero-shot"], "zero-shot top-1")):
        _, printed, _ = bench(*words, *more, "--model", other_model)
        lost = -100 * json.loads(printed)["numbers"][f"change of {gate}"]["value"]
        code, _, error = bench(*words, *more, "--model", other_model, "--max-retention-loss", lost - 0.1)
        assert code == 1
        assert f"{gate} lost" in str(error)


def test_embeddings_are_made_once_and_then_read(tiny_model: Path, corpus: Path, tmp_path: Path) -> None:
    kept = tmp_path / "embeddings"
    config = RetrievalConfig(
        corpus / "captions.tsv",
        pictures=corpus / "images",
        text_column="caption",
        model=str(tiny_model),
        embeddings=kept,
    )
    first = measure(config)
    written = (kept / "manifest.json").stat().st_mtime_ns
    assert measure(config).numbers == first.numbers
    assert (kept / "manifest.json").stat().st_mtime_ns == written


def test_missing_pictures_are_counted_and_named(tiny_model: Path, corpus: Path) -> None:
    code, _, error = bench("retrieval", corpus / "captions.tsv", "--text-column", "caption", "--model", tiny_model)
    assert code == 1
    assert isinstance(error, BeholderError)
    assert "12 of 12 pictures are not under" in str(error)
    assert "--pictures" in str(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--text-column or --label-column"),
        ({"text_column": "caption", "cli": True}, "--cli needs --index"),
        ({"text_column": "caption", "zero_shot": True}, "--zero-shot needs"),
        ({"text_column": "caption", "template": ("{}",)}, "--template is for labels"),
        ({"text_column": "caption", "limit": 0}, "--limit is 0"),
        ({"text_column": "caption", "max_retention_loss": 1.0}, "needs --compare BASE"),
        ({"text_column": "caption", "compare": "x", "max_retention_loss": float("nan")}, "not a number of points"),
        ({"text_column": "caption", "compare": "x", "cli": True, "index": Path("i")}, "--compare is not for --cli"),
    ],
)
def test_wrong_options_are_all_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(BeholderError, match=words):
        RetrievalConfig(Path("t.tsv"), **options)


@pytest.mark.parametrize("verb", [["retrieval"], ["speed", "embed"], ["speed", "search"], ["report"]])
def test_help_has_an_example(verb: list[str]) -> None:
    code, printed, _ = bench(*verb, "--help")
    assert code == 0
    assert "Example: beholder bench" in printed
