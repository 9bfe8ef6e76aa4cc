"""Filters over the items of an index: the ids of pictures for which an SQL condition holds, by DuckDB.

The condition is one expression over the columns, as after WHERE: no statement, no file, no network. It comes
from anywhere (a command line, a page), so DuckDB is closed off from the outside before it sees it, and stopped
after a time. See docs/decisions/0006-filters.md.
"""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

if TYPE_CHECKING:
    import duckdb

TIMEOUT_S = 30.0
EXAMPLE = "width >= 800 AND caption LIKE '%boat%'"
# Each of these is off before an expression is read; the lock makes it final.
CLOSED = {
    "enable_external_access": "false",  # files, network, extensions, attached databases
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # else a name may mean a variable of this program
    "memory_limit": "1GB",  # of what DuckDB allocates; the table itself is read where it lies
    "lock_configuration": "true",
}


def matching_ids(items: Any, where: str, *, timeout_s: float = TIMEOUT_S) -> NDArray[np.int64]:
    """The ids (n,), rising, of the items (pyarrow table) for which `where` is true; not where it is null.

    Raises BeholderError for an expression that is none, names other columns, or takes longer than timeout_s.
    """
    import duckdb

    if not where.strip():
        raise BeholderError("an empty filter", "a condition", f"Example: {EXAMPLE}")
    with duckdb.connect(":memory:", config=dict(CLOSED)) as connection:
        alarm = threading.Timer(timeout_s, connection.interrupt)
        alarm.start()
        try:
            kept = connection.from_arrow(items).filter(duckdb.SQLExpression(where)).project("id")
            ids = kept.fetchnumpy()["id"]
        except duckdb.InterruptException as error:
            raise BeholderError(f"the filter {where!r} took over {timeout_s:g} s", "a simpler one") from error
        except duckdb.Error as error:
            columns = ", ".join(items.column_names)
            found = f"the filter {where!r} cannot be used ({_reason(error)})"
            raise BeholderError(found, f"a condition over {columns}", f"Example: {EXAMPLE}") from error
        finally:
            alarm.cancel()
    return np.sort(np.asarray(ids, np.int64))


def _reason(error: "duckdb.Error") -> str:
    """DuckDB's own first line: the rest quotes a query that the caller did not write."""
    return str(error).splitlines()[0].strip()
