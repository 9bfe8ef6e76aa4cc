"""Prompts: versioned text files of this package, told apart by name (`rewrite-detail-1`) and sha256.

A prompt that has been used to make results is never edited; its successor gets the next number.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from indexes.errors import FormatError

PROMPTS = Path(__file__).parent / "prompts"
HOLE = re.compile(r"\{(query|k|rewrite)\}")  # all other braces of a prompt are the JSON that it shows


@dataclass(frozen=True)
class Prompt:
    """What the model is told (`system`), and what it is asked (`user`), with holes `{query}`, `{k}`, `{rewrite}`."""

    name: str
    system: str
    user: str
    sha256: str

    def filled(self, values: Mapping[str, str | int]) -> tuple[str, str]:
        """System and user text. Values are put in as JSON, in one pass: what a query holds, braces, quotes or line
        breaks, stays one string of data and is never taken for a hole."""

        def value(match: re.Match[str]) -> str:
            return json.dumps(values[match[1]], ensure_ascii=False)

        return HOLE.sub(value, self.system), HOLE.sub(value, self.user)


@lru_cache
def read_prompt(name: str) -> Prompt:
    """The prompt of a file of this package. Raises FormatError where it lacks its two parts."""
    content = (PROMPTS / f"{name}.txt").read_bytes()
    system, line, user = content.decode().partition("\n---\n")
    if not line:
        raise FormatError(f"the prompt {name} has no line ---", "system and user text", "Install beholder again.")
    return Prompt(name, system.strip(), user.strip(), hashlib.sha256(content).hexdigest())
