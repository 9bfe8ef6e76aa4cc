"""Hugging Face datasets on disk (`Dataset.save_to_disk`): Arrow files, memory-mapped, read by row number."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from indexes.errors import FormatError

from .archives import Columns, Members, Picture
from .picture_rows import carried_columns, carried_sources, folders_of, picture_column, picture_of

ROWS = 32  # per read


def is_dataset(path: Path) -> bool:
    """One split, as `Dataset.save_to_disk` leaves it."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def splits(folder: Path) -> list[str]:
    """Names of the splits of a `DatasetDict.save_to_disk`, which are folders; [] of any other folder."""
    path = folder / "dataset_dict.json"
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_bytes())["splits"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} names no splits", "a dataset on disk", "Save it again.") from error
    return [name for name in names if is_dataset(folder / name)]


class DatasetArchive:
    """A dataset of one split. Members are row numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def dataset(self) -> Any:
        import datasets

        try:
            found: Any = datasets.load_from_disk(str(self.path))
        except Exception as error:  # the library raises whatever its readers raise
            reason = f"{type(error).__name__}: {error}"
            raise FormatError(
                f"{self.path} cannot be read ({reason})", "a dataset on disk", "Save it again."
            ) from error
        for name, feature in found.features.items():
            if isinstance(feature, datasets.Image):
                found = found.cast_column(name, datasets.Image(decode=False))
        return found.with_format(None)

    @cached_property
    def schema(self) -> Any:
        return self.dataset.features.arrow_schema

    @cached_property
    def column(self) -> str:
        return picture_column(self.schema, str(self.path))

    @cached_property
    def labels(self) -> dict[str, list[str]]:
        features = self.dataset.features
        return {name: list(feature.names) for name, feature in features.items() if hasattr(feature, "names")}

    def members(self) -> Members:
        return Members([str(row) for row in range(len(self.dataset))])

    def columns(self) -> Columns:
        return carried_columns(self.schema, self.column, self.labels)

    def folders(self) -> list[Path]:
        """Where the pictures of the first rows lie, if not in the dataset itself."""
        head = self.dataset.select_columns([self.column])[: min(ROWS, len(self.dataset))][self.column]
        return folders_of(head, self.path)

    def pictures(self, names: Sequence[str], root: Path) -> Iterator[Picture]:
        columns = [self.column, *carried_sources(self.schema, self.column)]
        rows = self.dataset.select_columns(columns)
        for start in range(0, len(names), ROWS):
            part = names[start : start + ROWS]
            known = [name for name in part if name.isdecimal() and int(name) < len(rows)]
            batch = rows[[int(name) for name in known]] if known else {}
            for name in part:
                if name not in known:
                    yield Picture(name, reason="is not in the dataset any more")
                    continue
                at = known.index(name)
                values = {column: batch[column][at] for column in columns}
                yield picture_of(name, values.pop(self.column), values, self.labels, self.path, root)
