"""Tables become examples: rows grouped by picture, splits kept apart, labels said in plain English."""

from pathlib import Path

import pytest

from indexes.errors import BeholderError, FormatError
from rl.captions import caption_table, object_phrasings, read_source, style_name, style_phrasings


def test_rows_of_one_picture_are_its_captions_and_paths_are_beside_the_table(tmp_path: Path) -> None:
    table = tmp_path / "c.tsv"
    table.write_text('image\tcaption\na.jpg\ta "dog"\nb.jpg\ttwo cats\na.jpg\tgreen café\n', encoding="utf-8")
    first, second = caption_table(table)
    assert (first.picture, first.captions) == (tmp_path / "a.jpg", ('a "dog"', "green café"))
    assert second.captions == ("two cats",)
    assert first.key != second.key


def test_only_the_wanted_split_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "photoart"
    folder.mkdir()
    rows = [
        "file\tobject\tdepiction\tsplit",
        "1.jpg\tegg\tphoto\ttrain",
        "2.jpg\tegg\tart\tval",
        "3.jpg\tegg\tphoto\ttrain",
    ]
    (folder / "items.tsv").write_text("\n".join(rows))
    train = read_source("photoart", tmp_path, "train")
    assert [example.picture.name for example in train] == ["1.jpg", "3.jpg"]
    assert train[0].key == train[1].key
    assert "a photo of an egg" in train[0].captions


def test_labels_are_said_in_plain_english() -> None:
    assert style_name("ArtNouveau(Modern)") == "art nouveau"
    assert style_name("Ukiyo-e") == "ukiyo-e"
    assert style_phrasings("Cubism", person=True)[0] == "a cubist painting"
    assert "a cubist painting of people" in style_phrasings("Cubism", person=True)
    assert "an impressionist painting by claude monet" in style_phrasings("Impressionism", "claude monet")
    assert "a painting of a camel" in object_phrasings("camel", "art")
    assert not any("painting" in phrasing for phrasing in style_phrasings("photo"))


def test_a_missing_column_and_an_unknown_source_are_told(tmp_path: Path) -> None:
    table = tmp_path / "c.tsv"
    table.write_text("picture\ttext\na\tb\n")
    with pytest.raises(FormatError, match="no column image"):
        caption_table(table)
    with pytest.raises(BeholderError, match="no source 'flicker8k'"):
        read_source("flicker8k", tmp_path, "train")
    with pytest.raises(FormatError, match="no table"):
        read_source("none.tsv", tmp_path, "train")
