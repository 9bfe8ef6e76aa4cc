"""Protects the tables of runs: what is chosen, columns that nobody needs left out, long and wide by hand."""

from pathlib import Path

import pytest

from benchmarks.report import RESULTS, find_blocks, render, report
from benchmarks.run_table import chosen, long_table, wide_table
from benchmarks.runs import Number, Run, write_run
from indexes.errors import ConditionFailed, FormatError

NUMBERS = {
    "base: agreement": Number(0.444, low=0.365, high=0.518, n=98, chance=0.5),
    "base: gain": Number(12.34, "points", n=72),
    "cascade, b = 1: agreement": Number(0.79, low=0.745, high=0.835, n=98, chance=0.5),
}
RUN = Run("tiny", "beholder bench look t.tsv", {}, 0, {}, NUMBERS, ("A note.",))


def test_wide_by_hand() -> None:
    table = wide_table(NUMBERS)
    assert table.markdown() == [
        "|  | agreement (n = 98) | gain (n = 72) |",
        "| --- | ---: | ---: |",
        "| base | 44.4 % (36.5 to 51.8) | 12.3 points |",
        "| cascade, b = 1 | 79.0 % (74.5 to 83.5) |  |",
        "| chance | 50.0 % |  |",
    ]


def test_columns_that_differ_in_n_or_chance_do_not_claim_one() -> None:
    table = wide_table({"a: x": Number(0.5, n=3, chance=0.1), "b: x": Number(0.6, n=4, chance=0.2)})
    assert table.columns == ("", "x")
    assert [row[0] for row in table.rows] == ["a", "b"]


def test_a_name_without_a_column_has_no_place() -> None:
    with pytest.raises(FormatError, match="'median' has no place"):
        wide_table({"base: x": Number(1.0), "median": Number(1.0)})


def test_a_source_column_only_where_something_was_not_measured() -> None:
    assert "source" not in long_table(NUMBERS).columns
    quoted = {**NUMBERS, "paper": Number(0.783, source="quoted from Wang et al. 2024, table 3")}
    table = long_table(quoted)
    assert table.columns[-1] == "source"
    assert [row[-1] for row in table.rows] == ["measured here"] * 3 + ["quoted from Wang et al. 2024, table 3"]
    assert table.markdown()[1] == "| --- | ---: | ---: | ---: | ---: | --- |"


def test_patterns_choose_in_their_order_and_a_stale_one_is_named() -> None:
    assert list(chosen(RUN, ["cascade*", "base: ?ain"])) == ["cascade, b = 1: agreement", "base: gain"]
    assert chosen(RUN, []) == NUMBERS
    with pytest.raises(FormatError, match=r"fits 'aligned\*'"):
        chosen(RUN, ["base*", "aligned*"])


def test_a_block_says_how_many_numbers_it_leaves_out() -> None:
    assert "\n2 of the 3 numbers of this run.  \n" in render(RUN, ["*: agreement"])
    assert "numbers of this run" not in render(RUN)
    assert render(RUN, bare=True) == "\n".join(long_table(NUMBERS).markdown()) + "\n"


def test_blocks_with_patterns_and_layout(tmp_path: Path) -> None:
    write_run(tmp_path / RESULTS / "tiny.json", RUN)
    text = "<!-- results:tiny | cascade, b = 1*: * | base*agreement | wide | bare -->\n<!-- end -->\n"
    block = find_blocks(text)[0]
    assert (block.names, block.patterns) == (("tiny",), ("cascade, b = 1*: *", "base*agreement"))
    assert block.wide
    assert block.bare
    (tmp_path / "README.md").write_text(text)
    report(tmp_path)
    written = (tmp_path / "README.md").read_text()
    assert (
        "| cascade, b = 1 | 79.0 % (74.5 to 83.5) |\n| base | 44.4 % (36.5 to 51.8) |\n| chance | 50.0 % |" in written
    )
    report(tmp_path, check=True)
    (tmp_path / "README.md").write_text(text.replace("base*", "aligned*"))
    with pytest.raises(ConditionFailed, match="no number of tiny fits"):
        report(tmp_path, check=True)


def test_intervals_over_queries_and_ranges_of_repeats_in_one_table_are_both_named() -> None:
    mixed = {"recall": Number(0.9, low=0.8, high=1.0, n=9), "speed": Number(2.0, "ms", 1.0, 3.0, 5, spread="range")}
    assert long_table(mixed).columns[2:] == ("95 % interval; of repeats: lowest to highest", "n, or repeats")
    assert long_table({"speed": mixed["speed"]}).columns[2:] == ("lowest to highest", "repeats")
