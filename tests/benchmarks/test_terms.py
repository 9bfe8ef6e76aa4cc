"""Protects what is kept for measuring: each known set says its licence and use, and training on the wrong ones is
refused with one line, whatever the file is called."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.tables.aesthetic_sets import SETS
from benchmarks.tables.evaluation import SETS as MEASURED
from benchmarks.tables.hpir_set import write_set
from benchmarks.tables.terms import TABLES, refuse_training, terms_of, terms_table
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.hpir import HpirItem
from rl.captions import SOURCES

DATA = os.environ.get("BEHOLDER_DATA")


def test_every_set_that_a_reader_knows_says_its_terms() -> None:
    for name, known in SETS.items():
        assert terms_of(Path("any", known.table)) is known.terms
        assert known.terms.name == name
        assert known.terms.licence
    for name in SOURCES:
        table = "captions.tsv" if name == "flickr8k" else "items.tsv"
        assert terms_of(f"{name}/{table}").trained == ("train",)
    assert terms_of("captions.tsv") is None, "a name that anybody's table may have"
    assert terms_of("elsewhere/items.tsv") is None


def test_use_is_said_in_words() -> None:
    assert TABLES["ava_test_scores.tsv"].use == "evaluation only"
    assert TABLES["dataset_coco.json"].use == "train+eval (training: split train, restval)"


@pytest.mark.parametrize(
    ("table", "split", "words"),
    [
        ("ava_test_scores.tsv", None, "is for evaluation only"),
        ("captions_val2014.json", None, "coco.*is for evaluation only"),
        ("website/items.tsv", "test", "split test of website"),
        ("flickr8k/captions.tsv", "val", "split val of flickr8k"),
        ("dataset_flickr30k.json", "test", "split test of flickr30k"),
        ("website/items.tsv", "train", None),
        ("dataset_coco.json", "restval", None),
        ("mine/items.tsv", "test", None),
    ],
)
def test_training_is_refused_by_set_and_split(tmp_path: Path, table: str, split: str | None, words: str | None) -> None:
    path = tmp_path / table
    if words is None:
        refuse_training(path, split)
    else:
        with pytest.raises(BeholderError, match=f"training on .*{words}"):
            refuse_training(path, split)


def test_the_test_part_of_a_made_set_is_refused_and_its_training_part_is_not(tmp_path: Path) -> None:
    def item(first: str, second: str) -> HpirItem:
        votes = {"aesthetics": ("a",), "accuracy": (None,), "diversity": (None,)}
        return HpirItem("q", "a dog", {}, (first * 64,), (second * 64,), ({}, {}), votes, ("me",), ("ab",))

    write_set(tmp_path / "set", {"test": [item("a", "b")], "train": [item("c", "d")]}, {})
    refuse_training(tmp_path / "set" / "train.jsonl")
    with pytest.raises(BeholderError, match="test part of an HPIR set"):
        refuse_training(tmp_path / "set" / "test.jsonl")


@pytest.mark.skipif(DATA is None, reason="BEHOLDER_DATA is not set")
def test_a_table_by_another_name_is_known_by_its_content(tmp_path: Path) -> None:
    labels = Path(DATA or "") / "labels"
    for name, terms in TABLES.items():
        if terms.sha256:
            assert sha256_file(labels / name) == terms.sha256
    mine = tmp_path / "mine.tsv"
    shutil.copy(labels / "oasis_beauty_scores.tsv", mine)
    with pytest.raises(BeholderError, match=r"mine.tsv \(oasis; none stated"):
        refuse_training(mine)


def test_the_guide_shows_the_terms_as_they_are() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    assert terms_table() in guide, "print(benchmarks.tables.terms.terms_table()) into docs/measuring.md"


def test_the_pictures_behind_reported_figures_are_of_sets_with_terms() -> None:
    assert all(terms_of(f"{folder}/items.tsv") or terms_of(f"{folder}/captions.tsv") for folder, *_ in MEASURED)
