"""Protects the readers of published caption files: small files by hand, in the layout of the real ones."""

import json
from pathlib import Path

import pytest

from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.tables.caption_files import caption_file, read_rows
from indexes.errors import BeholderError

FLICKR30K = {
    "dataset": "flickr30k",
    "images": [
        {
            "sentids": [0, 1],
            "imgid": 0,
            "filename": "1000092795.jpg",
            "split": "train",
            "sentences": [
                {"tokens": ["two", "men"], "raw": "Two men .", "imgid": 0, "sentid": 0},
                {"tokens": ["a", "yard"], "raw": "A yard.", "imgid": 0, "sentid": 1},
            ],
        },
        {
            "sentids": [2],
            "imgid": 1,
            "filename": "10002456.jpg",
            "split": "test",
            "sentences": [{"tokens": [], "raw": "Several men in\nhard hats", "imgid": 1, "sentid": 2}],
        },
    ],
}
COCO_5K = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": "COCO_val2014_000000391895.jpg",
            "cocoid": 391895,
            "split": "test",
            "sentences": [{"raw": "A man with a red helmet on a small moped"}],
        }
    ],
}
COCO = {
    "info": {},
    "licenses": [],
    "images": [
        {"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", "license": 3},
        {"id": 522418, "file_name": "COCO_val2014_000000522418.jpg", "license": 1},
        {"id": 1, "file_name": "COCO_val2014_000000000001.jpg", "license": 1},
    ],
    "annotations": [
        {"image_id": 522418, "id": 681330, "caption": "A woman cuts a cake. \n"},
        {"image_id": 391895, "id": 770337, "caption": "A man on a moped."},
        {"image_id": 391895, "id": 771687, "caption": "A man rides."},
    ],
}
TOKENS = "1000092795.jpg#0\tTwo young guys with shaggy hair\n1000092795.jpg#1\tTwo men#2 .\r\n10002456.jpg#0\tMen\n"


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_karpathys_lists_have_splits_and_captions_as_people_wrote_them(tmp_path: Path) -> None:
    assert caption_file(written(tmp_path, "dataset_flickr30k.json", FLICKR30K)) == [
        {"image": "1000092795.jpg", "caption": "Two men .", "split": "train"},
        {"image": "1000092795.jpg", "caption": "A yard.", "split": "train"},
        {"image": "10002456.jpg", "caption": "Several men in hard hats", "split": "test"},
    ]


def test_the_folder_of_a_coco_picture_is_part_of_its_name(tmp_path: Path) -> None:
    rows = caption_file(written(tmp_path, "dataset_coco.json", COCO_5K))
    assert rows[0]["image"] == "val2014/COCO_val2014_000000391895.jpg"


def test_cocos_captions_follow_their_pictures_ids(tmp_path: Path) -> None:
    rows = caption_file(written(tmp_path, "captions_val2014.json", COCO))
    assert rows == [
        {"image": "COCO_val2014_000000522418.jpg", "caption": "A woman cuts a cake."},
        {"image": "COCO_val2014_000000391895.jpg", "caption": "A man on a moped."},
        {"image": "COCO_val2014_000000391895.jpg", "caption": "A man rides."},
    ]


def test_tokens_are_parted_at_the_last_hash_of_the_name_and_the_first_tab(tmp_path: Path) -> None:
    rows = caption_file(written(tmp_path, "results_20130124.token", TOKENS))
    assert [row["image"] for row in rows] == ["1000092795.jpg"] * 2 + ["10002456.jpg"]
    assert [row["caption"] for row in rows][1:] == ["Two men#2 .", "Men"]


def test_a_benchmark_asks_the_captions_of_a_published_split(tmp_path: Path) -> None:
    path = written(tmp_path, "dataset_flickr30k.json", FLICKR30K)
    judged = read_judgements(RetrievalConfig(path, text_column="caption", split="test"))
    assert [query.texts for query in judged.queries] == [("Several men in hard hats",)]
    assert judged.pictures == ("10002456.jpg",)
    assert judged.others == ("1000092795.jpg",)
    without = written(tmp_path, "captions_val2014.json", COCO)
    with pytest.raises(BeholderError, match="no column 'split'"):
        read_judgements(RetrievalConfig(without, text_column="caption", split="test"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{", "a.json is not JSON"),
        ("a.json", [], "no list 'images'"),
        ("a.json", {"images": [{"filename": "a.jpg"}]}, "picture 1, lacks 'sentences'"),
        ("a.json", {"images": []}, "no captions"),
        ("a.json", {"images": [], "annotations": [{"image_id": 7, "caption": ""}]}, "caption 1, lacks 7"),
        ("a.token", "a.jpg#0\tA dog\nb.jpg A cat\n", "line 2"),
        ("a.token", "\n", "no captions"),
    ],
)
def test_a_wrong_file_is_named_with_its_place(tmp_path: Path, name: str, content: object, words: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(BeholderError, match=words):
        caption_file(path)


def test_columns_and_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="there is no file"):
        read_rows(tmp_path / "no.json", [])
    with pytest.raises(BeholderError, match="one of image, caption, split"):
        read_rows(written(tmp_path, "dataset_flickr30k.json", FLICKR30K), ["text"])
