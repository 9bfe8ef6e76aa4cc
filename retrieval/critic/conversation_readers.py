"""Conversations from other people's files: LLaVA's JSON (AesMMIT, PaintingForm), MiniGPT-4's filter_cap.json, tars of
captions, ArtEmis's CSV; preference pairs from votes. What breaks a rule of ours is left out and counted with its line.

Formats as their loaders read them: LLaVA `llava/train/train.py`, MiniGPT-4 `cc_sbu_dataset.py`, webdataset's
`key.jpg, key.txt, key.json`, the released `artemis_dataset_release_v0.csv`. None of these says a licence in its
records: it is given by whoever reads them.
"""

import csv
import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import write_bytes_atomic
from retrieval.conversations import ASSISTANT, IMAGE, SYSTEM, USER, Claim, Conversation, Problem, Reading, Turn, collect
from retrieval.sources.images import SUFFIXES

from .json_rows import json_rows

ROLES = {"human": USER, "user": USER, "gpt": ASSISTANT, "assistant": ASSISTANT, "system": SYSTEM}
DESCRIBE = (
    "Describe this picture.",
    "What does this picture show?",
    "Say in a sentence or two what can be seen here.",
    "Give a description of the picture.",
    "What is in this picture?",
)
FEEL = (
    "What does this painting make one feel, and why?",
    "Which emotion does this picture evoke? Say what in it does.",
    "How might a viewer feel in front of this work, and what is the reason?",
)
EMOTIONS = (
    "amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness", "something else",
)  # fmt: skip
CAPTIONS = "txt", "json"  # of a picture in a tar, the first there is


def read_llava(path: Path, *, licence: str = "", pictures: Path | None = None, split: str = "train") -> Reading:
    """LLaVA-style records: `image` (a name, several, or none) and `conversations`; `type` and `qtype` are kept as the
    kind where they are there."""

    def made(row: Mapping[str, Any]) -> Conversation:
        image = row.get("image")
        names = () if image is None else (image,) if isinstance(image, str) else tuple(image)
        turns = []
        for turn in row["conversations"]:
            if turn["from"] not in ROLES:
                raise BeholderError(f"a turn from {turn['from']!r}")
            turns.append(Turn(ROLES[turn["from"]], turn["value"]))
        kind = "/".join(str(row[name]) for name in ("type", "qtype") if row.get(name))
        return Conversation(names, tuple(turns), path.stem, licence, split, kind, str(row.get("id", "")))

    return collect(json_rows(path), made, pictures)


def read_minigpt4(path: Path, *, licence: str = "", pictures: Path | None = None, split: str = "train") -> Reading:
    """`filter_cap.json`: {"annotations": [{"image_id", "caption"}]}, pictures at image/<image_id>.jpg. The questions
    are ours (MiniGPT-4 draws one of a few)."""

    def made(row: Mapping[str, Any]) -> Conversation:
        name = str(row["image_id"])
        return captioned(f"image/{name}.jpg", row["caption"], path.stem, licence, split, name)

    return collect(json_rows(path, "annotations"), made, pictures)


def read_artemis(path: Path, *, licence: str = "", pictures: Path | None = None, split: str = "train") -> Reading:
    """ArtEmis: art_style, painting, emotion, utterance, a row per person; pictures as WikiArt lies, STYLE/PAINTING.jpg.
    The answer says the emotion first, as a claim, then why. A column `split` (train, val, test) is taken over."""

    def made(row: Mapping[str, str]) -> Conversation:
        if row["emotion"] not in EMOTIONS:
            raise BeholderError(f"emotion {row['emotion']!r}")
        if not row["utterance"].strip():
            raise BeholderError("empty answer")
        name = f"{row['art_style']}/{row['painting']}.jpg"
        said = f"{row['emotion'].capitalize()}: {row['utterance'].strip()}"
        claim = Claim("emotion", row["emotion"], phrase=row["emotion"].capitalize())
        turns = (Turn(USER, f"{IMAGE}\n{drawn(FEEL, name + said)}"), Turn(ASSISTANT, said, (claim,)))
        return Conversation((name,), turns, path.stem, licence, row.get("split") or split, "emotion", row["painting"])

    return collect(_csv_rows(path, ("art_style", "painting", "emotion", "utterance")), made, pictures)


def read_tar(path: Path, into: Path, *, licence: str = "", split: str = "train") -> Reading:
    """A tar of captions as ArtGPT-4's first stage reads it: `key.jpg` with `key.json` ("caption") or `key.txt`.

    Pictures are written to `into`/STEM/, under names of their own. "Lines" of problems are places in the tar. Raises
    FormatError for a tar that is cut or damaged, before any picture is written.
    """
    stem = path.name.partition(".")[0]
    said: dict[str, dict[str, bytes]] = {}
    shown: set[str] = set()
    lonely: list[tuple[int, str]] = []  # places of captions
    for place, key, ending, read in _files(path):
        if ending in CAPTIONS:
            said.setdefault(key, {})[ending] = read()
            lonely.append((place, key))
        elif f".{ending}" in SUFFIXES:
            shown.add(key)

    def made(row: tuple[str, str, Callable[[], bytes]]) -> Conversation:
        key, ending, read = row
        caption, content = _caption(said.get(key, {})), read()
        name = f"{stem}/{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
        one = captioned(name, caption, stem, licence, split, key)
        if not (into / name).exists():
            (into / stem).mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(into / name, content)
        return one

    rows = ((place, (key, ending, read)) for place, key, ending, read in _files(path) if f".{ending}" in SUFFIXES)
    reading = collect(rows, made)
    without = {key: place for place, key in lonely if key not in shown}
    problems = (*reading.problems, *(Problem(place, "no picture") for place in without.values()))
    return Reading(reading.conversations, problems)


def captioned(picture: str, caption: str, source: str, licence: str, split: str, id: str) -> Conversation:
    """One question of several phrasings, drawn by the picture's name, and a caption as its answer."""
    turns = (Turn(USER, f"{IMAGE}\n{drawn(DESCRIBE, picture + caption)}"), Turn(ASSISTANT, caption.strip()))
    return Conversation((picture,), turns, source, licence, split, "caption", id)


def drawn(phrasings: Sequence[str], key: str) -> str:
    """One of several phrasings, the same for the same key."""
    return phrasings[int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % len(phrasings)]


READERS: dict[str, Callable[..., Reading]] = {
    "llava": read_llava,
    "minigpt4": read_minigpt4,
    "artemis": read_artemis,
}


def _files(path: Path) -> Iterator[tuple[int, str, str, Callable[[], bytes]]]:
    """(place, key, ending in lower case, how to read it) of each file of a tar, plain or compressed."""
    try:
        with tarfile.open(path) as archive:
            for place, entry in enumerate(archive, 1):
                key, dot, ending = PurePosixPath(entry.name).name.rpartition(".")
                stream = archive.extractfile(entry) if entry.isfile() and dot else None
                if stream is not None:
                    yield place, key, ending.lower(), partial(_whole, path, stream)
            # tarfile takes a cut or a damaged header for the end: the real one is a block of zeros.
            content: Any = archive.fileobj
            content.seek(archive.offset)
            if content.read(512) != bytes(512):
                raise tarfile.TarError("no end mark")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} cannot be read to its end ({error})", "a whole tar", "Get it again.") from error


def _whole(path: Path, stream: IO[bytes]) -> bytes:
    try:
        return stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} cannot be read to its end ({error})", "a whole tar", "Get it again.") from error


def _caption(texts: Mapping[str, bytes]) -> str:
    if "json" in texts:
        content = json.loads(texts["json"])
        if isinstance(content, dict) and content.get("caption"):
            return str(content["caption"])
    if "txt" in texts:
        return texts["txt"].decode("utf-8")
    raise BeholderError("no caption")


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise FormatError(f"{path} has no column {missing[0]}", f"columns {', '.join(columns)}", "Check it.")
            before = reader.line_num
            for row in reader:
                yield before + 1, row  # a record of several lines begins here
                before = reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read ({error})", "comma-separated values in UTF-8") from error
