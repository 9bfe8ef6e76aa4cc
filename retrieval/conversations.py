"""Conversations about pictures: the one record that critics are trained and measured on, and its file. Readers of
other formats are in conversation_readers.py, what training is given in conversation_rows.py.

JSONL, kind `beholder-conversations`, format 1:

    {"kind": "beholder-conversations", "format": 1, "origin": {...}}
    {"id", "pictures": [path], "sha256s": [hex] or [], "turns": [{"role", "text", "claims": [...]}], "rejected": text,
     "source", "licence", "split", "kind"}

Paths are relative to a folder that the reader is given (`--pictures`), so that a file says nothing of a machine. In a
user's text `<image>` stands where a picture is shown, in the pictures' order. An answer may carry the claims that it
makes, so that it can be checked (claims.py). `rejected` is an answer that is worse than the last one: such a record is
a preference pair.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import write_bytes_atomic

from .votes import line, records

KIND, FORMAT = "beholder-conversations", 1
IMAGE = "<image>"  # as LLaVA, ShareGPT4V and their data write it
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
AGAIN = "Make it again with `beholder align critic data`."


@dataclass(frozen=True)
class Claim:
    """One statement of an answer that can be checked: of the picture in place `pictures[0]`, `about` is `says`.

    Levels say low, middle or high; labels say the label; of two pictures, "first" or "second" has more of `about`.
    """

    about: str  # brightness, style, object, subject, ...
    says: str
    pictures: tuple[int, ...] = (0,)
    measured: tuple[float, ...] = ()  # what was measured of each picture, in the unit of its scorer; none for labels
    phrase: str = ""  # the words of the answer that say so

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Claim":
        pictures, measured = tuple(content["pictures"]), tuple(content["measured"])
        return cls(content["about"], content["says"], pictures, measured, content["phrase"])


@dataclass(frozen=True)
class Turn:
    """What one side says. `claims` are those of an answer."""

    role: str  # SYSTEM (only first), USER or ASSISTANT
    text: str
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """Pictures and turns, which a user begins and an answer ends. Raises BeholderError for a record that breaks these
    rules; the text says which one, in words that readers count by."""

    pictures: tuple[str, ...]
    turns: tuple[Turn, ...]
    source: str
    licence: str = ""
    split: str = "train"
    kind: str = ""  # caption, look, style, appeal, compare, critique, formal, emotion, ...
    id: str = ""
    sha256s: tuple[str, ...] = ()  # of the pictures' files, where they are known
    rejected: str = ""

    def __post_init__(self) -> None:
        found = wrong_turns(self.turns, len(self.pictures))
        if found is None and self.sha256s and len(self.sha256s) != len(self.pictures):
            found = f"{len(self.sha256s)} sha256 for {len(self.pictures)} pictures"
        if found is None and any(unsafe(path) for path in self.pictures):
            found = "a picture's path leads out of the folder"
        if found is None and self.rejected and self.rejected.strip() == self.turns[-1].text.strip():
            found = "both answers are the same"
        if found is not None:
            raise BeholderError(found)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Conversation":
        turns = tuple(
            Turn(turn["role"], turn["text"], tuple(Claim.from_dict(claim) for claim in turn.get("claims", ())))
            for turn in content["turns"]
        )
        return cls(
            pictures=tuple(content["pictures"]),
            turns=turns,
            source=content["source"],
            licence=content.get("licence", ""),
            split=content.get("split", "train"),
            kind=content.get("kind", ""),
            id=content.get("id", ""),
            sha256s=tuple(content.get("sha256s", ())),
            rejected=content.get("rejected", ""),
        )


@dataclass(frozen=True)
class Problem:
    """A record that was left out: the line that it begins at (or its number), and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a file holds: its conversations, and the records that were left out. `origin`: how ours was made."""

    conversations: tuple[Conversation, ...]
    problems: tuple[Problem, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    def told(self, most: int = 5) -> list[str]:
        """Lines for people: each reason with its count and the first lines that it was found at."""
        places: dict[str, list[int]] = {}
        for problem in self.problems:
            places.setdefault(problem.reason, []).append(problem.line)
        return [
            f"left out: {len(lines)} ({reason}), line {', '.join(map(str, lines[:most]))}"
            f"{' ...' if len(lines) > most else ''}"
            for reason, lines in sorted(places.items())
        ]


def wrong_turns(turns: Sequence[Turn], pictures: int) -> str | None:
    """What is wrong with turns about so many pictures; None where nothing is."""
    roles = [turn.role for turn in turns]
    spoken = roles[1:] if roles[:1] == [SYSTEM] else roles
    if not spoken or len(spoken) % 2 or spoken != [USER, ASSISTANT] * (len(spoken) // 2):
        return "wrong order of turns"
    if any(not turn.text.strip() for turn in turns if turn.role == ASSISTANT):
        return "empty answer"
    if any(not turn.text.replace(IMAGE, "").strip() for turn in turns if turn.role == USER):
        return "empty question"
    if any(IMAGE in turn.text for turn in turns if turn.role != USER):
        return f"{IMAGE} outside a question"
    shown = sum(turn.text.count(IMAGE) for turn in turns)
    if shown != pictures:
        return f"{shown} {IMAGE} for {pictures} pictures"
    if any(not 0 <= place < pictures for turn in turns for claim in turn.claims for place in claim.pictures):
        return "a claim about a picture that is not there"
    return None


def unsafe(path: str) -> bool:
    """Whether a relative path of a file may lead out of the folder it is relative to."""
    return not path or path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/") or "\0" in path


def write_conversations(path: Path, conversations: Iterable[Conversation], origin: Mapping[str, Any]) -> int:
    """The number written. Atomic; the same conversations give the same bytes."""
    lines = [line({"kind": KIND, "format": FORMAT, "origin": dict(origin)})]
    lines += [line(one.to_dict()) for one in conversations]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, b"".join(lines))
    return len(lines) - 1


def read_conversations(path: Path, pictures: Path | None = None) -> Reading:
    """Conversations of a file of ours; records that break the rules, and those whose pictures are not under the folder
    `pictures` (None: nobody looks), are problems with their lines.

    Raises FormatError for another kind, a newer format, a line that is no JSON, and a file without a conversation.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BeholderError(f"cannot read {path} ({error.strerror})", "a file of conversations", AGAIN) from error
    reading = collect(records(path, content, KIND, FORMAT), Conversation.from_dict, pictures)
    if not reading.conversations:
        found = f"{path} holds no usable conversation ({len(reading.problems)} left out)"
        raise FormatError("; ".join([found, *reading.told()[:1]]), "one at least", AGAIN)
    return replace(reading, origin=json.loads(content[: content.index(b"\n")]).get("origin", {}))


def collect(
    rows: Iterable[tuple[int, Any]], make: Callable[[Any], Conversation], pictures: Path | None = None
) -> Reading:
    """What `make` makes of rows (line, record); a row that it cannot make anything of is a problem, and so is one whose
    pictures are not under `pictures`. A picture is looked for once."""
    found: list[Conversation] = []
    problems: list[Problem] = []
    there: dict[str, bool] = {}
    for number, row in rows:
        try:
            one = make(row)
        except BeholderError as error:
            problems.append(Problem(number, error.found))
            continue
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            problems.append(Problem(number, f"not a record of this format ({error!r})"))
            continue
        for path in one.pictures:
            if pictures is not None and path not in there:
                there[path] = (pictures / path).is_file()
        if all(there.get(path, True) for path in one.pictures):
            found.append(one)
        else:
            problems.append(Problem(number, "missing picture"))
    return Reading(tuple(found), tuple(problems))


def split_by_picture(
    conversations: Iterable[Conversation], held_out: float, name: str = "dev", salt: str = "1"
) -> tuple[list[Conversation], int]:
    """Conversations with a share `held_out` of the *pictures* (by a salted hash of sha256 or path) in the split `name`,
    and how many were left out because their pictures fall on both sides. Conversations without pictures are told apart
    by their id and first question. The same picture is on the same side in every file."""
    kept: list[Conversation] = []
    torn = 0
    for one in conversations:
        keys = one.sha256s or one.pictures or (one.id + one.turns[0].text,)
        sides = {_share(salt, key) < held_out for key in keys}
        if len(sides) > 1:
            torn += 1
        else:
            kept.append(replace(one, split=name) if sides.pop() else one)
    return kept, torn


def _share(salt: str, key: str) -> float:
    """In [0, 1), the same for the same key."""
    return int(hashlib.sha256(f"{salt}\0{key}".encode()).hexdigest()[:13], 16) / 16**13
