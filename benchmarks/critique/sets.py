"""Published sets of questions about beauty and art, as their makers write them: AesBench (its JSON, and the TSV of
VLMEvalKit), AQUA, ArtQuest, ArtBench. All are for evaluation only: none of these readers feeds training.

What is read: AesBench_evaluation.json is {"<picture>": {"AesP_data": {"Question", "Options"}, "AesE_data": same,
"AesA1_data": same, "AesI_data": {"Question"}}}; its scripts read no key of right answers, so one is used where there is
an "Answer" and else nothing is scored. VLMEvalKit: index, image (base64, or the index of another row), question, A to
H, answer, category. AQUA: image, question, answer, need_external_knowledge. ArtQuest: image, question, answer.
ArtBench-10: a folder per style, as its ImageFolder split has it.
"""

import base64
import binascii
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from retrieval.conversations import Problem, unsafe
from retrieval.critic.json_rows import json_object, json_rows
from retrieval.sources.images import SUFFIXES

from .critics import Asked
from .scores import read_options

LETTERS = "ABCDEFGH"
COLUMNS = "index", "question", "image", "A", "B"  # of VLMEvalKit, that every row needs
AESBENCH = {"AesP_data": "AesP", "AesE_data": "AesE", "AesA1_data": "AesA", "AesI_data": "AesI"}
OPEN = "AesI"  # answered in the critic's own words
CHOOSE = " Choose one from the following options:\n"
OUTPUT = {
    "AesP": "\nYou should output a correct option without explanation.",
    "AesE": "\nYou should output a correct option without explanation.",
    "AesA": "\nYou should output a correct option.",
}
STYLE = "Which of these art styles is this picture of: {styles}? Answer with the style alone."


@dataclass(frozen=True)
class Item:
    """A question of a set: `options` letter -> words for multiple choice; `answer`: the letter, the label or the text
    that is right, "" where the set does not tell; `task`: what it belongs to."""

    asked: Asked
    task: str
    answer: str = ""
    options: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Items:
    """The questions of a file, and what was left out."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()


def read_aesbench(path: Path, pictures: Path) -> Items:
    """AesBench's own file; its prompts are those that its scripts put together, word for word."""
    items: list[Item] = []
    problems: list[Problem] = []
    for line, name, record in json_object(path):
        for key, task in AESBENCH.items():
            try:
                items.append(_aesbench_item(name, task, record[key], pictures))
            except BeholderError as error:
                problems.append(Problem(line, error.found))
            except (KeyError, TypeError, AttributeError) as error:
                problems.append(Problem(line, f"not a record of this format ({error!r})"))
    return Items(tuple(items), tuple(problems))


def _aesbench_item(name: str, task: str, record: Mapping[str, Any], pictures: Path) -> Item:
    shown = (_under(pictures, name),)
    question = record["Question"]
    if task == OPEN:
        return Item(Asked(f"{name}/{task}", question, shown), task, str(record.get("Answer", "")))
    options = read_options(record["Options"])
    text = f"{question}{CHOOSE}{record['Options']}{OUTPUT[task]}"
    answer = str(record.get("Answer", "")).strip()
    letter = answer if answer in options else next((key for key, words in options.items() if words == answer), "")
    return Item(Asked(f"{name}/{task}", text, shown), task, letter, options)


def read_vlmevalkit(path: Path) -> Items:
    """A multiple-choice TSV of VLMEvalKit; `category` is the task. Rows whose picture cannot be read are left out."""
    csv.field_size_limit(sys.maxsize)  # a picture is a cell
    items: list[Item] = []
    problems: list[Problem] = []
    images: dict[str, bytes] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            missing = [
                name for name in ("index", "question", "image", "A", "B") if name not in (reader.fieldnames or ())
            ]
            if missing:
                raise FormatError(f"{path} has no column {missing[0]}", "a multiple-choice TSV of VLMEvalKit")
            for row in reader:
                try:
                    items.append(_vlmevalkit_item(row, images))
                except BeholderError as error:
                    problems.append(Problem(reader.line_num, error.found))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read ({error})", "tab-separated values in UTF-8") from error
    return Items(tuple(items), tuple(problems))


def _vlmevalkit_item(row: Mapping[str, str], images: dict[str, bytes]) -> Item:
    cell = row["image"] or ""
    if len(cell) <= 64 and cell in images:  # VLMEvalKit: short cells name another row's picture
        content = images[cell]
    else:
        try:
            content = base64.b64decode(cell, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BeholderError("a picture that is not base64") from error
    images[row["index"]] = content
    options = {letter: row[letter] for letter in LETTERS if row.get(letter)}
    if len(options) < 2:
        raise BeholderError("fewer than two options")
    listed = "\n".join(f"{letter}. {words}" for letter, words in options.items())
    hint = f"Hint: {row['hint']}\n" if row.get("hint") else ""
    ask = "Please select the correct answer from the options above."
    text = f"{hint}Question: {row['question']}\nOptions:\n{listed}\n{ask}"
    answer = (row.get("answer") or "").strip()
    task = row.get("category") or "all"
    return Item(Asked(str(row["index"]), text, (content,)), task, answer if answer in options else "", options)


def read_aqua(path: Path, pictures: Path) -> Items:
    """AQUA: tasks `visual` and `knowledge`."""
    return _open_items(path, ((line, row) for line, row in json_rows(path)), pictures)


def read_artquest(path: Path, pictures: Path) -> Items:
    """ArtQuest: a CSV; all one task."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(enumerate(csv.DictReader(file), 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read ({error})", "comma-separated values in UTF-8") from error
    return _open_items(path, iter(rows), pictures)


def _open_items(path: Path, rows: Iterator[tuple[int, Any]], pictures: Path) -> Items:
    items: list[Item] = []
    problems: list[Problem] = []
    for line, row in rows:
        try:
            if not str(row["question"]).strip() or not str(row["answer"]).strip():
                raise BeholderError("an empty question or answer")
            needs = row.get("need_external_knowledge")
            task = "all" if needs is None else "knowledge" if needs in (True, "True") else "visual"
            shown = (_under(pictures, row["image"]),)
            items.append(Item(Asked(f"{path.stem}-{line}", row["question"], shown), task, str(row["answer"])))
        except BeholderError as error:
            problems.append(Problem(line, error.found))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(Problem(line, f"not a record of this format ({error!r})"))
    return Items(tuple(items), tuple(problems))


def read_artbench(folder: Path) -> Items:
    """ArtBench-10: the folders' names are the styles; each picture is asked for its style among them."""
    if not folder.is_dir():
        raise BeholderError(f"there is no folder {folder}", "a folder per style", "Give its test split.")
    styles = sorted(place.name for place in folder.iterdir() if place.is_dir())
    if len(styles) < 2:
        raise BeholderError(
            f"{folder} has {len(styles)} folders", "one per style, two at least", "Give its test split."
        )
    words = [style.replace("_", " ") for style in styles]
    text = STYLE.format(styles=", ".join(words))
    items = [
        Item(Asked(f"{style}/{path.name}", text, (path,)), "style", words[place], dict(zip(styles, words, strict=True)))
        for place, style in enumerate(styles)
        for path in sorted((folder / style).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    return Items(tuple(items))


def told(problems: Sequence[Problem]) -> list[str]:
    """A note for each reason that records were left out for."""
    from retrieval.conversations import Reading

    return Reading((), tuple(problems)).told()


def _under(folder: Path, name: str) -> Path:
    if unsafe(name):
        raise BeholderError("a picture's path leads out of the folder")
    return folder / name
