"""The table of preferences: round trip, damage, kinds and formats; lists that cannot be learnt from are refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import BeholderError, FormatError
from rl.grids import grid_chains, grid_prefer, pairs_of
from rl.preferences import SCHEMA, PreferenceList, read_preferences, refuse_evaluation, write_preferences

PICTURES = tuple(f"{number:064x}" for number in range(6))


def some(query="a harbour", **changes):
    better, worse = pairs_of(grid_prefer(2, 3))
    chains = tuple(tuple(chain) for chain in grid_chains(2, 3))
    given = {"better": tuple(better), "worse": tuple(worse), "chains": chains, "provenance": {"rewrite": "x"}}
    return PreferenceList(query, PICTURES, **{**given, **changes})


@pytest.fixture
def path(tmp_path):
    write_preferences(
        tmp_path / "p.parquet",
        [some(), some("a field", levels=(6, 5, 4, 3, 2, 1), reference="grass")],
        {"made": "test"},
    )
    return tmp_path / "p.parquet"


def test_what_is_written_is_read_and_the_same_bytes(path, tmp_path):
    found = read_preferences(path)
    assert found.lists == (some(), some("a field", levels=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0), reference="grass"))
    assert found.origin == {"made": "test"}
    assert found.sha256s() == set(PICTURES)
    write_preferences(tmp_path / "again.parquet", found.lists, found.origin)
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_pairs_become_the_matrix_they_came_from(path):
    assert (read_preferences(path).lists[0].prefer() == grid_prefer(2, 3)).all()


def test_a_damaged_or_missing_file_is_one_line(path, tmp_path):
    with pytest.raises(BeholderError, match="is not there"):
        read_preferences(tmp_path / "none.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        read_preferences(path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "votes", "format": "1", "origin": "{}"}, "is votes"),
        ({}, "something else"),
        ({"kind": "beholder-preferences", "format": "3", "origin": "{}"}, "format 3; expected 2 or older"),
    ],
)
def test_other_kinds_and_newer_formats_are_refused(tmp_path, told, message):
    table = pa.Table.from_pylist([some().to_row()], schema=SCHEMA.with_metadata(told))
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(FormatError, match=message):
        read_preferences(tmp_path / "p.parquet")


@pytest.mark.parametrize("count", [0, 1])
def test_a_table_of_format_1_has_no_reference_but_the_query(tmp_path, count):
    row = some().to_row()
    del row["reference"]
    told = {"kind": "beholder-preferences", "format": "1", "origin": "{}"}
    older = pa.schema([field for field in SCHEMA if field.name != "reference"], metadata=told)
    pq.write_table(pa.Table.from_pylist([row] * count, schema=older), tmp_path / "p.parquet")
    assert read_preferences(tmp_path / "p.parquet").lists == (some(),) * count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": " "}, "without a query"),
        ({"reference": " "}, "a reference without words"),
        ({"better": (0, 1), "worse": (1, 0)}, "in a circle"),
        ({"better": (0,), "worse": ()}, "1 better, 0 worse"),
        ({"better": (0,), "worse": (6,)}, "names place 6"),
        ({"levels": (1.0, 2.0)}, "2 levels of 6"),
        ({"levels": (1.0, 2.0, float("nan"), 3.0, 4.0, 5.0)}, "not numbers"),
        ({"chains": ((0, 9),)}, "names place 9"),
    ],
)
def test_lists_that_are_no_order_are_refused(changes, message):
    with pytest.raises(BeholderError, match=message):
        some(**changes)


def test_a_picture_may_stand_in_a_list_once():
    with pytest.raises(BeholderError, match="twice"):
        PreferenceList("q", ("a", "a"))


def test_a_bad_list_in_a_file_is_named_by_its_number(tmp_path):
    rows = [some().to_row(), {**some().to_row(), "better": [0, 1], "worse": [1, 0]}]
    told = {"kind": "beholder-preferences", "format": "2", "origin": "{}"}
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(told)), tmp_path / "p.parquet")
    with pytest.raises(FormatError, match="list 2"):
        read_preferences(tmp_path / "p.parquet")


def test_pictures_kept_for_evaluation_are_refused():
    refuse_evaluation([some()], {"ff" * 32})
    with pytest.raises(BeholderError, match="1 lists hold pictures that are kept for evaluation \\(first: 'a harbour'"):
        refuse_evaluation(
            [
                some(),
                some(
                    "b",
                ),
            ][:1],
            {PICTURES[3]},
        )
