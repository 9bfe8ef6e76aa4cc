"""The book of a judge's answers: what was shown by sha256, the verdict, and every answer as it came.

JSONL, kind `beholder-judgements`, format 1, appended to after every block of comparisons:

    {"kind": "beholder-judgements", "format": 1, "judge": {...}}
    {"key", "query", "a": [sha256], "b": [sha256], "choices", "first", "scores", "problems", "said"[, "means"]}

A run that was cut off goes on from it: what it holds is not asked again, but for failures that may pass (no connection,
time-outs, a spent budget). An answer that could not be used is not asked for again: it would be the same.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_bytes
from retrieval.language.judge import Verdict
from retrieval.votes import line, records

from .rows import Pair

KIND, FORMAT = "beholder-judgements", 1
LASTING = "unusable answer", "refused", "over-long"  # problems that asking again will not mend


class Book:
    """Verdicts by what was shown, of one judge. Without a path they are kept in memory only.

    Raises FormatError for a file that is not ours or damaged, BeholderError for the answers of another judge and where
    another run writes.
    """

    def __init__(self, path: Path | None, judge: Mapping[str, Any]) -> None:
        self.path, self._judge = path, dict(judge)
        self._verdicts: dict[str, Verdict] = {}
        self._file: int | None = None
        if path is not None:
            self._open(path)

    def get(self, pair: Pair) -> Verdict | None:
        """The kept verdict on two rows."""
        return self._verdicts.get(self._key(pair))

    def add(self, pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> None:
        """Keeps verdicts; they are on disk when it returns. Those that hopeless failures left are not kept."""
        lines = []
        for pair, verdict in zip(pairs, verdicts, strict=True):
            if verdict.hopeless:
                continue
            key = self._key(pair)
            self._verdicts[key] = verdict
            rows = {"a": pair.a.sha256s, "b": pair.b.sha256s}
            names = ("choices", "first", "scores", "problems", "said", *(("means",) if verdict.means else ()))
            said = {name: getattr(verdict, name) for name in names}
            lines.append(line({"key": key, "query": pair.query, **rows, **said}))
        if self._file is not None and lines:
            os.write(self._file, b"".join(lines))
            os.fsync(self._file)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "Book":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _key(self, pair: Pair) -> str:
        return sha256_bytes(json.dumps([pair.query, pair.a.sha256s, pair.b.sha256s]).encode())[:32]

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise BeholderError(f"another run writes {path}", "one at a time", "Wait, or give another file.") from error
        except OSError as error:
            raise BeholderError(f"cannot write {path} ({error.strerror})", "a file", "Check the path.") from error
        try:
            self._read(path, self._file)
        except BaseException:
            self.close()
            raise

    def _read(self, path: Path, file: int) -> None:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # cut by a crash, before it counted
            os.ftruncate(file, whole)
        if not whole:
            os.write(file, line({"kind": KIND, "format": FORMAT, "judge": self._judge}))
            return
        for number, record in records(path, content[:whole], KIND, FORMAT):
            verdict = _verdict(record, f"{path}, line {number}")
            if all(problem.startswith(LASTING) for problem in verdict.problems):
                self._verdicts[record["key"]] = verdict
        kept = json.loads(content[: content.index(b"\n")]).get("judge")
        if kept != self._judge:
            theirs = kept if isinstance(kept, dict) else {}
            differs = [name for name, value in self._judge.items() if theirs.get(name) != value]
            found = f"{path} holds answers of {theirs.get('name', 'nothing')}, which differs in {', '.join(differs)}"
            raise BeholderError(found, f"those of {self._judge['name']}", "Give another file with --answers.")


def _verdict(record: Mapping[str, Any], where: str) -> Verdict:
    try:
        return Verdict(
            choices=dict(record["choices"]),
            first={aspect: (pair[0], pair[1]) for aspect, pair in record["first"].items()},
            scores={aspect: (pair[0], pair[1]) for aspect, pair in record["scores"].items()},
            problems=tuple(record["problems"]),
            cached=True,
            said=tuple(record["said"]),
            means=tuple(record.get("means", ())),
        )
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        expected = f"a verdict of format {FORMAT}"
        raise FormatError(f"{where}: {error!r}", expected, "Mend or delete that line.") from error
