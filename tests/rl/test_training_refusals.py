"""Every way into training refuses what is kept for evaluation, and published caption files become examples."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.errors import BeholderError
from rl.captions import published_captions, read_source
from rl.preferences import PreferenceList, read_preferences, write_preferences
from rl.scorer import ScorerTraining, train_scorer


def karpathy(folder: Path, name: str) -> Path:
    splits = ("train", "restval", "val", "test")
    images = [{"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": f"a {split}"}]} for split in splits]
    (folder / name).write_text(json.dumps({"images": images}))
    return folder / name


def test_a_published_file_gives_its_split_and_cocos_restval_is_training(tmp_path: Path) -> None:
    def names(file: str, split: str) -> list[str]:
        return [one.picture.name for one in published_captions(karpathy(tmp_path, file), split)]

    assert names("dataset_flickr30k.json", "train") == ["train.jpg"]
    assert names("dataset_coco.json", "train") == ["train.jpg", "restval.jpg"]
    assert names("dataset_coco.json", "dev") == ["val.jpg"]
    example = published_captions(tmp_path / "dataset_coco.json", "test")[0]
    assert (example.picture, example.captions) == (tmp_path / "test.jpg", ("a test",))
    assert read_source("dataset_coco.json", tmp_path, "train")[0].picture == tmp_path / "train.jpg"


def test_captions_for_evaluation_are_no_source_of_training(tmp_path: Path) -> None:
    (tmp_path / "results_20130124.token").write_text("a.jpg#0\ta dog\n")
    with pytest.raises(BeholderError, match=r"training on results_20130124.token"):
        read_source("results_20130124.token", tmp_path, "train")
    assert read_source("results_20130124.token", tmp_path, "dev")[0].captions == ("a dog",)


def test_lists_made_of_an_evaluation_set_are_refused_even_when_they_are_there_already(tmp_path: Path) -> None:
    lists = [PreferenceList("a page", ("a" * 64, "b" * 64), (0,), (1,))]
    write_preferences(tmp_path / "p.parquet", lists, {"made": "holidays_pairs.tsv"})
    with pytest.raises(BeholderError, match=r"holidays.*evaluation only"):
        read_preferences(tmp_path / "p.parquet")
    write_preferences(tmp_path / "p.parquet", lists, {"made": "mine.tsv"})
    assert len(read_preferences(tmp_path / "p.parquet").lists) == 1


def test_a_scorer_does_not_learn_from_a_test_split_nor_from_pictures_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "website"
    folder.mkdir()
    rows = ["file\tmean_score\tsplit"]
    for number in range(20):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png\t{number}\ttrain")
    (folder / "items.tsv").write_text("\n".join(rows))
    with pytest.raises(BeholderError, match="split test of website"):
        train_scorer(ScorerTraining(folder / "items.tsv", tmp_path / "s", "mean_score", split="test"))
    from indexes.records.manifest import sha256_file

    held = frozenset({sha256_file(folder / "3.png")})
    monkeypatch.setattr("rl.scorer.evaluation_pictures", lambda: held)
    config = ScorerTraining(folder / "items.tsv", tmp_path / "s", "mean_score", features="vectors")
    with pytest.raises(BeholderError, match="1 of 20 pictures are kept for evaluation"):
        train_scorer(config)
