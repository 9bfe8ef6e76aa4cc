"""Votes of people on pairs of rows of pictures: an append-only file of what was shown and what was said.

The votes file (JSONL, kind `beholder-votes`, format 1), one event a line, never rewritten:

    {"kind": "beholder-votes", "format": 1}
    {"event": "shown", "token", "query", "parts", "a": {"config", "group": [sha256]}, "b": {...}, "order": "ab"|"ba"}
    {"event": "vote", "token", "voter", "aspect", "choice": "a"|"b"|"same"}

A vote is on disk (fsync) before `add` returns; "shown" is written before the first vote on it. A voter who votes again
on the same rows as shown and the same aspect has changed their mind: the last vote counts. A last line without its
newline was cut by a crash before anyone was told that it is kept: readers leave it out, the next writer cuts it off.
`hpir/metric.py` makes the set that benchmarks and alignment read.
"""

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError

KIND, FORMAT = "beholder-votes", 1
ASPECTS = ("accuracy", "aesthetics", "diversity")
CHOICES = ("a", "b", "same")
ORDERS = ("ab", "ba")  # of rows from top to bottom
LONGEST_VOTER = 64  # characters
REPAIR = "Mend that line, or start another file with --votes."


@dataclass(frozen=True)
class Side:
    """One of two rows: the settings that made it, and the sha256 (hex) of its pictures, best first."""

    config: Mapping[str, Any]
    group: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """Two rows as one person saw them. `query` is its words, `parts` the whole query without the bytes of pictures."""

    token: str
    query: str
    parts: Mapping[str, Any]
    a: Side
    b: Side
    order: str

    def choice(self, row: int) -> str:
        """What a vote for the upper row (0), the lower row (1) or neither (-1) says of A and B."""
        return "same" if row == -1 else self.order[row]

    def to_event(self) -> dict[str, Any]:
        a, b = ({"config": dict(side.config), "group": list(side.group)} for side in (self.a, self.b))
        event = {"event": "shown", "token": self.token, "query": self.query, "parts": dict(self.parts)}
        return {**event, "a": a, "b": b, "order": self.order}


@dataclass(frozen=True)
class Showing:
    """What was shown, and voter -> aspect -> choice."""

    shown: Shown
    votes: dict[str, dict[str, str]] = field(default_factory=dict)


class VoteBook:
    """A votes file, open for adding: by many threads, and by several services at once (the file is locked).

    The file is created at the first vote. Raises FormatError for a file that is not ours, newer, or damaged before its
    last line; BeholderError where it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._showings: dict[str, Showing] = {}
        self._read, self._lines = 0, 0  # bytes and lines of the file that `_showings` holds
        self.showings()

    def add(self, shown: Shown, voter: str, aspect: str, row: int) -> str:
        """Keeps a vote for the row in place `row` (0 upper, 1 lower, -1 neither) as shown; says "a", "b" or "same".

        Raises BeholderError for an unknown aspect or row, and for a voter's name that is empty or too long.
        """
        if aspect not in ASPECTS:
            raise BeholderError(f"aspect {aspect!r}", " or ".join(ASPECTS), "Send one of them.")
        if row not in (0, 1, -1):
            raise BeholderError(f"choice {row}", "0 (upper row), 1 (lower row) or -1 (neither)", "Send one of them.")
        if not voter.strip() or len(voter) > LONGEST_VOTER or not voter.isprintable():
            raise BeholderError("a voter without a usable name", f"1 to {LONGEST_VOTER} letters", "Choose a name.")
        choice = shown.choice(row)
        vote = {"event": "vote", "token": shown.token, "voter": voter, "aspect": aspect, "choice": choice}
        try:
            # One writer at a time, here and in other processes; closing the file frees its lock.
            with self._lock, self.path.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                self._catch_up(stream.fileno())
                stream.truncate(self._read)  # what a crash has left of a line
                header = [] if self._lines else [{"kind": KIND, "format": FORMAT}]
                events = [vote] if shown.token in self._showings else [shown.to_event(), vote]
                stream.write(b"".join(line(event) for event in [*header, *events]))
                stream.flush()
                os.fsync(stream.fileno())
                self._catch_up(stream.fileno())
        except OSError as error:
            expected, remedy = "a file that can grow", "Choose another with --votes."
            raise BeholderError(f"cannot write {self.path} ({error.strerror})", expected, remedy) from error
        return choice

    def showings(self) -> list[Showing]:
        """All that was shown and voted on until now, in the order of the first votes; other services' votes too."""
        try:
            with self._lock:
                if self.path.exists():
                    with self.path.open("rb") as stream:
                        fcntl.flock(stream, fcntl.LOCK_SH)
                        self._catch_up(stream.fileno())
                votes = [(one.shown, one.votes) for one in self._showings.values()]
                return [Showing(shown, {voter: dict(said) for voter, said in all_.items()}) for shown, all_ in votes]
        except OSError as error:
            found = f"cannot read {self.path} ({error.strerror})"
            raise BeholderError(found, "a votes file", "Choose another with --votes.") from error

    def voted(self, token: str, voter: str) -> dict[str, str]:
        """aspect -> choice of what this voter has said of this showing."""
        with self._lock:
            showing = self._showings.get(token)
            return dict(showing.votes.get(voter, {})) if showing is not None else {}

    def _catch_up(self, file: int) -> None:
        """Takes in the whole lines after those already read."""
        content = os.pread(file, os.fstat(file).st_size - self._read, self._read)
        whole = content.rfind(b"\n") + 1
        for number, record in records(self.path, content[:whole], KIND, FORMAT, after=self._lines):
            _apply(self._showings, record, f"{self.path}, line {number}")
        self._lines += content[:whole].count(b"\n")
        self._read += whole


def tally(showings: Sequence[Showing], a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """aspect -> {"a", "b", "same"} -> votes, over all queries for which these two settings were compared."""
    counts = {aspect: Counter(dict.fromkeys(CHOICES, 0)) for aspect in ASPECTS}
    for showing in showings:
        configs = (showing.shown.a.config, showing.shown.b.config)
        if configs not in ((a, b), (b, a)):
            continue
        for said in showing.votes.values():
            for aspect, choice in said.items():
                counts[aspect][choice if configs == (a, b) else mirrored(choice)] += 1
    return {aspect: dict(count) for aspect, count in counts.items()}


def records(
    path: Path, content: bytes, kind: str, newest: int, *, after: int = 0
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the line, record) of JSONL whose first line says its kind and format; `after` lines came before.

    Raises FormatError for another kind, a newer format, and a line that is not a JSON object.
    """
    for number, text in enumerate(content.splitlines(), after + 1):
        try:
            record = json.loads(text)
        except ValueError as error:
            raise FormatError(f"{path}, line {number} is not JSON", "a JSON object", REPAIR) from error
        if not isinstance(record, dict):
            raise FormatError(f"{path}, line {number} is not an object", "a JSON object", REPAIR)
        if number > 1:
            yield number, record
        elif record.get("kind") != kind:
            raise FormatError(f"{path} holds {record.get('kind')!r}", kind, "Give another file.")
        elif not isinstance(record.get("format"), int) or record["format"] > newest:
            raise FormatError(f"{path} has format {record.get('format')!r}", f"at most {newest}", "Update Beholder.")


def line(record: object) -> bytes:
    """A record as a line of JSON; half a surrogate pair, which UTF-8 has no bytes for, becomes `?`."""
    return (json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n").encode("utf-8", errors="replace")


def mirrored(word: str) -> str:
    """A choice or an order with A and B exchanged."""
    return {"a": "b", "b": "a", "ab": "ba", "ba": "ab"}.get(word, word)


def _apply(showings: dict[str, Showing], event: Mapping[str, Any], where: str) -> None:
    try:
        if event["event"] == "shown":
            a, b = (Side(event[name]["config"], tuple(event[name]["group"])) for name in "ab")
            if event["order"] not in ORDERS:
                raise KeyError(event["order"])
            shown = Shown(event["token"], event["query"], event["parts"], a, b, event["order"])
            showings.setdefault(shown.token, Showing(shown))
        elif event["event"] == "vote" and event["aspect"] in ASPECTS and event["choice"] in CHOICES:
            showings[event["token"]].votes.setdefault(event["voter"], {})[event["aspect"]] = event["choice"]
        else:
            raise KeyError(event["event"])
    except (KeyError, TypeError) as error:
        raise FormatError(f"{where}: {error!r}", f"an event of format {FORMAT}", REPAIR) from error
