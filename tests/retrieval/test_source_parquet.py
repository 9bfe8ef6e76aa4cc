"""Parquet: rows without a picture are counted, and no row leads out of the folder."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import BeholderError
from retrieval.sources.archives import Picture
from retrieval.sources.sources import contents, find_source, pictures
from tests.conftest import write_pictures


def test_rows_without_a_picture_are_counted_not_embedded(pictures: Path, tmp_path: Path) -> None:
    held = [(pictures / "p000.jpg").read_bytes(), None, (pictures / "p001.jpg").read_bytes(), None]
    pq.write_table(pa.table({"jpg": pa.array(held, pa.binary()), "url": ["a", "b", "c", "d"]}), tmp_path / "a.parquet")
    found = find_source(tmp_path / "a.parquet").listing()
    assert found.uris == ["a.parquet#0", "a.parquet#2"]
    assert found.notes == ["a.parquet: 2 rows hold no picture"]
    assert found.columns == {"url": "string"}


def test_a_table_without_pictures_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://a"], "text": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(BeholderError, match="has columns url, text"):
        find_source(tmp_path / "a.parquet")


def test_rows_that_lead_out_of_the_root_or_to_the_network_are_rejected(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    paths = ["../secret.jpg", "http://example.org/a.jpg", "list.parquet", None]
    write_pictures(tmp_path, 1)
    pq.write_table(pa.table({"path": paths}), tmp_path / "out" / "list.parquet")
    found = list(pictures_of(tmp_path / "out", "list.parquet", 4))
    assert [bool(picture.reason) for picture in found] == [True] * 4
    assert "leads out of" in found[0].reason
    assert "web address" in found[1].reason
    assert dict(contents(tmp_path / "out", ["../p000.jpg", "/etc/hostname", "nothing.jpg"])) == {"nothing.jpg": None}


def pictures_of(root: Path, name: str, count: int) -> list[Picture]:
    return list(pictures(root, [f"{name}#{row}" for row in range(count)]))
