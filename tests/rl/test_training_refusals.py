"""Every way into training refuses what is kept for evaluation, and published caption files become examples."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.tables.evaluation import refuse_evaluation
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.conversations import ASSISTANT, IMAGE, USER, Conversation, Turn, write_conversations
from rl.captions import published_captions, read_source
from rl.critic.config import CriticConfig
from rl.critic.data_cli import data
from rl.critic.train import train_critic
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
    held = frozenset({sha256_file(folder / "3.png")})
    monkeypatch.setattr("rl.scorer.evaluation_pictures", lambda: held)
    config = ScorerTraining(folder / "items.tsv", tmp_path / "s", "mean_score", features="vectors")
    with pytest.raises(BeholderError, match="1 of 20 pictures are kept for evaluation"):
        train_scorer(config)


@pytest.mark.parametrize("name", ["artgpt4_sample_answers.txt", "AesBench_VAL.tsv", "oasis_beauty_scores.tsv"])
def test_no_conversations_to_train_on_are_made_of_evaluation_sets(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    for given in ({"from_file": tmp_path / name}, {"from_critiques": tmp_path / name, "model": ["llm:m@http://h"]}):
        with pytest.raises(BeholderError, match=rf"training on {name}.* is for evaluation only"):
            data(tmp_path / "out.jsonl", **given)
    turns = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A vase."}]
    (tmp_path / name).write_text(json.dumps([{"image": "a.png", "conversations": turns}]))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    data(tmp_path / "out.jsonl", from_file=tmp_path / name, root=tmp_path, split="val")  # to measure by
    assert (tmp_path / "out.jsonl").is_file()


def test_choices_are_refused_by_the_terms_of_their_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "oasis_sample"
    folder.mkdir()
    (folder / "pairs.tsv").write_text("file_1\tfile_2\twins_1\twins_2\n")
    with pytest.raises(BeholderError, match=r"training on items.tsv .oasis_sample"):
        data(tmp_path / "out.jsonl", from_pairs=folder / "pairs.tsv", root=tmp_path)


def test_a_critic_does_not_learn_from_evaluation_whoever_wrote_the_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    for number in range(2):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    turns = (Turn(USER, f"{IMAGE}\nWhat?"), Turn(ASSISTANT, "A square."))
    made = [Conversation((f"{number}.png",), turns, "s", "", ("train", "val")[number]) for number in range(2)]
    path = tmp_path / "c.jsonl"
    config = CriticConfig(base=str(tmp_path / "base"), pictures=str(tmp_path), conversations=str(path))
    write_conversations(path, made, {"file": "AesBench_VAL.tsv"})
    with pytest.raises(BeholderError, match=r"AesBench_VAL.tsv .*evaluation only"):
        train_critic(config, tmp_path / "run")
    write_conversations(path, made, {"file": "mine.json"})
    held = frozenset({sha256_file(tmp_path / "0.png")})
    monkeypatch.setattr("benchmarks.tables.evaluation.evaluation_pictures", lambda: held)
    with pytest.raises(BeholderError, match=r"1 pictures to train on are kept for evaluation \(first: 0.png\)"):
        train_critic(config, tmp_path / "run2")
    refuse_evaluation([("1.png", sha256_file(tmp_path / "1.png"))])  # of val: nobody trains on it
