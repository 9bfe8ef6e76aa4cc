"""What a critic said, and whether it may be shown: a refusal, noise and silence are told apart from a critique."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from retrieval.rewriting.checks import REFUSAL

MOST_CHARACTERS = 4000  # past it a model does not stop
LOOP = 4  # times that the same words may follow each other


@dataclass(frozen=True)
class Said:
    """A text, or the reason why there is none; never words that the model did not say."""

    text: str | None
    fallback: str = ""
    cached: bool = False


def checked(text: str, cached: bool = False) -> Said:
    """An answer as it may be shown: one line of printable characters, or the reason why not."""
    plain = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    plain = "".join(one for one in plain if unicodedata.category(one) not in ("Cf", "Cs", "Co", "Cn"))
    plain = " ".join(plain.split())
    reason = _wrong(plain)
    return Said(None, reason, cached) if reason else Said(plain, "", cached)


def _wrong(text: str) -> str:
    words = re.findall(r"\w+", text.lower())
    if not words:
        return "empty answer"
    if REFUSAL.match(text):
        return "refused"
    if len(text) > MOST_CHARACTERS:
        return "endless answer"
    letters = sum(one.isalpha() for one in text)
    most = max(len(word) for word in words)
    if "\ufffd" in text or letters < len(text.replace(" ", "")) / 2 or most > 40 or _loops(words):
        return "nonsense"
    return ""


def _loops(words: list[str]) -> bool:
    """Whether the same one to four words follow each other LOOP times."""
    for width in range(1, 5):
        for start in range(len(words) - width * LOOP + 1):
            part = words[start : start + width]
            if all(words[start + turn * width : start + (turn + 1) * width] == part for turn in range(1, LOOP)):
                return True
    return False


def counted(said: Iterable[Said]) -> dict[str, int]:
    """reason -> how many have no text for it."""
    return dict(sorted(Counter(one.fallback for one in said if one.text is None).items()))
