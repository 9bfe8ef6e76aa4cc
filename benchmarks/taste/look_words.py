"""Words that ask for a look: the table in the box and others of its columns, read and checked."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from benchmarks.tables.judgements import read_tsv
from benchmarks.tables.subjects import stem, words_of
from indexes.errors import FormatError

COLUMNS = ("word", "query", "subject", "attribute", "direction", "teacher", "split", "reason")
ATTRIBUTES = "brightness", "contrast", "saturation", "colourfulness", "warmth", "complexity"
SIGNS = {"+": 1, "-": -1}
TRAINED, UNSEEN = "trained", "unseen"


@dataclass(frozen=True)
class LookWord:
    """A word, the query that holds it, and what is expected of it."""

    word: str
    query: str
    subjects: tuple[str, ...]  # any of these in a caption names the subject; the first is the query's
    attribute: str  # that is measured: one of ATTRIBUTES
    sign: int  # 1: the word asks for more of it, -1: for less
    teacher: tuple[tuple[str, int], ...]  # (attribute, sign) as a rewriter would have it
    split: str  # TRAINED: alignment may learn from it, or UNSEEN
    reason: str


def look_words(path: Path | None = None) -> list[LookWord]:
    """The words of a table, or of the one in the box. Raises FormatError naming the word that is wrong."""
    if path is None:
        with as_file(files(__package__).joinpath("look_words.tsv")) as inside:
            return look_words(inside)
    words = [_word(row, path) for row in read_tsv(path, COLUMNS)]
    if not words:
        raise FormatError(f"{path.name} has no words", "at least one", "Check the table.")
    if len({word.word for word in words}) < len(words):
        raise FormatError(f"{path.name} holds a word twice", "each word once", "Mend the table.")
    return words


def names_subject(word: LookWord, caption_stems: set[str]) -> bool:
    """Whether captions with these stems of words name the subject; plural and singular are one."""
    return any(stem(subject) in caption_stems for subject in word.subjects)


def stems_of(captions: list[str]) -> set[str]:
    """The stems of all words of captions."""
    return {stem(word) for caption in captions for word in words_of(caption)}


def _word(row: dict[str, str], path: Path) -> LookWord:
    def wrong(found: str, expected: str) -> FormatError:
        return FormatError(f"{path.name}: {row['word']!r} has {found}", expected, "Mend the table.")

    subjects = tuple(row["subject"].split("|"))
    if row["attribute"] not in ATTRIBUTES:
        raise wrong(f"the attribute {row['attribute']!r}", f"one of {', '.join(ATTRIBUTES)}")
    if row["direction"] not in SIGNS:
        raise wrong(f"the direction {row['direction']!r}", "+ or -")
    if row["split"] not in (TRAINED, UNSEEN):
        raise wrong(f"the split {row['split']!r}", f"{TRAINED} or {UNSEEN}")
    if not row["word"] or row["query"].split() != [*row["word"].split(), *subjects[0].split()]:
        raise wrong(f"the query {row['query']!r}", f"the word, then {subjects[0]!r}")
    if not row["reason"].strip():
        raise wrong("no reason", "why it means that")
    teacher = []
    for part in row["teacher"].split():
        if part[:-1] not in ATTRIBUTES or part[-1] not in SIGNS:
            raise wrong(f"{part!r} in teacher", "attributes with a sign, such as brightness-")
        teacher.append((part[:-1], SIGNS[part[-1]]))
    if teacher[:1] != [(row["attribute"], SIGNS[row["direction"]])]:
        raise wrong(f"the teacher {row['teacher']!r}", f"{row['attribute']}{row['direction']} first")
    return LookWord(
        row["word"],
        row["query"],
        subjects,
        row["attribute"],
        SIGNS[row["direction"]],
        tuple(teacher),
        row["split"],
        row["reason"],
    )
