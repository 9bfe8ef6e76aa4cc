"""The values behind a run's numbers, one per query, beside its JSON: what two runs must keep to be compared query by
query.

NAME.queries.npz holds, for each number, its values (Q,) in the order of the queries, and a digest of what those queries
were asked against. They are worked out again by the run's own command, so git ignores them.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexes.errors import FormatError
from indexes.records.manifest import sha256_bytes, write_bytes_atomic

SUFFIX = ".queries.npz"
ABOUT = "about"  # entry of the archive: JSON, by name of a number
VALUES = "values/"
CLOSE = 1e-6  # of a number's value: these were not worked out with it where their middle differs by more


@dataclass(frozen=True)
class PerQuery:
    """values: float64 (Q,), finite. queries: a digest; two with the same one asked the same queries in the same order.
    of_ranks: the number is their median, else their mean."""

    values: npt.NDArray[np.float64]
    queries: str
    of_ranks: bool = False

    @property
    def middle(self) -> float:
        return float(np.median(self.values) if self.of_ranks else self.values.mean())


def digest_of(parts: Iterable[object]) -> str:
    """sha256 of what names the queries: their texts, what is relevant to each, what they were asked against."""
    return sha256_bytes("\n".join(map(repr, parts)).encode())


def path_beside(run: Path) -> Path:
    """Where the values of a run's JSON lie."""
    return run.with_name(run.stem + SUFFIX)


def write_per_query(run: Path, found: Mapping[str, PerQuery]) -> None:
    """Writes the values beside a run's JSON; without any, those of an older run are removed. The same values give the
    same bytes."""
    path = path_beside(run)
    if not found:
        path.unlink(missing_ok=True)
        return
    about = {name: {"queries": one.queries, "of_ranks": one.of_ranks} for name, one in found.items()}
    arrays = {f"{VALUES}{place}": np.asarray(one.values, np.float64) for place, one in enumerate(found.values())}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{ABOUT: text}, **arrays)
    write_bytes_atomic(path, buffer.getvalue())


def read_per_query(run: Path, numbers: Mapping[str, float]) -> dict[str, PerQuery]:
    """The values beside a run's JSON by the name of its number; {} where none are kept. numbers: the run's values by
    name. Raises FormatError for a file that is damaged, or whose values are not those of the numbers."""
    path = path_beside(run)
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = json.loads(archive[ABOUT].tobytes())
            found = {
                name: PerQuery(archive[f"{VALUES}{place}"].astype(np.float64), one["queries"], bool(one["of_ranks"]))
                for place, (name, one) in enumerate(about.items())
            }
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        problem = f"{path.name} does not hold values per query ({error})"
        raise FormatError(problem, "what `bench` wrote", "Delete it, or run the benchmark again.") from error
    for name, one in found.items():
        if name not in numbers or not len(one.values) or not abs(one.middle - numbers[name]) <= CLOSE:
            problem = f"{path.name} is of another run: its values of {name!r} do not give the number"
            raise FormatError(problem, f"the values of {run.name}", "Delete it, or run the benchmark again.")
    return found
