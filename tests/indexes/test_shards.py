"""Protects the EMBEDDINGS folder: the same rows are the same bytes, and damage is found before it is searched."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import record_file
from indexes.records.shards import ITEM_COLUMNS, Embeddings, EmbeddingsManifest, EncoderRecord, verify, write_shard


@pytest.fixture
def folder(tmp_path, vectors, embeddings):
    return embeddings(tmp_path / "e", vectors(1200, 16), shard=500)


def change_manifest(folder, change):
    content = json.loads((folder / "manifest.json").read_bytes())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def test_rows_come_back_as_written(folder, vectors):
    opened = Embeddings(folder)
    blocks = list(opened.blocks(rows=300))
    assert [len(ids) for ids, _ in blocks] == [300, 200, 300, 200, 200]
    np.testing.assert_array_equal(np.concatenate([v for _, v in blocks]), vectors(1200, 16).astype(np.float16))
    ids = np.concatenate([ids for ids, _ in blocks])
    np.testing.assert_array_equal(ids, opened.items().column("id").to_numpy())
    assert opened.items().column("uri").to_pylist() == [f"{i}.jpg" for i in ids]
    assert len(opened) == 1200
    assert verify(folder) == 7


def test_blocks_are_views_of_the_file_and_outlive_the_reader(folder):
    blocks = [block for block, _ in zip(Embeddings(folder).blocks(), range(2), strict=False)]
    assert all(not part.flags.owndata and not part.flags.writeable for block in blocks for part in block)
    assert np.isfinite(blocks[0][1]).all()


def test_the_same_rows_are_the_same_bytes_however_the_table_is_chunked(tmp_path, vectors, items):
    ids, rows = np.arange(50), vectors(50, 8)
    pieces = pa.concat_tables([items(ids[:20]), items(ids[20:])]).replace_schema_metadata({"pandas": "3.1"})
    one = write_shard(tmp_path / "a", 3, ids, rows, items(ids))
    assert write_shard(tmp_path / "b", 3, ids, rows.astype(np.float64), pieces) == one
    assert one.vectors.path == "shards/00003.arrow"
    assert one.items.path == "items/00003.parquet"
    left = {path.name for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert left == {"00003.arrow", "00003.parquet"}


def test_a_shard_may_be_empty(tmp_path, vectors, items):
    record = write_shard(tmp_path, 0, np.arange(0), vectors(0, 8), items(np.arange(0)))
    assert record.count == 0


def test_extra_columns_are_kept_and_null_where_a_shard_lacks_them(tmp_path, vectors, items):
    ids = np.arange(4)
    shards = (
        write_shard(tmp_path, 0, ids[:2], vectors(2, 8), items(ids[:2])),
        write_shard(tmp_path, 1, ids[2:], vectors(2, 8), items(ids[2:], style=["a", "b"])),
    )
    (tmp_path / "r").write_bytes(b"")
    EmbeddingsManifest(EncoderRecord("n", "i", "t", 8, {}), "p", 4, record_file(tmp_path, "r"), shards, 4, {}).write(
        tmp_path
    )
    assert Embeddings(tmp_path).items().column("style").to_pylist() == [None, None, "a", "b"]


@pytest.mark.parametrize("bad", [2.0, 0.0, np.nan, np.inf])
def test_rows_that_are_not_of_length_one_are_refused(tmp_path, vectors, items, bad):
    rows = vectors(5, 8)
    rows[3] *= bad
    with pytest.raises(BeholderError, match="row 3 has length"):
        write_shard(tmp_path, 0, np.arange(5), rows, items(np.arange(5)))


def test_items_of_other_ids_other_counts_or_other_columns_are_refused(tmp_path, vectors, items):
    rows, table = vectors(5, 8), items(np.arange(5))
    for ids, held in [(np.arange(5), items(np.arange(1, 6))), (np.arange(5), table[:4]), (np.arange(4), table)]:
        with pytest.raises(BeholderError):
            write_shard(tmp_path, 0, ids, rows, held)
    with pytest.raises(BeholderError, match="Cast the table"):
        write_shard(tmp_path, 0, np.arange(5), rows, table.set_column(3, "width", pa.array(np.arange(5))))


@pytest.mark.parametrize("name", ["shards/00001.arrow", "items/00001.parquet"])
def test_a_cut_file_is_refused_at_opening(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-10])
    with pytest.raises(FormatError, match=r"expected \d+ bytes"):
        Embeddings(folder)


@pytest.mark.parametrize("name", ["shards/00001.arrow", "items/00001.parquet"])
def test_a_changed_byte_is_found_by_verify(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(FormatError, match="changed or cut"):
        verify(folder)


def test_a_cut_file_with_a_matching_record_is_an_error_of_ours(folder):
    (folder / "shards/00001.arrow").write_bytes((folder / "shards/00001.arrow").read_bytes()[:-10])
    size = (folder / "shards/00001.arrow").stat().st_size
    change_manifest(folder, lambda content: content["shards"][1]["vectors"].update(bytes=size))
    with pytest.raises(FormatError, match="cannot be read"):
        list(Embeddings(folder).blocks())


def test_verify_finds_an_id_that_is_used_twice(tmp_path, vectors, items):
    ids = np.array([0, 1, 1])
    shard = write_shard(tmp_path, 0, ids, vectors(3, 8), items(ids))
    (tmp_path / "r").write_bytes(b"")
    manifest = EmbeddingsManifest(
        EncoderRecord("n", "i", "t", 8, {}), "p", 3, record_file(tmp_path, "r"), (shard,), 3, {}
    )
    manifest.write(tmp_path)
    with pytest.raises(FormatError, match="an id twice"):
        verify(tmp_path)


def test_verify_finds_items_swapped_between_shards(folder):
    tables = [pq.read_table(folder / f"items/0000{n}.parquet") for n in (0, 1)]
    for number, table in enumerate(reversed(tables)):
        pq.write_table(table, folder / f"items/0000{number}.parquet")
        record = record_file(folder, f"items/0000{number}.parquet")
        change_manifest(folder, lambda c, n=number, r=record: c["shards"][n].update(items=vars(r)))
    with pytest.raises(FormatError, match="other ids"):
        verify(folder)


def test_the_manifest_comes_back_as_written(folder):
    manifest = EmbeddingsManifest.read(folder)
    assert manifest.dimension == 16
    assert manifest.next_id == 1200 + 3 * 7
    before = (folder / "manifest.json").read_bytes()
    manifest.write(folder)
    assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("path", ["../x.arrow", "/etc/passwd", "..\\x"])
def test_paths_that_leave_the_folder_are_refused_at_opening(folder, path):
    change_manifest(folder, lambda content: content["shards"][0]["vectors"].update(path=path))
    with pytest.raises(FormatError, match="leaves the folder"):
        Embeddings(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format=2), "format 2; expected at most 1"),
        (lambda content: content.update(kind="beholder-index"), "kind beholder-index"),
        (lambda content: content.pop("encoder"), "no 'encoder'"),
        (lambda content: content.update(count=3), "the shards hold 1200"),
        (lambda content: content["encoder"].update(width=0), "width 0"),
        (lambda content: content["shards"][0].update(weird=1), "weird"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_one_line(folder, change, message):
    change_manifest(folder, change)
    with pytest.raises(FormatError, match=message) as error:
        Embeddings(folder)
    assert "\n" not in str(error.value)


def test_item_columns_are_the_documented_ones():
    assert ITEM_COLUMNS.names == ["id", "uri", "sha256", "width", "height", "bytes", "caption"]
