"""Scores of pictures on disk: one Parquet file per scorer, `sha256, score float32`, in the scorer's own unit.

EMBEDDINGS/scores/<scorer>.parquet, rows by rising sha256; the metadata of its schema says which scorer made them
(name, fingerprint, card). A picture is known by the sha256 of its file, so scores outlive embeddings and indexes.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError

from .manifest import publish

SCORES = "beholder-scores"
SCORES_FORMAT = 1
FOLDER = "scores"
METADATA = b"beholder"
SCHEMA: Any = pa.schema([("sha256", pa.string()), ("score", pa.float32())])
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ScoreColumn:
    """Scores of one scorer: sha256s (n,) in hex and values (n,) float32, in any order, finite.

    fingerprint: of the scorer, so that scores of two versions never meet. card: what it says of itself, as JSON;
    `higher_is_better` is read here: where it is false, the lowest score has the highest percentile.
    """

    name: str
    fingerprint: str
    card: dict[str, Any]
    sha256s: list[str]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_name(self.name)
        if np.shape(self.values) != (len(self.sha256s),):
            found = f"{len(self.sha256s)} sha256s, scores of shape {np.shape(self.values)}"
            raise BeholderError(f"{self.name}: {found}", "a score for each")
        wrong = next((text for text in self.sha256s if not HEX.fullmatch(text)), None)
        if wrong is not None:
            raise BeholderError(f"{self.name}: a score for {wrong[:80]!r}", "sha256 in 64 lower-case hex digits")
        if not np.isfinite(self.values).all():
            bad = int((~np.isfinite(self.values)).sum())
            raise BeholderError(f"{self.name}: {bad} scores that are not finite", "finite numbers", "Leave them out.")

    @property
    def lower_is_better(self) -> bool:
        return self.card.get("higher_is_better") is False

    def __len__(self) -> int:
        return len(self.sha256s)


def check_name(name: str) -> str:
    """The name. Raises BeholderError for one that is no name of a scorer: it becomes a file's."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        expected = "letters, digits and . _ : + -, at most 100, a letter or digit first"
        raise BeholderError(f"a scorer named {name!r}", expected)
    return name


def file_name(name: str) -> str:
    """The scorer's name as a file's: some systems take no colon."""
    return check_name(name).replace(":", "-")


def column_name(name: str) -> str:
    """The scorer's name as a column's, that SQL takes without quotes: `beholder-appeal` is `beholder_appeal`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", check_name(name))


def scores_path(embeddings: str | Path, name: str) -> Path:
    """Where an EMBEDDINGS folder keeps the scores of a scorer."""
    return Path(embeddings) / FOLDER / f"{file_name(name)}.parquet"


def found_scores(embeddings: str | Path) -> dict[str, Path]:
    """The scorers whose scores an EMBEDDINGS folder holds, by name, and the files. Raises FormatError for a file
    that is none."""
    paths = sorted((Path(embeddings) / FOLDER).glob("[!.]*.parquet"))
    return {str(_described(path)["name"]): path for path in paths}


def write_scores(path: str | Path, column: ScoreColumn) -> None:
    """Writes the scores atomically; the same scores, in whatever order, give the same bytes. Of several scores of
    one sha256 the first counts."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    digests, first = np.unique(np.array(column.sha256s, dtype="U64"), return_index=True)
    values = np.asarray(column.values, np.float32)[first]
    said = {"kind": SCORES, "format": SCORES_FORMAT, "name": column.name, "fingerprint": column.fingerprint}
    described = json.dumps({**said, "card": column.card}, sort_keys=True).encode()
    table = pa.table([pa.array(digests.tolist(), pa.string()), pa.array(values)], schema=SCHEMA)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(
        table.replace_schema_metadata({METADATA: described}),
        str(temporary),
        compression="zstd",
        use_dictionary=False,
        row_group_size=1 << 20,
    )
    publish(temporary, path)


def read_scores(path: str | Path) -> ScoreColumn:
    """The scores of a file that `write_scores` wrote. Raises FormatError for another, cut or newer one."""
    path = Path(path)
    said = _described(path)
    try:
        table = pq.read_table(str(path))
        if not table.schema.equals(SCHEMA) or any(column.null_count for column in table.columns):
            raise FormatError(f"{path} holds {table.schema.names}", "sha256 and score, no nulls", "Score again.")
        sha256s, values = table.column("sha256").to_pylist(), table.column("score").to_numpy()
        return ScoreColumn(said["name"], said["fingerprint"], said["card"], sha256s, np.array(values, np.float32))
    except FormatError:
        raise
    except BeholderError as error:
        raise FormatError(f"{path}: {error.found}", error.expected, "Score the pictures again.") from error
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def _described(path: Path) -> dict[str, Any]:
    """What the metadata of a file of scores says."""
    try:
        metadata = pq.read_schema(str(path)).metadata or {}
        said: Any = json.loads(metadata.get(METADATA, b"null"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(said, dict) or said.get("kind") != SCORES:
        raise FormatError(f"{path} does not say which scorer made it", "a file of scores", "Score the pictures again.")
    if not isinstance(said.get("format"), int) or not 1 <= said["format"] <= SCORES_FORMAT:
        raise FormatError(f"{path} has format {said.get('format')}", f"at most {SCORES_FORMAT}", "Install a newer one.")
    texts = isinstance(said.get("name"), str) and isinstance(said.get("fingerprint"), str)
    if not texts or not isinstance(said.get("card"), dict):
        raise FormatError(f"{path} lacks a name, fingerprint or card", "a file of scores", "Score the pictures again.")
    return said


def _unreadable(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path} cannot be read ({error})", "a file of scores", "Score the pictures again.")


class ScoreLookup:
    """Scores by sha256, 36 bytes each: quick for many pictures at a time."""

    def __init__(self, column: ScoreColumn) -> None:
        keys = _keys(column.sha256s)
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], np.asarray(column.values, np.float32)[order]

    def of(self, sha256s: list[str]) -> NDArray[np.float32]:
        """The scores (n,) of pictures (n,); NaN where there is none."""
        wanted = _keys(sha256s)
        if not len(self._keys):
            return np.full(len(wanted), np.nan, np.float32)
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[places] == wanted, self._values[places], np.float32(np.nan)).astype(np.float32)


def _keys(sha256s: list[str]) -> NDArray[Any]:
    """32 bytes per digest. Raises FormatError for one that is none."""
    try:
        joined = bytes.fromhex("".join(sha256s))
    except (ValueError, TypeError) as error:
        raise FormatError(f"items with a sha256 that is none ({error})", "64 hex digits each") from error
    if len(joined) != 32 * len(sha256s):
        raise FormatError("items with a sha256 that is none", "64 hex digits each")
    return np.frombuffer(joined, dtype="S32")
