"""What an open INDEX knows of its scorers: their values by id, which beauty weights may be asked for, and how hard a
search with them looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.engine.factories import parse
from indexes.errors import BeholderError
from indexes.records.beauty import parameters_at, weights_of
from indexes.records.score_columns import ScoreFile, ScoreRecord
from indexes.records.segments import IndexManifest

PERCENTILE = "_percentile"  # behind a scorer's column: where a picture stands, 0 to 1


class Scores:
    """The scorers of an open index. Files are opened here and read when first asked for."""

    def __init__(self, folder: Path, manifest: IndexManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.files = {record.name: ScoreFile(folder, record) for record in manifest.scores}
        self._steps = {record.name: record.steps for record in manifest.in_index}
        # An index without scorers may be of a kind that Beholder does not build, and is searched all the same.
        made = parse(manifest.factory) if manifest.in_index else None
        self._exact = made is not None and made.parameter is None and not made.lossy

    def of(self, name: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(scores, percentiles) float32 in the shape of ids; NaN where a picture has none."""
        scores, shares = self.files[self.known(name)].values().at(np.asarray(ids, np.int64))
        return scores, shares.astype(np.float32)

    def known(self, name: str) -> str:
        """The name of a scorer; "" is the default one. Raises BeholderError with the list for another."""
        names = [record.name for record in self.manifest.scores]
        if not name:
            default = next((record.name for record in self.manifest.scores if record.default), None)
            if default is None:
                offered = [record.name for record in self.manifest.in_index] or names
                raise BeholderError(
                    f"{self.folder} has no default scorer",
                    f"a scorer's name ({', '.join(offered)})" if offered else "an index with scores",
                    f"Example: --beauty {offered[0]}:1" if offered else self._how("NAME"),
                )
            return default
        if name not in self.files:
            listed = f"one of {', '.join(names)}" if names else "an index with scores"
            raise BeholderError(f"{self.folder} has no scores of {name}", listed, self._how(name))
        return name

    def _how(self, name: str) -> str:
        return f"beholder score EMBEDDINGS --scorer {name}, then beholder index build --score {name}"

    def weights(self, beauty: Mapping[str, float] | None) -> dict[str, float]:
        """The beauty weights by scorer, those of 0 left out. Raises BeholderError for a scorer that is not in the
        index's dimensions, or where the spread of relevance is not known."""
        named: dict[str, float] = {}
        for given, b in (beauty or {}).items():
            name = self.known(given)
            if name in named:
                raise BeholderError(f"two beauty weights for {name}", "one")
            named[name] = b
        weights_of(named, list(named), 1.0)  # finite numbers
        for name in (name for name, b in named.items() if b):
            if not self.files[name].record.in_index:
                remedy = f"beholder index compact {self.folder} takes it in; --where and --sort use it as it is."
                raise BeholderError(f"{name} is not among the dimensions of {self.folder}", "a scorer that is", remedy)
            if self.manifest.spread is None:
                remedy = f"beholder index tune {self.folder} --queries FILE measures it, on text queries."
                raise BeholderError(f"{self.folder} does not know how far relevance spreads", "its spread", remedy)
        return {name: float(b) for name, b in named.items() if b}

    def vector(self, weights: Mapping[str, float]) -> NDArray[np.float32] | None:
        """b * spread (S,) in the order of the index's dimensions; None where all are 0."""
        if not weights or self.manifest.spread is None:
            return None
        names = [record.name for record in self.manifest.in_index]
        return weights_of(weights, names, float(self.manifest.spread["value"]))

    def parameters(self, weights: Mapping[str, float]) -> dict[str, int] | None:
        """The search parameters for beauty weights; None where only exact search meets the index's target."""
        plain = {name: value for name, value in self.manifest.parameters.items() if isinstance(value, int)}
        return plain if self._exact else parameters_at(weights, self._steps, plain)

    def with_columns(self, items: Any) -> Any:
        """The items (pyarrow table) with two columns per scorer: its score and its percentile, null where a picture
        has none. A column that the source has under the same name keeps it; ours is then `<name>_score`."""
        ids = items.column("id").to_numpy()
        for record in self.manifest.scores:
            for column, values in zip(_columns(record, items.column_names), self.of(record.name, ids), strict=True):
                items = items.append_column(column, pa.array(values, from_pandas=True))  # NaN becomes null
        return items

    def columns(self, taken: Sequence[str]) -> list[str]:
        """The names that `with_columns` gives to the scores where the items have columns of the names `taken`."""
        names = list(taken)
        for record in self.manifest.scores:
            names += _columns(record, names)
        return names[len(taken) :]


def _columns(record: ScoreRecord, taken: Sequence[str]) -> tuple[str, str]:
    lower = {name.lower() for name in taken}  # SQL does not tell cases apart
    base = record.column
    if base.lower() in lower or (base + PERCENTILE).lower() in lower:
        base += "_score"
    return base, base + PERCENTILE
