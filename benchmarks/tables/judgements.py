"""Tables of captions and labels -> queries, pictures and which picture is relevant to which query.

A table is TSV: UTF-8, a header row, no quoting. A caption table has a row per (picture, caption) and each
caption is a query whose one relevant picture is its own. A label table has a row per picture and each
label is a query whose relevant pictures bear it; a label is phrased by templates, whose text vectors are
averaged.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError, FormatError

FIELD = re.compile(r"(\b[Aa] )?\{([^{}]*)\}")
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z(])")


@dataclass(frozen=True)
class Query:
    """One query: its phrasings (several are averaged), the rows of its relevant pictures, and its label
    column.
    """

    texts: tuple[str, ...]
    relevant: tuple[int, ...]
    group: str


@dataclass(frozen=True)
class Judgements:
    """Which picture is relevant to which query. `pictures` are names as the table gives them, of the
    chosen split; `others` are the table's pictures outside that split.
    """

    pictures: tuple[str, ...]
    queries: tuple[Query, ...]
    others: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(query.group for query in self.queries))

    def only(self, group: str) -> "Judgements":
        return Judgements(self.pictures, tuple(q for q in self.queries if q.group == group), self.others)

    def relevance(self) -> npt.NDArray[np.bool_]:
        """(Q, N) bool over `queries` and `pictures`."""
        matrix = np.zeros((len(self.queries), len(self.pictures)), dtype=np.bool_)
        for row, query in enumerate(self.queries):
            matrix[row, list(query.relevant)] = True
        return matrix

    def relevant_counts(self) -> npt.NDArray[np.int64]:
        """(Q,)"""
        return np.array([len(query.relevant) for query in self.queries], dtype=np.int64)

    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) row of each picture's one query. Raises BeholderError where a picture has none or several."""
        matrix = self.relevance()
        if not (matrix.sum(axis=0) == 1).all():
            raise BeholderError("some pictures have no label or several", "one label per picture for zero-shot")
        return np.asarray(matrix.argmax(axis=0), dtype=np.int64)


def read_tsv(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a TSV table. Raises FormatError naming the line, or the columns there are when one is
    missing.
    """
    if not path.is_file():
        raise FormatError(f"there is no table {path}", "a TSV file with a header row", "Check the path.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 ({error.reason})", "a TSV file in UTF-8") from error
    header = lines[0].rstrip("\r").split("\t")
    for column in columns:
        if column not in header:
            raise FormatError(
                f"{path.name} has no column {column!r}", f"one of {', '.join(header)}", "Name the column."
            )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != len(header):
            raise FormatError(
                f"{path.name}, line {number}, has {len(cells)} cells", f"{len(header)}", "Mend the table."
            )
        rows.append(dict(zip(header, cells, strict=True)))
    return rows


def read_splits(path: Path, image_column: str) -> dict[str, str]:
    """Picture name -> split, of a table with the columns `image_column` and `split`."""
    return {row[image_column]: row["split"] for row in read_tsv(path, [image_column, "split"])}


def choose_rows(
    rows: Sequence[dict[str, str]],
    image_column: str,
    split: str | None,
    splits: dict[str, str] | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The rows of one split (all where it is None), and the names of the pictures outside it.

    `limit`: at most that many pictures, drawn by seed. The split comes from `splits` or from the rows' own
    column.
    """
    if split is None:
        inside = {row[image_column] for row in rows}
    elif splits is not None:
        inside = {row[image_column] for row in rows if splits.get(row[image_column]) == split}
    else:
        if rows and "split" not in rows[0]:
            raise BeholderError("the table has no column 'split'", "one, or --splits TABLE", "Give --splits.")
        inside = {row[image_column] for row in rows if row["split"] == split}
    if not inside:
        raise BeholderError(f"no picture of the table is in split {split!r}", "at least one", "Check --split.")
    if limit is not None and limit < len(inside):
        ordered = sorted(inside)
        drawn = np.random.default_rng(seed).permutation(len(ordered))[:limit]
        inside = {ordered[place] for place in drawn}
    others = dict.fromkeys(row[image_column] for row in rows if row[image_column] not in inside)
    return [row for row in rows if row[image_column] in inside], tuple(others)


def caption_judgements(
    rows: Sequence[dict[str, str]], image_column: str, text_column: str, others: tuple[str, ...] = ()
) -> Judgements:
    """Each row's text is a query with one relevant picture. Rows without text are refused."""
    places = _places(rows, image_column)
    for row in rows:
        if not row[text_column].strip():
            raise BeholderError(f"{row[image_column]} has an empty {text_column}", "a text", "Mend the table.")
    queries = [Query((row[text_column].strip(),), (places[row[image_column]],), text_column) for row in rows]
    return Judgements(tuple(places), tuple(queries), others)


def label_judgements(
    rows: Sequence[dict[str, str]],
    image_column: str,
    label_columns: Sequence[str],
    templates: Sequence[str],
    others: tuple[str, ...] = (),
) -> Judgements:
    """Each label is a query, sorted by label within its column; "a,b" joins two columns into one label.

    Rows with an empty cell bear no label of that column.
    """
    places = _places(rows, image_column)
    queries = []
    for group in label_columns:
        columns = group.split(",")
        bearers: dict[tuple[str, ...], dict[int, None]] = {}
        for row in rows:
            values = tuple(row[column].strip() for column in columns)
            if all(values):
                bearers.setdefault(values, {})[places[row[image_column]]] = None
        for values, relevant in sorted(bearers.items()):
            label = dict(zip(columns, values, strict=True))
            texts = tuple(fill_template(template, label) for template in templates)
            queries.append(Query(texts, tuple(relevant), group))
    if not queries:
        raise BeholderError(f"no row bears a label in {', '.join(label_columns)}", "at least one", "Check the columns.")
    return Judgements(tuple(places), tuple(queries), others)


def refuse_foregone(judged: Judgements, *, among_others: bool = False) -> None:
    """Raises BeholderError where no encoder could do better than another: all queries alike, or every picture relevant
    to every query, unless there are others `among` which they are ranked."""
    texts = {query.texts for query in judged.queries}
    if len(judged.pictures) > 1 and len(judged.queries) > 1 and len(texts) == 1:
        found = f"all {len(judged.queries)} queries are {judged.queries[0].texts[0]!r}"
        raise BeholderError(found, "different ones", "Check the column.")
    if not among_others and all(len(query.relevant) == len(judged.pictures) for query in judged.queries):
        found = f"every one of {len(judged.pictures)} pictures is relevant to every query"
        raise BeholderError(found, "others among them", "Rank against more pictures.")


def fill_template(template: str, label: dict[str, str]) -> str:
    """The template with `{}` replaced by the whole label and `{column}` by that column's value, as words;
    a or an as the word wants.
    """
    if not FIELD.search(template):
        raise BeholderError(f"the template {template!r} has no place for the label", 'such as "a photo of a {}"')

    def value(match: re.Match[str]) -> str:
        article, column = match.group(1) or "", match.group(2)
        if column and column not in label:
            raise BeholderError(f"the template {template!r} names {column!r}", f"{{}} or one of {', '.join(label)}")
        words = as_words(label[column]) if column else " ".join(as_words(part) for part in label.values())
        return f"{article[:-1]}n {words}" if article and words[0] in "aeiou" else article + words

    return FIELD.sub(value, template)


def as_words(label: str) -> str:
    """A label as it would be typed: "ArtNouveau(Modern)" -> "art nouveau (modern)", "teddy_bear" -> "teddy
    bear".
    """
    return " ".join(HUMP.sub(" ", label.replace("_", " ")).split()).lower()


def match_names(names: Sequence[str], uris: Sequence[str]) -> npt.NDArray[np.int64]:
    """(names,) the row in `uris` of each name, -1 where there is none. Two paths match when one ends with
    the other.

    So "images/a.jpg" of a table is found as "a.jpg" in an index of that folder and as "set/images/a.jpg"
    in one of its parent. Raises BeholderError where several match: a guess would score the wrong picture.
    """
    by_file: dict[str, list[int]] = {}
    parts = [uri.split("/") for uri in uris]
    for row, path in enumerate(parts):
        by_file.setdefault(path[-1], []).append(row)
    found = np.full(len(names), -1, dtype=np.int64)
    for place, name in enumerate(names):
        path = name.split("/")
        rows = [row for row in by_file.get(path[-1], ()) if _ends_alike(path, parts[row])]
        if len(rows) > 1:
            raise BeholderError(
                f"{name} matches {uris[rows[0]]} and {uris[rows[1]]}", "one picture", "Use longer names."
            )
        if rows:
            found[place] = rows[0]
    return found


def _ends_alike(first: list[str], second: list[str]) -> bool:
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]


def _places(rows: Sequence[dict[str, str]], image_column: str) -> dict[str, int]:
    names = dict.fromkeys(row[image_column] for row in rows)
    return {name: place for place, name in enumerate(names)}
