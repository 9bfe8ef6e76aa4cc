"""Experiments from end to end on tiny sets: what comes out, that nothing is done twice, that val is read once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiment_sets import make_sets

from indexes.errors import BeholderError, ConditionFailed
from retrieval.encoding.encoders import load_encoder
from rl.experiments import beauty, hacking, look, people
from rl.experiments.look_data import Measured, Words
from rl.experiments.parts import Parts
from rl.experiments.places import Places
from rl.preferences import read_preferences

GLOSSARY = Path(__file__).parents[2] / "docs" / "experiments" / "look" / "glossary.tsv"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def emb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emb")


def people_config(run: Path, data: Path, emb: Path, model: Path) -> people.PeopleConfig:
    return people.PeopleConfig(
        run,
        data,
        emb,
        str(model),
        seeds=(0, 1),
        folds=2,
        length=6,
        steps=2,
        picture_steps=2,
        frozen_blocks=1,
        captions=32,
        max_retention_loss=100.0,
    )


def test_people_from_lists_to_numbers_and_again_without_work(
    tmp_path: Path, data: Path, emb: Path, tiny_model: Path
) -> None:
    config = people_config(tmp_path / "run", data, emb, tiny_model)
    dry = people.measure(replace(config, dev_only=True))
    assert all(name.startswith("dev ") for name in dry.numbers)
    assert not (tmp_path / "run" / "steps" / "test.json").exists()
    said: list[str] = []
    run = people.measure(config, said.append)
    for side in ("base", "constant shift", "text", "both", "text, shuffled scores"):
        assert run.numbers[f"pairs of 98 pages, unseen phrasings: {side}"].n == 8
        assert run.numbers[f"votes, trained phrasings: {side}"].n == 6
    assert {"captions: hit_rate@10: change by both", "objects: mAP: base"} < set(run.numbers)
    assert "votes: ridge head on the image tower" in run.numbers
    assert run.command.startswith("beholder align experiment people")
    again: list[str] = []
    assert people.measure(config, again.append).numbers == run.numbers
    assert all("kept" in line or "alpha" in line for line in again)
    with pytest.raises((BeholderError, ConditionFailed), match=r"other choices|another"):
        people.measure(replace(config, head_lr=5e-3))


def test_beauty_and_hacking_run_on_its_checkpoints(tmp_path: Path, data: Path, emb: Path, tiny_model: Path) -> None:
    config = beauty.BeautyConfig(
        tmp_path / "run",
        data,
        emb,
        str(tiny_model),
        seeds=(0,),
        lists=20,
        u=2,
        v=2,
        stride=3,
        steps=2,
        picture_steps=3,
        frozen_blocks=1,
        captions=32,
        max_retention_loss=100.0,
    )
    run = beauty.measure(config)
    assert {"base", "sum, b = 1", "text, alpha = 1", "both, alpha = 0.5"} < set(run.data["points"])
    assert any(name.endswith("text less constant shift") for name in run.numbers)
    checkpoint = str(tmp_path / "run" / "runs" / "text-seed-0" / "model")
    probed = hacking.measure(
        hacking.HackingConfig(
            tmp_path / "probe",
            data,
            emb,
            str(tiny_model),
            people=(checkpoint,),
            beauty=(checkpoint,),
            photographs=5,
            captions=4,
        )
    )
    assert probed.numbers["photographs, blur: aligned more than base"].n == 5
    assert probed.numbers["pages, white border: base"].n == 8
    pictured = str(tmp_path / "run" / "runs" / "image-seed-0" / "model")
    with pytest.raises(BeholderError, match="another image tower"):
        hacking.measure(hacking.HackingConfig(tmp_path / "other", data, emb, str(tiny_model), people=(pictured,)))


def test_look_tunes_both_towers_and_measures_the_pictures_as_they_then_are(
    tmp_path: Path, data: Path, emb: Path, tiny_model: Path
) -> None:
    config = look.LookExperiment(
        tmp_path / "run",
        data,
        emb,
        glossary=GLOSSARY,
        model=str(tiny_model),
        seeds=(0,),
        control_seeds=(0,),
        b=100.0,
        subjects=2,
        top=14,
        gap=8,
        towers="both",
        picture_lr=1e-2,
        frozen_blocks=1,
        steps=2,
        queries=8,
        captions_batch=16,
        max_retention_loss=100.0,
    )
    dry = look.measure(replace(config, dev_only=True))
    assert {"dev look unseen: aligned", "dev objects mAP: aligned", "dev objects mAP: base"} < set(dry.numbers)
    assert not (tmp_path / "run" / "steps" / "val.json").exists()
    run = look.measure(config)
    lists = read_preferences(tmp_path / "run" / "lists" / "48-words-0.parquet").lists
    assert len(lists) == 48 * 2 * 3  # words, subjects, draws
    assert all(one.query.endswith(f" {one.reference}") for one in lists)
    assert run.numbers["aligned, trained words: percentile"].n == 48
    assert run.numbers["aligned to shuffled lists, unseen words: gain"].n == 24
    assert {"objects: mAP: change by aligned", "share of the teacher's gain, unseen words: aligned"} < set(run.numbers)
    tuned = load_encoder(str(tmp_path / "run" / "runs" / "aligned-seed-0" / "model"))
    places = Places(data, emb, load_encoder(str(tiny_model)), lambda line: None)
    parts = Parts(load_encoder(str(tiny_model)), 1, tmp_path / "run" / "cache")
    measured = Measured(places, "dev", Words.read(None, dev=True), parts)
    seen = parts.seen_by(tuned, measured.files)
    whole = places.vectors("flickr8k", [file.name for file in measured.files], tuned)
    np.testing.assert_allclose(seen, whole, atol=2e-3)  # float16 states
    assert np.abs(seen - measured.vectors).max() > 1e-2
    with pytest.raises(BeholderError, match="differs below block 2"):
        Parts(load_encoder(str(tiny_model)), 2, tmp_path / "run" / "cache").seen_by(tuned, measured.files)


def test_look_refuses_an_image_tower_alone_and_lists_that_tell_nothing(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="towers image"):
        look.LookExperiment(tmp_path, towers="image")
    with pytest.raises(BeholderError, match="reference word"):
        look.LookExperiment(tmp_path, reference="word")
    with pytest.raises(BeholderError, match=r"none\.tsv is not there"):
        look.measure(look.LookExperiment(tmp_path, glossary=tmp_path / "none.tsv"))
    with pytest.raises(BeholderError, match="--rest 5"):
        look.LookExperiment(tmp_path, rest=5)


def test_an_experiment_without_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEHOLDER_DATA", raising=False)
    with pytest.raises(BeholderError, match="no folder of data sets"):
        people.measure(people.PeopleConfig(tmp_path / "run"))
