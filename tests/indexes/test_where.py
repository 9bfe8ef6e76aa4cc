"""Protects filters' expressions: the right ids, nulls as SQL has them, and nothing but an expression gets through."""

import numpy as np
import pyarrow as pa
import pytest

from indexes.errors import BeholderError
from indexes.searching.where import matching_ids


@pytest.fixture(scope="module")
def table(items):
    ids = np.array([9, 4, 12, 30])
    return items(ids, style=["Cubism", "Pop Art", None, "cubism"], year=[1907, 1962, 1500, None])


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("style = 'Cubism'", [9]),
        ("style = 'Cubism' AND width >= 800", []),
        ("style = 'Cubism' OR year > 1900 AND NOT (year = 1907)", [4, 9]),
        ("style IS NULL", [12]),
        ("style <> 'Cubism'", [4, 30]),
        ("style ILIKE 'cub%'", [9, 30]),
        ("year IN (1962, 1500)", [4, 12]),
        ("width * height = 1200", [4, 9, 12, 30]),
        ("true", [4, 9, 12, 30]),
        ("caption = 'it''s'", []),
        ("\"style\" = 'Pop Art'", [4]),
    ],
)
def test_a_condition_keeps_its_rows(table, where, ids):
    found = matching_ids(table, where)
    assert found.tolist() == ids
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    "where",
    [
        "",
        "  ",
        "style =",
        "styl = 'x'",
        "width = 'wide'",
        "1=1) UNION SELECT 5 --",
        "true; DROP TABLE items",
        "true, false",
        "id = id ORDER BY id",
        "count(*) > 1",
        "id = ?",
        "id IN (SELECT 1 FROM read_csv('/etc/passwd'))",
        "id IN (SELECT 1 FROM '/etc/passwd')",
        "id IN (SELECT id FROM table)",
        "id IN (SELECT 1 FROM read_text('https://example.org'))",
    ],
)
def test_anything_else_is_one_line_that_names_the_columns(table, where):
    with pytest.raises(BeholderError) as caught:
        matching_ids(table, where)
    message = str(caught.value)
    assert "\n" not in message
    assert not where.strip() or ("uri" in message and "style" in message and "year" in message)


def test_variables_of_the_program_are_not_tables(table):
    secret = pa.table({"id": [9]})
    with pytest.raises(BeholderError, match="secret"):
        matching_ids(table, "id IN (SELECT id FROM secret)")
    assert secret.num_rows == 1


def test_a_condition_that_takes_too_long_is_stopped(table):
    with pytest.raises(BeholderError, match="took over"):
        matching_ids(table, "(SELECT count(*) FROM range(1000000000000) a WHERE a.range % 7 = 3) > id", timeout_s=0.2)
    assert matching_ids(table, "id = 9").tolist() == [9], "the next one works"


def test_an_empty_table_has_no_matches(items):
    assert matching_ids(items(np.array([], np.int64)), "width > 3").tolist() == []
