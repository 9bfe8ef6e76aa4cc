"""`bench rewriting`: a rewriter that changes nothing changes no number, one that spoils queries is seen to."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.rewriting import RewritingConfig, measure
from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.rewriting.rewriter import Rewrite
from retrieval.rewriting.table import write_rewrites
from tests.conftest import write_pictures

CAPTIONS = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("car", "house", "bird", "lake")]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    names = write_pictures(tmp_path, 12)
    rows = [
        f"{name}\t{caption}\t{'dev' if place < 6 else 'val'}"
        for place, (name, caption) in enumerate(zip(names, CAPTIONS, strict=True))
        for caption in (caption, f"a photo of a {caption}")
    ]
    (tmp_path / "captions.tsv").write_text("\n".join(["image\tcaption\tsplit", *rows]) + "\n")
    return tmp_path / "captions.tsv"


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


def recorded(path: Path, made: dict[str, str]) -> str:
    write_rewrites(path, [Rewrite(query, text, "r") for query, text in made.items()], {})
    return f"file:{path}"


def test_changes_are_those_of_the_rewrites(table: Path, tmp_path: Path, encoder: Encoder) -> None:
    texts = [text for caption in CAPTIONS for text in (caption, f"a photo of a {caption}")]
    same = recorded(tmp_path / "same.tsv", {text: text for text in texts})
    one = recorded(tmp_path / "one.tsv", dict.fromkeys(texts, "a boat"))
    run = measure(RewritingConfig(table, rewrite=(same, one, "template")), encoder=encoder)
    before = run.numbers["hit_rate@1, as typed"]
    assert before.n == 12
    for k in (1, 10):
        assert run.numbers[f"hit_rate@{k}, file:same.tsv: change"].value == 0
    # One text for all: its best picture is right for the two captions of that picture, whichever it is.
    change = run.numbers["hit_rate@1, file:one.tsv: change"].value
    assert before.value + change == pytest.approx(2 / 12)
    assert run.numbers["file:one.tsv: kept their own words"].value == 0
    assert run.numbers["hit_rate@1, template-1: change"].n == 12
    assert run.data["pictures"] == 6
    assert run.command.startswith("beholder bench rewriting captions.tsv --rewrite")


def test_queries_that_a_rewriter_does_not_know_are_counted(table: Path, tmp_path: Path, encoder: Encoder) -> None:
    few = recorded(tmp_path / "few.tsv", {"blue car": "a blue car at dusk"})
    run = measure(RewritingConfig(table, rewrite=(few,)), encoder=encoder)
    assert run.numbers["file:few.tsv: kept their own words"].value == pytest.approx(11 / 12)


def test_the_floor_is_looked_at_on_the_other_split(table: Path, encoder: Encoder) -> None:
    run = measure(RewritingConfig(table, rewrite=("suffix",)), encoder=encoder)
    floor = run.numbers["topic floor"].value
    pairs = encoder.encode_texts(CAPTIONS[:6]), encoder.encode_texts([f"a photo of a {one}" for one in CAPTIONS[:6]])
    same = ((pairs[0] * pairs[1]).sum(1) >= floor).mean()
    unlike = ((pairs[0] * np.roll(pairs[0], 1, axis=0)).sum(1) >= floor).mean()
    assert run.numbers["two captions of one picture at or above the floor"].value == pytest.approx(same)
    assert run.numbers["captions of two pictures at or above the floor"].value == pytest.approx(unlike)


def test_mistakes_are_said(table: Path, encoder: Encoder) -> None:
    with pytest.raises(BeholderError, match="no --rewrite"):
        RewritingConfig(table, rewrite=())
    with pytest.raises(BeholderError, match="without --embeddings"):
        measure(RewritingConfig(table, scorer=("saturation",)), encoder=encoder)


def test_percentiles_are_of_the_scores_in_embeddings(
    table: Path, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexes import Embeddings
    from indexes.records.scores import ScoreColumn, scores_path, write_scores

    config = RewritingConfig(table, rewrite=("suffix",), embeddings=tmp_path / "e.emb", scorer=("light",))
    with pytest.raises(BeholderError, match=r"lacks scores of light.*beholder score"):
        measure(config, encoder=encoder)
    sha256s = Embeddings(config.embeddings or tmp_path).items().column("sha256").to_pylist()
    values = np.arange(len(sha256s), dtype=np.float32)
    write_scores(scores_path(tmp_path / "e.emb", "light"), ScoreColumn("light", "f", {}, sha256s, values))
    run = measure(config, encoder=encoder)
    # Six pictures in the split, so the top 10 is all of them: the mean percentile is one half, whatever is asked.
    assert run.numbers["percentile of light in the top 10, as typed"].value == pytest.approx(0.5)
    monkeypatch.setattr("benchmarks.quality.rewriting.TOP", 1)
    run = measure(config, encoder=encoder)
    assert 1 / 12 <= run.numbers["percentile of light in the top 1, as typed"].value <= 11 / 12
