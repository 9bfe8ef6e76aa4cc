"""Protects scores on disk: another scorer's, a cut file or a score without a picture must never be taken for good."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import BeholderError, FormatError
from indexes.records.scores import (
    ScoreColumn,
    ScoreLookup,
    column_name,
    found_scores,
    read_scores,
    scores_path,
    write_scores,
)

CARD = {"unit": "1 to 10", "higher_is_better": True}


def column(*numbers, name="a-scorer", values=None):
    digests = [f"{number:064x}" for number in numbers]
    given = np.arange(len(numbers), dtype=np.float32) if values is None else np.array(values, np.float32)
    return ScoreColumn(name, "f1", CARD, digests, given)


def test_scores_come_back_as_written_by_rising_sha256(tmp_path):
    path = scores_path(tmp_path, "a-scorer")
    write_scores(path, column(7, 2, 255, values=[0.5, -1, 3e8]))
    found = read_scores(path)
    assert (found.name, found.fingerprint, found.card) == ("a-scorer", "f1", CARD)
    assert found.sha256s == [f"{number:064x}" for number in (2, 7, 255)]
    np.testing.assert_array_equal(found.values, np.array([-1, 0.5, 3e8], np.float32))
    assert found.values.dtype == np.float32
    assert [entry.name for entry in path.parent.iterdir()] == ["a-scorer.parquet"]


def test_the_order_of_scores_changes_no_byte(tmp_path):
    write_scores(tmp_path / "1", column(3, 1, 2, values=[3, 1, 2]))
    write_scores(tmp_path / "2", column(1, 2, 3, values=[1, 2, 3]))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_of_two_scores_of_one_picture_the_first_counts(tmp_path):
    write_scores(tmp_path / "s", column(5, 5, values=[1, 2]))
    assert read_scores(tmp_path / "s").values.tolist() == [1]


def test_a_folder_names_its_scorers_by_themselves_not_by_their_files(tmp_path):
    for name in ("pyiqa:musiq", "sharpness"):
        write_scores(scores_path(tmp_path, name), column(1, name=name))
    (tmp_path / "scores/.half.parquet.tmp").write_bytes(b"")
    assert {name: path.name for name, path in found_scores(tmp_path).items()} == {
        "pyiqa:musiq": "pyiqa-musiq.parquet",
        "sharpness": "sharpness.parquet",
    }
    assert found_scores(tmp_path / "nothing") == {}


def test_names_become_columns_that_sql_takes_without_quotes():
    assert column_name("beholder-appeal") == "beholder_appeal"
    assert column_name("pyiqa:ilniqe.v1") == "pyiqa_ilniqe_v1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../../x"}, "scorer named '../../x'"),
        ({"name": ""}, "scorer named ''"),
        ({"sha256s": ["0" * 63]}, "64 lower-case hex digits"),
        ({"sha256s": ["F" * 64]}, "64 lower-case hex digits"),
        ({"values": np.array([np.nan], np.float32)}, "1 scores that are not finite"),
        ({"values": np.zeros(2, np.float32)}, r"1 sha256s, scores of shape \(2,\)"),
    ],
)
def test_a_column_that_is_none_is_refused(change, message):
    good = {"name": "n", "fingerprint": "f", "card": {}, "sha256s": ["0" * 64], "values": np.zeros(1, np.float32)}
    with pytest.raises(BeholderError, match=message):
        ScoreColumn(**{**good, **change})


def test_files_that_are_no_scores_are_refused(tmp_path):
    path = tmp_path / "s.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="cannot be read"):
        read_scores(path)
    pq.write_table(pa.table({"sha256": ["0" * 64], "score": [1.0]}), path)
    with pytest.raises(FormatError, match="does not say which scorer"):
        read_scores(path)
    write_scores(path, column(1, 2, 3))
    metadata = {b"beholder": pq.read_schema(path).metadata[b"beholder"].replace(b'"format": 1', b'"format": 2')}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(FormatError, match="format 2; expected at most 1"):
        read_scores(path)


def test_a_cut_file_is_refused(tmp_path):
    write_scores(tmp_path / "s", column(*range(100)))
    content = (tmp_path / "s").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "s").write_bytes(content[:length])
        with pytest.raises(FormatError, match="cannot be read"):
            read_scores(tmp_path / "s")


def test_scores_are_looked_up_by_sha256_and_missing_ones_are_nan():
    lookup = ScoreLookup(column(9, 256, 1 << 250, values=[1, 2, 3]))
    found = lookup.of([f"{number:064x}" for number in (1 << 250, 10, 9, 256, 0, 9)])
    np.testing.assert_array_equal(found, np.array([3, np.nan, 1, 2, np.nan, 1], np.float32))
    assert np.isnan(ScoreLookup(column()).of(["0" * 64])).all()
