"""Scores in bulk: every picture once, whatever was there before, whoever reads, and whatever interrupts."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexes import Embeddings, IndexConfig, build_index, load_index
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.scores import read_scores, scores_path, write_scores
from indexes.records.segments import verify_index
from indexes.records.shards import write_shard
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.scoring import score_run
from retrieval.scoring.card import of_pixels
from retrieval.scoring.own_heads import HeadRecord, save_head
from retrieval.scoring.scorers import load_scorer
from retrieval.scoring.scoring import ScoreConfig, check_model, score_embeddings, score_folder, score_index
from retrieval.sources.images import decode
from tests.conftest import write_pictures

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


@pytest.fixture
def embedded(pictures: Path, tmp_path: Path, tiny: Encoder) -> Path:
    embed(pictures, tmp_path / "emb", EmbedConfig(batch_size=8, workers=1), encoder=tiny)
    return tmp_path / "emb"


def config(*names: str, **options: object) -> ScoreConfig:
    return ScoreConfig(names or ("brightness",), **{"workers": 1, **options})  # type: ignore[arg-type]


def scores_by_uri(folder: Path, name: str) -> dict[str, float]:
    column = read_scores(scores_path(folder, name))
    known = dict(zip(column.sha256s, column.values.tolist(), strict=True))
    items = Embeddings(folder).items()
    pairs = zip(items.column("uri").to_pylist(), items.column("sha256").to_pylist(), strict=True)
    return {uri: known[sha256] for uri, sha256 in pairs if sha256 in known}


def alone(name: str, path: Path) -> float:
    return float(of_pixels([load_scorer(name)])[0].score_pictures([np.asarray(decode(path.read_bytes()))])[0])


def vector_head(folder: Path, encoder: Encoder, name: str = "mine") -> str:
    weight = np.random.default_rng(0).normal(size=encoder.width).astype(np.float32)
    record = HeadRecord(name, "vectors", encoder.name, encoder.record.image_fingerprint, "m", "u", "s", "l", {})
    save_head(folder / name, record, weight, 1.0)
    return str(folder / name)


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The uris of all pictures that are read from here on."""
    seen: list[str] = []
    real = score_run.pictures

    def pictures(root: Path, uris: Sequence[str]) -> object:
        seen.extend(uris)
        return real(root, uris)

    monkeypatch.setattr(score_run, "pictures", pictures)
    return seen


def test_every_picture_gets_the_score_it_gets_alone(embedded: Path, pictures: Path) -> None:
    reports = score_embeddings(embedded, config("brightness", "sharpness"))
    assert [(report.scorer, report.count, report.new) for report in reports] == [
        ("brightness", 20, 20),
        ("sharpness", 20, 20),
    ]
    for name in ("brightness", "sharpness"):
        found = scores_by_uri(embedded, name)
        assert len(found) == 20
        assert all(found[uri] == alone(name, pictures / uri) for uri in found)
    column = read_scores(scores_path(embedded, "brightness"))
    assert column.fingerprint == load_scorer("brightness").card.fingerprint
    assert column.card["unit"] == "L*"


def test_the_number_of_workers_changes_no_byte(pictures: Path, embedded: Path, tmp_path: Path) -> None:
    write_pictures(pictures / "more", 30, seed=4)
    score_embeddings(embedded, config())
    other = tmp_path / "other"
    shutil.copytree(embedded, other)
    shutil.rmtree(other / "scores")
    score_embeddings(other, config(workers=2))
    assert scores_path(embedded, "brightness").read_bytes() == scores_path(other, "brightness").read_bytes()


def test_scored_pictures_are_not_read_again_and_new_ones_are(
    embedded: Path, pictures: Path, tiny: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_embeddings(embedded, config())
    before = scores_path(embedded, "brightness").read_bytes()
    read = asked(monkeypatch)
    assert score_embeddings(embedded, config())[0].new == 0
    assert read == []
    assert scores_path(embedded, "brightness").read_bytes() == before
    write_pictures(pictures / "more", 3, seed=9)
    embed(pictures, embedded, EmbedConfig(batch_size=8, workers=1), encoder=tiny)
    report = score_embeddings(embedded, config())[0]
    assert (report.count, report.new) == (23, 3)
    assert sorted(read) == [f"more/p00{number}.jpg" for number in range(3)]


def test_the_same_picture_twice_is_read_once(
    pictures: Path, tmp_path: Path, tiny: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(pictures / "p000.jpg", pictures / "again.jpg")
    embed(pictures, tmp_path / "emb", EmbedConfig(batch_size=8, workers=1), encoder=tiny)
    read = asked(monkeypatch)
    assert score_embeddings(tmp_path / "emb", config())[0].count == 20
    assert len(read) == 20
    assert len(scores_by_uri(tmp_path / "emb", "brightness")) == 21


def test_scores_of_another_version_of_the_scorer_are_made_anew(embedded: Path) -> None:
    score_embeddings(embedded, config())
    path = scores_path(embedded, "brightness")
    right = path.read_bytes()
    column = read_scores(path)
    write_scores(path, replace(column, fingerprint="0" * 64, values=column.values + 1))
    assert score_embeddings(embedded, config())[0].new == 20
    assert path.read_bytes() == right


def test_pictures_that_are_gone_or_changed_have_no_score_and_are_named(embedded: Path, pictures: Path) -> None:
    (pictures / "p003.jpg").unlink()
    shutil.copy(pictures / "p001.jpg", pictures / "p002.jpg")
    report = score_embeddings(embedded, config())[0]
    assert set(report.missing) == {"p003.jpg", "p002.jpg"}
    assert "changed since" in report.missing["p002.jpg"]
    assert (report.count, len(scores_by_uri(embedded, "brightness"))) == (18, 18)
    assert "2 without" in report.line()


def test_too_many_pictures_without_a_score_end_with_the_rest_kept(embedded: Path, pictures: Path) -> None:
    for number in range(11):
        (pictures / f"p{number:03d}.jpg").unlink()
    with pytest.raises(ConditionFailed, match="11 of 20"):
        score_embeddings(embedded, config())
    assert len(scores_by_uri(embedded, "brightness")) == 9
    assert score_embeddings(embedded, config(max_bad_share=0.6))[0].count == 9


def test_a_killed_run_goes_on_from_what_it_saved(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_run, "SAVE_S", 0.0)

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_embeddings(embedded, config(), stop)
    assert not scores_path(embedded, "brightness").is_file()  # no reader takes half of the scores for all
    read = asked(monkeypatch)
    assert score_embeddings(embedded, config())[0].count == 20
    assert len(read) == 8
    killed = scores_path(embedded, "brightness").read_bytes()
    assert [path.name for path in (embedded / "scores").iterdir()] == ["brightness.parquet"]
    shutil.rmtree(embedded / "scores")
    score_embeddings(embedded, config())
    assert scores_path(embedded, "brightness").read_bytes() == killed


def test_scorers_of_vectors_read_what_lies_there(embedded: Path, tmp_path: Path, tiny: Encoder) -> None:
    name = vector_head(tmp_path, tiny)
    report = score_embeddings(embedded, config(name))[0]
    assert (report.scorer, report.count) == ("mine", 20)
    vectors = np.concatenate([vectors for _, vectors in Embeddings(embedded).blocks()])
    expected = load_scorer(name).score_vectors(vectors)  # type: ignore[union-attr]
    np.testing.assert_array_equal(list(scores_by_uri(embedded, "mine").values()), expected)
    assert score_embeddings(embedded, config(name))[0].new == 0


def test_a_scorer_of_other_vectors_is_refused_before_any_picture_is_read(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_encoder("beholder-mini")
    read = asked(monkeypatch)
    with pytest.raises(BeholderError, match="reads vectors of beholder-mini"):
        score_embeddings(embedded, config("brightness", vector_head(tmp_path, other)))
    assert read == []


@pytest.mark.usefixtures("no_weights")
def test_a_published_head_of_other_vectors_is_refused_before_it_is_downloaded(embedded: Path, tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="these are of"):
        score_embeddings(embedded, config("laion-vit-l-14"))
    build_index(embedded, tmp_path / "index", IndexConfig())
    with pytest.raises(BeholderError, match="these are of"):
        score_index(tmp_path / "index", config("laion-vit-l-14"))
    with pytest.raises(BeholderError, match="these are of beholder-mini"):
        check_model(["laion-vit-l-14"], "beholder-mini")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.scoring.heads.find", lambda file: pytest.fail("looked for weights"))


def test_a_scorer_of_a_tower_reads_pictures_of_any_encoder_s_folder(embedded: Path, pictures: Path) -> None:
    report = score_embeddings(embedded, config("complexity"))[0]
    assert report.count == 20
    found = scores_by_uri(embedded, "complexity")
    for uri in list(found)[:3]:
        assert found[uri] == pytest.approx(alone("complexity", pictures / uri), abs=1e-4)


def test_pictures_in_a_tar_are_scored(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in sorted(pictures.iterdir()):
            tar.add(path, path.name)
    embed(tmp_path / "all.tar", tmp_path / "emb", EmbedConfig(batch_size=8, workers=1), encoder=tiny)
    assert score_embeddings(tmp_path / "emb", config())[0].count == 20
    found = scores_by_uri(tmp_path / "emb", "brightness")
    assert found["all.tar#p000.jpg"] == alone("brightness", pictures / "p000.jpg")


def test_a_built_index_gets_a_column_to_filter_and_sort_by(embedded: Path, tmp_path: Path, pictures: Path) -> None:
    build_index(embedded, tmp_path / "index", IndexConfig())
    reports = score_index(tmp_path / "index", config("brightness", "contrast"))
    assert [report.new for report in reports] == [20, 20]
    items = load_index(tmp_path / "index").items_table().to_pylist()
    for row in items:
        assert row["brightness"] == alone("brightness", pictures / row["uri"])
        assert 0 < row["brightness_percentile"] < 1
    ordered = sorted(items, key=lambda row: row["brightness"])
    shares = [row["brightness_percentile"] for row in ordered]
    assert shares == sorted(shares)
    assert [report.new for report in score_index(tmp_path / "index", config("brightness", "contrast"))] == [0, 0]


def test_a_killed_run_over_an_index_goes_on(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    build_index(embedded, index, IndexConfig())
    monkeypatch.setattr(score_run, "SAVE_S", 0.0)

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_index(index, config(), stop)
    assert verify_index(index)
    assert load_index(index).scorers == ()
    read = asked(monkeypatch)
    assert score_index(index, config())[0].count == 20
    assert len(read) == 8
    assert load_index(index).scorers[0].count == 20
    assert verify_index(index)


def test_uris_that_lead_out_of_the_source_are_not_followed(embedded: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    shutil.copy(tmp_path / "pictures" / "p000.jpg", outside)
    embeddings = Embeddings(embedded)
    items = embeddings.items()
    uris = ["../outside.jpg", str(outside), *items.column("uri").to_pylist()[2:]]
    items = items.set_column(items.column_names.index("uri"), "uri", pa.array(uris))
    vectors = np.concatenate([vectors for _, vectors in embeddings.blocks()])
    shard = write_shard(embedded, 0, items.column("id").to_numpy(), vectors, items)
    replace(embeddings.manifest, shards=(shard,)).write(embedded)
    report = score_embeddings(embedded, config())[0]
    assert set(report.missing) == {"../outside.jpg", str(outside)}
    assert report.count == 18


def test_folders_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no folder"):
        score_folder(tmp_path / "nothing", config())
    (tmp_path / "manifest.json").write_text('{"kind": "beholder-scorer", "format": 1}')
    with pytest.raises(FormatError, match="beholder-scorer"):
        score_folder(tmp_path, config())


def test_options_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(BeholderError, match="no scorer"):
        ScoreConfig(())
    with pytest.raises(BeholderError, match="twice"):
        ScoreConfig(("contrast", "contrast"))
    with pytest.raises(BeholderError, match="share"):
        config(max_bad_share=2.0)


def test_the_command_line_embeds_and_scores(beholder: Run, pictures: Path, tmp_path: Path, tiny_model: Path) -> None:
    arguments = ["embed", pictures, tmp_path / "emb", "--model", tiny_model, "--workers", 1, "--score", "contrast"]
    assert "contrast: 20 pictures (20 new)" in beholder(*arguments).stdout
    again = json.loads(beholder(*arguments, "--json").stdout)
    assert (again["new"], again["scores"][0]["new"], again["scores"][0]["count"]) == (0, 0, 20)
    told = json.loads(beholder("score", tmp_path / "emb", "--scorer", "saturation", "--workers", 1, "--json").stdout)
    assert told[0]["count"] == 20


def test_a_wrong_scorer_is_known_before_pictures_are_embedded(beholder: Run, pictures: Path, tmp_path: Path) -> None:
    done = beholder("embed", pictures, tmp_path / "emb", "--score", "beauty", check=False)
    assert done.returncode == 2
    assert "there is no scorer 'beauty'" in done.stderr
    assert not (tmp_path / "emb").exists()


def test_the_command_line_says_what_is_missing(beholder: Run, tmp_path: Path) -> None:
    for arguments, said in (
        (["score"], "no folder"),
        (["score", tmp_path], "no scorer"),
        (["score", "--self-test"], "no scorer"),
        (["score", tmp_path, "--self-test", "--scorer", "contrast"], "one of them"),
    ):
        done = beholder(*arguments, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_self_test_and_the_list_of_scorers_are_commands(beholder: Run) -> None:
    told = json.loads(beholder("score", "--self-test", "--scorer", "contrast", "--json").stdout)
    assert all(finding["ok"] for finding in told["contrast"])
    rows = json.loads(beholder("models", "--json").stdout)
    scorers = {row["name"] for row in rows if row["kind"] == "scorer"}
    assert {"beholder-appeal", "complexity", "brightness", "laion-vit-l-14", "pyiqa:METRIC"} <= scorers
    assert any(row["name"] == "beholder-mini" and row["kind"] == "encoder" for row in rows)
