"""Protects the values per query beside a run: round trip, the run's own and no other's, the same bytes again."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.per_query import PerQuery, digest_of, path_beside, read_per_query, write_per_query
from benchmarks.runs import Number, Run, read_run, write_run
from indexes.errors import BeholderError, FormatError

ASKED = digest_of(["a dog", "a cat", "a house"])
VALUES = {
    "hit_rate@1: photos/all": PerQuery(np.array([0.0, 1.0, 1.0]), ASKED),
    "median rank": PerQuery(np.array([1.0, 2.0, 30.0]), ASKED, of_ranks=True),
}
NUMBERS = {"hit_rate@1: photos/all": 2 / 3, "median rank": 2.0, "alone": 0.5}


def run_of(values: dict[str, PerQuery]) -> Run:
    numbers = {name: Number(value) for name, value in NUMBERS.items()}
    return Run("tiny", "beholder bench look t.tsv", {}, 0, {}, numbers, per_query=values)


def test_values_come_back_as_they_went(tmp_path: Path) -> None:
    run = tmp_path / "tiny.json"
    write_per_query(run, VALUES)
    found = read_per_query(run, NUMBERS)
    assert list(found) == list(VALUES)
    for name, one in VALUES.items():
        np.testing.assert_array_equal(found[name].values, one.values)
        assert (found[name].queries, found[name].of_ranks) == (one.queries, one.of_ranks)
    before = path_beside(run).read_bytes()
    write_per_query(run, VALUES)
    assert path_beside(run).read_bytes() == before


def test_a_run_writes_them_beside_its_json_and_not_into_it(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    write_run(path, run_of(VALUES))
    assert b"per_query" not in path.read_bytes()
    assert read_run(path) == run_of(VALUES)
    assert sorted(read_per_query(path, NUMBERS)) == sorted(VALUES)
    write_run(path, run_of({}))  # measured again by a command that keeps none
    assert read_per_query(path, NUMBERS) == {}


def test_values_of_another_run_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "tiny.json"
    write_per_query(run, VALUES)
    with pytest.raises(FormatError, match="of another run"):
        read_per_query(run, {**NUMBERS, "median rank": 3.0})
    with pytest.raises(FormatError, match="of another run"):
        read_per_query(run, {"median rank": 2.0})


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"not an archive at all"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    run = tmp_path / "tiny.json"
    path_beside(run).write_bytes(content)
    with pytest.raises(FormatError, match="does not hold values per query"):
        read_per_query(run, NUMBERS)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "tiny.json"
    write_per_query(run, VALUES)
    whole = path_beside(run).read_bytes()
    for length in range(0, len(whole) - 1, 37):
        path_beside(run).write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_per_query(run, NUMBERS)


def test_other_queries_or_another_order_have_another_digest() -> None:
    assert digest_of(["a dog", "a cat", "a house"]) == ASKED
    assert digest_of(["a cat", "a dog", "a house"]) != ASKED
    assert digest_of(["a dog", "a cat"]) != ASKED


def test_a_number_says_where_it_comes_from(tmp_path: Path) -> None:
    assert Number(0.5).origin == "measured here"
    quoted = Number(0.783, source="quoted from Wang et al. 2024, table 3")
    assert quoted.origin == "quoted from Wang et al. 2024, table 3"
    path = tmp_path / "quoted.json"
    write_run(path, Run("quoted", "", {}, 0, {}, {"measured": Number(0.5), "quoted": quoted}))
    assert path.read_text().count('"source"') == 1  # a reader of before this field reads what was measured
    assert read_run(path).numbers["quoted"] == quoted
    with pytest.raises(BeholderError, match="the source 'somewhere'"):
        Number(0.5, source="somewhere")
    path.write_text(path.read_text().replace("quoted from Wang", "from Wang"))
    with pytest.raises(FormatError, match="does not hold a run"):
        read_run(path)
