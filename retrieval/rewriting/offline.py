"""Rewriters that ask no model: none, template, repeat, suffix. Their names carry the version of their list."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from retrieval.language.prompt import PROMPTS

from .checks import Draft, Gate
from .rewriter import Progress, Rewrite

TEMPLATE = "template-1"
SUFFIX = "beautiful, high quality, professional photography, balanced composition"
REPEAT_WORDS = 24  # about what the arm `detail` asks for: the control has a rewrite's length


class Nothing:
    """The query as typed."""

    name = "none"
    hopeless = None

    @property
    def provenance(self) -> dict[str, Any]:
        return {"rewriter": self.name}

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        return [Rewrite(text, text, self.name) for text in texts]


class Template:
    """Adds what fits the kind of subject, told by its words."""

    name = TEMPLATE
    hopeless = None

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @property
    def provenance(self) -> dict[str, Any]:
        return {"rewriter": self.name}

    @cached_property
    def _kinds(self) -> list[tuple[str, re.Pattern[str], str]]:
        lines = (PROMPTS / f"{TEMPLATE}.txt").read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
        return [(kind, _any_of(words), added) for kind, words, added in rows]

    def kind(self, text: str) -> tuple[str, str]:
        """The kind of subject of a query, and what is added for it."""
        return next((kind, added) for kind, words, added in self._kinds if words.search(text))

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        return self._gate.passed(texts, [Draft(f"{bare(text)}, {self.kind(text)[1]}") for text in texts], self.name)


class Repeat:
    """Control: tests whether length alone helps."""

    name = f"repeat-{REPEAT_WORDS}"
    hopeless = None

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @property
    def provenance(self) -> dict[str, Any]:
        return {"rewriter": self.name, "words": REPEAT_WORDS}

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        drafts = [
            Draft(", ".join([bare(text)] * max(2, round(REPEAT_WORDS / max(1, len(text.split())))))) for text in texts
        ]
        return self._gate.passed(texts, drafts, self.name)


class Suffix:
    """The same words behind every query."""

    hopeless = None

    def __init__(self, gate: Gate, words: str = "") -> None:
        self._gate = gate
        self._words = words.strip() or SUFFIX
        self.name = f"suffix:{words.strip()}" if words.strip() else "suffix-1"

    @property
    def provenance(self) -> dict[str, Any]:
        return {"rewriter": self.name, "words": self._words}

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        return self._gate.passed(texts, [Draft(f"{bare(text)}, {self._words}") for text in texts], self.name)


def bare(text: str) -> str:
    """A query without the stop at its end, so that words can follow."""
    return " ".join(text.split()).rstrip(" .,;")


def _any_of(words: str) -> re.Pattern[str]:
    """Matches any of the words, singular or with a plural's ending; anything where there is none."""
    if not words:
        return re.compile("")
    alternatives = "|".join(re.escape(word.strip()) for word in words.split(","))
    return re.compile(rf"\b(?:{alternatives})(?:s|es)?\b", re.IGNORECASE)
