"""Protects who is relevant to whom: captions, labels, splits, templates, and names matched to uris."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables import judgements as tables
from indexes.errors import BeholderError, FormatError

ROWS = [
    {"file": "images/a.jpg", "object": "teddy_bear", "depiction": "photo", "split": "val"},
    {"file": "images/b.jpg", "object": "camel", "depiction": "art", "split": "val"},
    {"file": "images/c.jpg", "object": "camel", "depiction": "photo", "split": "train"},
    {"file": "images/d.jpg", "object": "camel", "depiction": "photo", "split": "val"},
    {"file": "images/e.jpg", "object": "", "depiction": "photo", "split": "val"},
]


def test_labels_of_a_split_become_queries() -> None:
    rows, others = tables.choose_rows(ROWS, "file", "val")
    judged = tables.label_judgements(rows, "file", ["object"], ["a photo of a {}", "{}"], others)
    assert judged.pictures == ("images/a.jpg", "images/b.jpg", "images/d.jpg", "images/e.jpg")
    assert judged.others == ("images/c.jpg",)
    assert [query.texts for query in judged.queries] == [
        ("a photo of a camel", "camel"),
        ("a photo of a teddy bear", "teddy bear"),
    ]
    np.testing.assert_array_equal(judged.relevance(), [[0, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(judged.relevant_counts(), [2, 1])


def test_joined_columns_are_one_label_and_repeated_columns_are_groups() -> None:
    judged = tables.label_judgements(ROWS[:4], "file", ["object,depiction", "depiction"], ["a {depiction}: {}"])
    joined = judged.only("object,depiction")
    assert [query.texts[0] for query in joined.queries] == [
        "an art: camel art",
        "a photo: camel photo",
        "a photo: teddy bear photo",
    ]
    assert [query.relevant for query in joined.queries] == [(1,), (2, 3), (0,)]
    assert judged.groups == ("object,depiction", "depiction")
    np.testing.assert_array_equal(judged.only("depiction").labels(), [1, 0, 1, 1])


def test_every_caption_is_a_query_for_its_own_picture() -> None:
    rows = [
        {"image": "x", "caption": " one "},
        {"image": "y", "caption": "two"},
        {"image": "x", "caption": "3"},
    ]
    judged = tables.caption_judgements(rows, "image", "caption")
    assert [query.texts for query in judged.queries] == [("one",), ("two",), ("3",)]
    assert [query.relevant for query in judged.queries] == [(0,), (1,), (0,)]
    with pytest.raises(BeholderError, match="empty caption"):
        tables.caption_judgements([{"image": "x", "caption": "  "}], "image", "caption")


def test_limit_draws_pictures_by_seed_and_the_rest_are_others() -> None:
    rows, others = tables.choose_rows(ROWS, "file", None, limit=2, seed=1)
    assert len(rows) == 2
    assert {row["file"] for row in rows} | set(others) == {row["file"] for row in ROWS}
    assert (rows, others) == tables.choose_rows(ROWS, "file", None, limit=2, seed=1)


def test_splits_may_come_from_another_table(tmp_path: Path) -> None:
    path = tmp_path / "splits.tsv"
    path.write_text("image\tsplit\nx\tval\ny\ttrain\n")
    rows = [{"image": "x"}, {"image": "y"}, {"image": "z"}]
    chosen, others = tables.choose_rows(rows, "image", "val", tables.read_splits(path, "image"))
    assert chosen == [{"image": "x"}]
    assert others == ("y", "z")
    with pytest.raises(BeholderError, match="split 'dev'"):
        tables.choose_rows(rows, "image", "dev", tables.read_splits(path, "image"))
    with pytest.raises(BeholderError, match="no column 'split'"):
        tables.choose_rows(rows, "image", "val")


def test_tables_that_are_wrong_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("image\tcaption\r\na\tone\r\nb\r\n")
    with pytest.raises(FormatError, match="line 3, has 1 cells"):
        tables.read_tsv(path, ["image"])
    with pytest.raises(FormatError, match="one of image, caption"):
        tables.read_tsv(path, ["file"])
    with pytest.raises(FormatError, match="there is no table"):
        tables.read_tsv(tmp_path / "none.tsv", [])
    path.write_bytes(b"image\n\xff\n")
    with pytest.raises(FormatError, match="not UTF-8"):
        tables.read_tsv(path, ["image"])


def test_quotes_and_spaces_in_cells_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes('image\tcaption\r\na\t"one" two\u2028three\r\n\r\n'.encode())
    assert tables.read_tsv(path, ["image", "caption"]) == [{"image": "a", "caption": '"one" two\u2028three'}]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ArtNouveau(Modern)", "art nouveau (modern)"),
        ("Neo-baroque", "neo-baroque"),
        ("teddy_bear", "teddy bear"),
        ("photo", "photo"),
        ("hot air balloon", "hot air balloon"),
        ("Ukiyo-e", "ukiyo-e"),
    ],
)
def test_labels_are_written_as_words(label: str, words: str) -> None:
    assert tables.as_words(label) == words


def test_templates_without_a_place_or_with_an_unknown_one_are_refused() -> None:
    with pytest.raises(BeholderError, match="no place"):
        tables.fill_template("a photo", {"object": "camel"})
    with pytest.raises(BeholderError, match="names 'style'"):
        tables.fill_template("a {style}", {"object": "camel"})


def test_names_match_uris_by_their_ends() -> None:
    uris = ["a.jpg", "deep/images/b.jpg", "images/c.jpg", "xc.jpg"]
    names = ["images/a.jpg", "images/b.jpg", "c.jpg", "other/c.jpg", "d.jpg"]
    np.testing.assert_array_equal(tables.match_names(names, uris), [0, 1, 2, -1, -1])
    with pytest.raises(BeholderError, match="one picture"):
        tables.match_names(["a.jpg"], ["x/a.jpg", "y/a.jpg"])
