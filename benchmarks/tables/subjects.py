"""Lists of subjects in the box, and which of them the captions of a table name: the words that two benchmarks ask."""

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

from indexes.errors import BeholderError

ABSENT = 200
COMMON = 20  # captions that name a one-word subject, at least
SMALL_WORDS = frozenset(["a", "an", "the", "of", "in", "on", "at", "for", "with", "and", "from"])


def absent_subjects(captions: Iterable[str], most: int = ABSENT) -> list[str]:
    """The first `most` subjects of the list in the box of which no word is in any caption. Raises BeholderError
    where there are none."""
    there = {stem(word) for caption in captions for word in words_of(caption)}
    absent = [
        line
        for line in word_list("absent_subjects.txt")
        if not any(stem(word) in there for word in words_of(line) if word not in SMALL_WORDS)
    ]
    if not absent:
        raise BeholderError("the captions name every absent subject", "a table of other pictures")
    return absent[:most]


def short_subjects(captions: Iterable[str], least: int = COMMON) -> list[str]:
    """The one-word subjects of the list in the box that at least so many captions name. Raises BeholderError where
    there are none."""
    named = Counter(found for caption in captions for found in {stem(word) for word in words_of(caption)})
    short = [line for line in word_list("short_subjects.txt") if named[stem(line)] >= least]
    if not short:
        raise BeholderError("the captions name no subject of the list", "a table of everyday pictures")
    return short


def word_list(name: str) -> list[str]:
    """The lines of a list in the box."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"[^\W\d_]+", text.lower())


def stem(word: str) -> str:
    """Plural and singular are one subject."""
    for ending, kept in (("ies", "y"), ("es", ""), ("s", ""), ("e", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + kept
    return word
