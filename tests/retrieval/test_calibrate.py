"""Calibration of an index: from its own captions or the generic queries, kept in the manifest, said where it cannot be
done; and the beauty of a search through the Searcher."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, Calibration
from indexes.records.scores import ScoreColumn, write_scores
from indexes.records.segments import IndexManifest
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.search.calibrate import NULL_QUERIES, calibrate, calibrate_folder, calibrate_if_possible
from retrieval.search.config import SearchConfig
from retrieval.search.gibberish import gibberish
from retrieval.search.searcher import Searcher
from tests.conftest import write_pictures

Run = Callable[..., CompletedProcess[str]]
PICTURES = 120


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


@pytest.fixture(scope="module")
def made(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with EMBEDDINGS of captioned pictures, `emb`."""
    folder = tmp_path_factory.mktemp("calibrate")
    names = write_pictures(folder / "pictures", PICTURES)
    lines = [f"{name}\ta caption of number {place}" for place, name in enumerate(names)]
    (folder / "captions.tsv").write_text("\n".join(["file\tcaption", *lines]))
    config = EmbedConfig(workers=1, captions=str(folder / "captions.tsv"))
    embed(folder / "pictures", folder / "emb", config, encoder=encoder)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    build_index(made / "emb", tmp_path / "index")
    return tmp_path / "index"


def best_ten(index: Path, encoder: Encoder, texts: list[str]) -> np.ndarray:
    """The slow way: all cosines, sorted."""
    vectors = np.concatenate([rows for _, rows in load_index(index).blocks()]).astype(np.float32)
    return np.sort(encoder.encode_texts(texts) @ vectors.T)[:, -DEPTH:].mean(1)


def test_the_manifest_keeps_what_the_indexs_own_captions_and_gibberish_reach(index: Path, encoder: Encoder) -> None:
    kept = Calibration.from_dict(calibrate_folder(index, encoder).calibration or {})
    assert Calibration.from_dict(IndexManifest.read(index).calibration or {}) == kept
    captions = [f"a caption of number {place}" for place in range(PICTURES)]
    real = best_ten(index, encoder, captions)
    assert (kept.real.kind, kept.real.queries, kept.pictures) == ("captions", PICTURES, PICTURES)
    assert kept.real.quantiles[3] == pytest.approx(float(np.median(real)), abs=1e-4)
    assert kept.real.refused == pytest.approx(float((real < kept.threshold).mean()), abs=0.02)
    assert kept.real.refused <= 0.06
    assert calibrate_folder(index, encoder).calibration == kept.to_dict()
    assert len(load_index(index)) == PICTURES  # the folder is whole


def test_without_captions_the_generic_queries_stand_in(index: Path, encoder: Encoder) -> None:
    opened = load_index(index)
    assert calibrate(opened, encoder, captions=[]).real.kind == "generic"
    assert calibrate(opened, encoder, captions=["words"] * 100).real.kind == "captions"


def test_what_cannot_be_calibrated_is_said_and_stays(index: Path, encoder: Encoder, tmp_path: Path) -> None:
    manifest = IndexManifest.read(index)
    same, said = calibrate_if_possible(index, manifest, "no-such-encoder")
    assert same == manifest
    assert "no encoder 'no-such-encoder'" in said
    kept = calibrate_folder(index, encoder)  # hardly grown since: no encoder is asked for
    assert calibrate_if_possible(index, replace(kept, count=130), "no-such-encoder")[0].calibration == kept.calibration
    assert "no-such-encoder" in calibrate_if_possible(index, replace(kept, count=140), "no-such-encoder")[1]
    _, said = calibrate_if_possible(index, replace(manifest, count=7), "no-such-encoder")
    assert said == "none: 7 pictures, and it takes 100"
    write_pictures(tmp_path / "few", 7)
    embed(tmp_path / "few", tmp_path / "few.emb", EmbedConfig(workers=1), encoder=encoder)
    build_index(tmp_path / "few.emb", tmp_path / "few.index")
    with pytest.raises(BeholderError, match="7 pictures"):
        calibrate_folder(tmp_path / "few.index", encoder)


def test_gibberish_is_the_same_for_a_seed_and_of_every_sort() -> None:
    texts = gibberish(NULL_QUERIES, 3)
    assert texts == gibberish(NULL_QUERIES, 3)
    assert texts[:5] != gibberish(5, 4)
    assert len(set(texts)) > 0.98 * NULL_QUERIES
    joined = "".join(texts)
    assert any(character.isdigit() for character in joined)
    assert any(not character.isalnum() and character != " " for character in joined)


def test_the_command_line_calibrates_at_build_and_answers_no_good_match(
    made: Path, tiny_model: Path, tmp_path: Path, beholder: Run
) -> None:
    index = tmp_path / "index"
    built = beholder("index", "build", made / "emb", index, "--model", tiny_model).stdout
    assert "500 meaningless queries" in built
    assert "cut-off" in beholder("index", "info", index).stdout
    threshold = Calibration.from_dict(IndexManifest.read(index).calibration or {}).threshold
    encoder = load_encoder(str(tiny_model))
    texts = gibberish(200, 9)
    reached = best_ten(index, encoder, texts)
    refused, answered = texts[int(np.argmin(reached))], texts[int(np.argmax(reached))]
    assert reached.min() < threshold < reached.max()
    asked = ("--min-relevance", "auto", "--model", tiny_model, "-k", 3)
    none = beholder("search", index, "--text", f"{refused}:1", *asked, "--explain")
    assert none.stdout == "no good match\n"
    assert "no good match" in none.stderr
    assert len(beholder("search", index, "--text", f"{answered}:1", *asked).stdout.splitlines()) == 3


def test_beauty_through_a_searcher_orders_by_the_sum_and_shows_relevance(
    made: Path, encoder: Encoder, tmp_path: Path
) -> None:
    items = load_index_items(made, tmp_path)
    values = np.random.default_rng(0).normal(size=PICTURES).astype(np.float32)
    card = {"kind": "vectors", "higher_is_better": True}
    write_scores(made / "emb" / "scores" / "liking.parquet", ScoreColumn("liking", "f" * 64, card, items, values))
    build_index(
        made / "emb",
        tmp_path / "index",
        IndexConfig(scorers=("liking",)),
        text_vectors=encoder.encode_texts([f"generic {place}" for place in range(50)]),
    )
    searcher = Searcher(load_index(tmp_path / "index"), encoder)
    plain = searcher.search(["a red square"], SearchConfig(k=PICTURES))[0].results
    relevance = {hit.id: hit.relevance for hit in plain}
    ranks = {items[place]: rank for rank, place in enumerate(np.argsort(values))}
    for hit in plain:
        assert hit.scores["liking"] == pytest.approx((ranks[hit.sha256] + 0.5) / PICTURES, abs=0.01)
    leant = searcher.search(["a red square"], SearchConfig(k=PICTURES, beauty=(("liking", 3.0),)))[0].results
    assert [hit.id for hit in leant] != [hit.id for hit in plain]
    assert all(hit.relevance == pytest.approx(relevance[hit.id], abs=1e-6) for hit in leant)
    top, rest = ([hit.scores["liking"] for hit in part] for part in (leant[:10], leant[-10:]))
    assert np.mean(top) > 0.6 > 0.4 > np.mean(rest)
    away = searcher.search(["a red square"], SearchConfig(k=10, beauty=(("liking", -3.0),), near=0.999))[0].results
    assert np.mean([hit.scores["liking"] for hit in away]) < 0.4
    by_score = searcher.search(["a red square"], SearchConfig(k=10, sort="liking:desc"))[0].results
    shares = [hit.scores["liking"] for hit in by_score]
    assert shares == sorted(shares, reverse=True)
    mixed = searcher.search(["a red square"], SearchConfig(k=5, rerank=("rank-mix:1@liking",), candidates=40))[
        0
    ].results
    best = sorted(plain[:40], key=lambda hit: -hit.scores["liking"])[:5]
    assert [hit.id for hit in mixed] == [hit.id for hit in best]
    with pytest.raises(BeholderError, match="default scorer"):
        searcher.search(["a red square"], SearchConfig(beauty=(("", 1.0),)))


def load_index_items(made: Path, tmp_path: Path) -> list[str]:
    """sha256 of the pictures, in order of id."""
    build_index(made / "emb", tmp_path / "plain")
    digests: list[str] = load_index(tmp_path / "plain").items_table().column("sha256").to_pylist()
    return digests
