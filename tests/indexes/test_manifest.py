"""Protects what makes a folder ours: another kind, a newer format, a cut or changed file must never be read."""

import json

import pytest

from indexes.errors import FormatError
from indexes.records.manifest import (
    FileRecord,
    check_file,
    read_manifest,
    record_file,
    write_bytes_atomic,
    write_manifest,
)


def test_a_manifest_comes_back_as_written(tmp_path):
    write_manifest(tmp_path, "k", 1, {"a": [1, "é"]})
    assert read_manifest(tmp_path, "k", 1) == {"kind": "k", "format": 1, "a": [1, "é"]}


def test_the_same_content_is_the_same_bytes(tmp_path):
    write_manifest(tmp_path, "k", 1, {"b": 1, "a": 2})
    before = (tmp_path / "manifest.json").read_bytes()
    write_manifest(tmp_path, "k", 1, {"a": 2, "b": 1})
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_a_newer_format_is_refused_with_both_numbers(tmp_path):
    write_manifest(tmp_path, "k", 3, {})
    with pytest.raises(FormatError, match=r"format 3.*at most 2"):
        read_manifest(tmp_path, "k", 2)


def test_older_formats_are_upgraded_one_step_at_a_time(tmp_path):
    write_manifest(tmp_path, "k", 1, {"size": "4"})
    steps = {1: lambda c: {**c, "size": int(c["size"])}, 2: lambda c: {**c, "size": c["size"] * 10}}
    assert read_manifest(tmp_path, "k", 3, steps)["size"] == 40
    assert json.loads((tmp_path / "manifest.json").read_bytes())["format"] == 1, "in memory only"


def test_another_kind_is_refused(tmp_path):
    write_manifest(tmp_path, "k", 1, {})
    with pytest.raises(FormatError, match="kind k; expected other"):
        read_manifest(tmp_path, "other", 1)


@pytest.mark.parametrize("content", [b"", b'{"kind": "k", "form', b"[]", b"\xff", b'{"kind": "k", "format": "1"}'])
def test_a_cut_or_senseless_manifest_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(FormatError) as error:
        read_manifest(tmp_path, "k", 1)
    assert "\n" not in str(error.value)


def test_a_missing_folder_and_an_unfinished_one_are_told_apart(tmp_path):
    with pytest.raises(FormatError, match="there is no folder"):
        read_manifest(tmp_path / "x", "k", 1)
    with pytest.raises(FormatError, match=r"has no manifest\.json"):
        read_manifest(tmp_path, "k", 1)


def test_a_file_is_checked_byte_by_byte(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    record = record_file(tmp_path, "a")
    check_file(tmp_path, record)
    for content in (b"1234", b"12346"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(FormatError, match="changed or cut"):
            check_file(tmp_path, record)
    (tmp_path / "a").unlink()
    with pytest.raises(FormatError, match="missing"):
        check_file(tmp_path, record)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path):
    with pytest.raises(FormatError, match="inside the folder"):
        check_file(tmp_path, FileRecord(path, 1, "0"))


def test_an_atomic_write_leaves_no_temporary_file(tmp_path):
    write_bytes_atomic(tmp_path / "a", b"1")
    write_bytes_atomic(tmp_path / "a", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"2"
