"""Kept answers of language models: one SQLite file, keyed by the sha256 of all that decides an answer.

SQLite because several processes may write, a killed one must leave no half answer, and thousands of small files are
slow to copy. The file may hold people's queries: it is made readable by its owner only.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexes.errors import FormatError

WAIT_S = 20.0  # for another process that writes


class AnswerCache:
    """Texts by key. Safe to use from several threads and processes: each call opens the file for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._opened() as database:
            database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")

    def get(self, key: str) -> str | None:
        """The kept answer, None where there is none. Raises FormatError for a file that is no cache."""
        with self._opened() as database:
            row = database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, answer: str) -> None:
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))

    def __len__(self) -> int:
        with self._opened() as database:
            return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=WAIT_S)
            try:
                with database:  # commits, or rolls back
                    yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise FormatError(
                f"{self.path} cannot be used ({error})", "a cache of answers", "Delete it: answers are asked again."
            ) from error
