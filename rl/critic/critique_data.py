"""Human reviews of pictures -> typed questions and answers, as AesMMIT (arXiv 2404.09624) was made: a model that sees
no picture turns what people wrote into how, what, is, why, emotion and improvement.

Deliberate differences: the prompt is ours (theirs is not published); an answer that does not rest on the review, speaks
of the review, or names its writer is left out and counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexes.errors import BeholderError
from retrieval.conversations import ASSISTANT, IMAGE, USER, Conversation, Turn
from retrieval.language.chat_exchange import Failure
from retrieval.language.chat_schema import object_schema

from .written_data import Progress, Writers, Written, failed, refuses, shared_words

PROMPT = "critic-instructions-1"
TYPES = "what", "how", "is", "why", "emotion", "improve"
PAIR = object_schema({"type": {"type": "string", "enum": list(TYPES)}, "question": {"type": "string"},
                      "answer": {"type": "string"}})  # fmt: skip
SCHEMA = object_schema({"pairs": {"type": "array", "items": PAIR}})
GIVEN_AWAY = "the review", "this review", "reviewer", "photographer says", "the score", "out of 10"
LEAST_SHARED = 0.3  # of the answer's long words with the review: low, as other words for the same are welcome
MOST_WORDS = 150
PCCD = (
    "general_impression", "subject_of_photo", "composition", "use_of_camera", "depth_of_field", "color_lighting",
    "focus",
)  # fmt: skip


@dataclass(frozen=True)
class Review:
    """What one person wrote of one picture: aspect -> text. `picture`: its path, "" where it is not at hand."""

    id: str
    texts: Mapping[str, str]
    picture: str = ""
    split: str = "train"

    @property
    def whole(self) -> str:
        return " ".join(self.texts.values())


def reviews_of(rows: Sequence[Mapping[str, str]], columns: Sequence[str], picture_column: str = "") -> Iterator[Review]:
    """Reviews of a table's rows: the columns that say something. Raises BeholderError where none has a text."""
    found = False
    for number, row in enumerate(rows, 1):
        texts = {column: row[column].strip() for column in columns if row[column].strip()}
        if texts:
            found = True
            yield Review(str(number), texts, row[picture_column] if picture_column else "")
    if not found:
        raise BeholderError(f"no text in the columns {', '.join(columns)}", "reviews", "Name the columns.")


def from_critiques(
    reviews: Sequence[Review], writers: Writers, *, source: str, licence: str, most: int = 6,
    progress: Progress | None = None,
) -> Written:  # fmt: skip
    """A conversation for each usable pair, by the first of the writers."""
    model = next(iter(writers.models))
    asked: list[Any] = [dict(review.texts) for review in reviews]
    written = Written()
    for review, said in zip(reviews, writers.ask(model, PROMPT, asked, most, SCHEMA, progress), strict=True):
        if isinstance(said, Failure):
            written.rejected[failed(said)] += 1
            continue
        if not said.value["pairs"]:
            written.rejected["nothing of use in the review"] += 1
        for number, pair in enumerate(said.value["pairs"][:most]):
            reason = _wrong(pair, review)
            if reason is None:
                written.conversations.append(_conversation(pair, review, number, source, licence))
            else:
                written.rejected[reason] += 1
    return written


def _wrong(pair: Mapping[str, str], review: Review) -> str | None:
    question, answer = pair["question"].strip(), pair["answer"].strip()
    both = f"{question} {answer}".lower()
    if not question or not answer:
        return "an empty question or answer"
    if refuses(answer):
        return "a refusal in place of an answer"
    if any(words in both for words in GIVEN_AWAY):
        return "speaks of the review"
    if len(answer.split()) > MOST_WORDS:
        return f"an answer of more than {MOST_WORDS} words"
    if shared_words(answer, review.whole) < LEAST_SHARED:
        return "does not rest on the review"
    if IMAGE in both:
        return f"says {IMAGE}"
    return None


def _conversation(pair: Mapping[str, str], review: Review, number: int, source: str, licence: str) -> Conversation:
    question = pair["question"].strip()
    pictures = (review.picture,) if review.picture else ()
    turns = (Turn(USER, f"{IMAGE}\n{question}" if pictures else question), Turn(ASSISTANT, pair["answer"].strip()))
    return Conversation(
        pictures, turns, source, licence, review.split, f"critique/{pair['type']}", f"{source}-{review.id}-{number}"
    )
