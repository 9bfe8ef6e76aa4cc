"""What is looked for: texts, pictures, vectors and pictures of the index, each with a weight of either sign.

Every part becomes a unit vector v of the encoder's space, and the query is

    q = sum_i w_i v_i / |sum_i w_i v_i|

so the relevance of a picture x is a weighted sum of its relevances to the parts, q . x = sum_i w_i (v_i . x) / n, with
one n for the whole query: a weight says how much a part's cosine counts, a negative one counts it against the picture.
Cosines of picture and picture are higher and spread wider than those of text and picture, so a picture usually needs
a smaller weight than a text to count as much.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

Kind = Literal["text", "image", "vector", "like"]
VALUES: dict[str, type[Any]] = {"text": str, "image": bytes, "vector": np.ndarray, "like": int}
NOT_WEIGHT = -0.5  # of --not TEXT: half a part leaves "a harbour" a harbour, where a whole one makes it "no people"
WEIGHT = re.compile(r"(?P<rest>.*):(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))", re.DOTALL)
SMALLEST = 1e-6  # length of a sum of parts below which they cancel out


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a query. value: text; bytes of a picture's file; vector (D,), of any length; id of a picture in the
    index. name: what output calls it, where the value itself cannot be shown. Raises BeholderError for a part that is
    empty, of another type, or has no weight."""

    kind: Kind
    value: Any
    weight: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in VALUES:
            raise BeholderError(f"a part of kind {self.kind!r}", ", ".join(VALUES))
        if not isinstance(self.value, VALUES[self.kind]) or isinstance(self.value, bool):
            expected = VALUES[self.kind].__name__
            raise BeholderError(f"a part of kind {self.kind} that is a {type(self.value).__name__}", expected)
        if not np.isfinite(self.weight) or self.weight == 0:
            raise BeholderError(f"{self.label} has the weight {self.weight:g}", "a number other than 0")
        value: Any = self.value
        if self.kind == "text" and not value.strip():
            raise BeholderError("a text is empty", "words", "Say what to look for.")
        if self.kind == "vector" and not (value.ndim == 1 and np.isfinite(value).all() and value.any()):
            raise BeholderError(f"{self.label} of shape {value.shape}", "one row of finite numbers, not all 0")

    @property
    def label(self) -> str:
        if self.name:
            return self.name
        return {"text": str(self.value), "like": f"#{self.value}"}.get(self.kind, self.kind)


@dataclass(frozen=True, eq=False)
class Query:
    """The parts of one query, at least one."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise BeholderError("a query without parts", "a text, a picture, a vector or the id of a picture")

    @classmethod
    def of(cls, text: str) -> "Query":
        """A query of one text."""
        return cls((Part("text", text),))

    @property
    def label(self) -> str:
        """One line that names the query: the text itself, where that is all."""
        first, *others = self.parts
        line = _weighted(first, alone=True)
        for part in others:
            line += f" {'-' if part.weight < 0 else '+'} {_weighted(part)}"
        return line

    @property
    def plain(self) -> str | None:
        """The text, where that and nothing else is the query."""
        first = self.parts[0]
        return first.value if len(self.parts) == 1 and first.kind == "text" and first.weight == 1 else None

    @property
    def likes(self) -> tuple[int, ...]:
        """The ids of the pictures that others shall be like: results leave them out."""
        return tuple(part.value for part in self.parts if part.kind == "like")


def _weighted(part: Part, *, alone: bool = False) -> str:
    weight = part.weight if alone else abs(part.weight)
    return part.label if weight == 1 else f"{weight:g} * {part.label}"


def combine(vectors: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """The query (D,), of length 1, of the parts' vectors (P, D) with one weight each. The vectors may have any length
    but 0. Raises BeholderError where the parts cancel out."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = np.asarray(weights, np.float64) @ units
    length = float(np.linalg.norm(total))
    if length < SMALLEST * float(np.abs(weights).sum()):
        raise BeholderError("the parts of the query cancel out", "a sum that points somewhere", "Change a weight.")
    unit: NDArray[np.float32] = (total / length).astype(np.float32)
    return unit


def split_weight(given: str, default: float = 1.0) -> tuple[str, float]:
    """(text, weight) of "TEXT:W": what follows the last colon, where it is a number. A text that itself ends so needs
    a weight of its own. Raises BeholderError for one that could be meant either way, as "at 12:30"."""
    found = WEIGHT.fullmatch(given)
    if found is None:
        return given, default
    rest, weight = found["rest"], found["weight"]
    if rest[-1:].isdigit() and weight.isdigit() and WEIGHT.fullmatch(rest) is None:
        remedy = f"Write '{given}:1' for the text, '{rest}:{weight}.0' for a weight of {weight}."
        raise BeholderError(f"{given!r} may end in a weight or in a time", "one of them", remedy)
    return rest, float(weight)


def text_part(given: str, *, against: bool = False) -> Part:
    """The part that --text TEXT:W or, `against`, --not TEXT:W names. Raises BeholderError for "people:x": what a
    colon joins to the last word is a weight, and must not be looked for as words where it is no number."""
    text, colon, wrong = given.rpartition(":")
    if colon and WEIGHT.fullmatch(given) is None and not any(character.isspace() for character in wrong):
        remedy = f"Write '{text}:0.5' for a weight, '{given}:1.0' where the colon belongs to the words."
        raise BeholderError(f"{given!r} has the weight {wrong!r}", "TEXT, or TEXT:NUMBER", remedy)
    text, weight = split_weight(given, -NOT_WEIGHT if against else 1.0)
    if against and weight <= 0:
        raise BeholderError(f"--not {given}", "a weight above 0: it counts against", "Example: --not people:0.5")
    return Part("text", text, -weight if against else weight)


def image_part(given: str) -> Part:
    """The part that --image FILE:W names, its file read. Raises BeholderError for a file that cannot be."""
    path, weight = (given, 1.0) if Path(given).is_file() else split_weight(given)
    try:
        return Part("image", Path(path).read_bytes(), weight, Path(path).name)
    except OSError as error:
        raise BeholderError(f"{path} cannot be read ({error.strerror})", "a picture", "Check the path.") from error


def like_part(given: str) -> Part:
    """The part that --like ID:W names."""
    identity, weight = split_weight(given)
    try:
        return Part("like", int(identity), weight)
    except ValueError as error:
        raise BeholderError(f"--like {given}", "the id of a picture, as --json and --tsv show it") from error


def vector_parts(given: str) -> list[Part]:
    """A part for each row of the file that --vector NPY:W names: (D,) or (rows, D) of floats."""
    path, weight = (given, 1.0) if Path(given).is_file() else split_weight(given)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a .npy file of vectors") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim not in (1, 2) or not array.size:
        raise BeholderError(f"{path} holds {getattr(array, 'shape', 'several arrays')}", "rows of floats")
    rows = np.atleast_2d(np.asarray(array, np.float32))
    name = Path(path).name
    return [Part("vector", row, weight, name if len(rows) == 1 else f"{name}[{at}]") for at, row in enumerate(rows)]
