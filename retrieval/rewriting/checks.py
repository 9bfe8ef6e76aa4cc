"""What a rewrite must pass before it stands in for a query: something said, no refusal, the topic kept, and no longer
than the text tower reads. What does not pass falls back to the query, with the reason.
"""

import contextlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.records.manifest import write_json_atomic
from retrieval.encoding.encoder import TextEncoder
from retrieval.language.asking import cache_folder
from retrieval.language.prompt import PROMPTS

from .rewriter import Rewrite

MOST_CHARACTERS = 2000  # past it an answer is no longer a query cut short but a model that does not stop
UNRELATED_SHARE = 0.95  # a rewrite must be nearer to its query than this share of pairs of unlike captions are
FILLER = " and so on"  # any words: what changes the tokens of a text that the tower still reads to its end
# How models begin when they decline or chat; a query that begins so itself is not held against its rewrite.
REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|i am sorry|sorry\b|i can(?:no|['’])t\b|i can not\b|i(?:['’]m| am) (?:unable|not able)\b|"
    r"i (?:will not|won['’]t)\b|as an? (?:ai|language|assistant)|unfortunately\b|i apologi[sz]e)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Draft:
    """A rewrite before the checks. `judged`: the part that must be on the topic; None where none need be."""

    text: str
    judged: str | None = None
    problem: str | None = None  # why there is no text
    cached: bool = False


class Gate:
    """The checks for one encoder; without one, only those that need none."""

    def __init__(self, encoder: TextEncoder | None, topic_floor: float | None) -> None:
        self.encoder = encoder
        self._floor = topic_floor

    @property
    def topic_floor(self) -> float | None:
        """The least cosine of a query and what a model made of it; None without an encoder."""
        if self._floor is None and self.encoder is not None:
            self._floor = measured_floor(self.encoder)
        return self._floor

    def passed(self, originals: Sequence[str], drafts: Sequence[Draft], rewriter: str) -> list[Rewrite]:
        """Each draft as a Rewrite: accepted, cut, or its original with the reason."""
        plain = [self._plain(original, draft) for original, draft in zip(originals, drafts, strict=True)]
        return [
            self._fitted(original, draft, rewriter)
            for original, draft in zip(originals, self._on_topic(originals, plain), strict=True)
        ]

    def _plain(self, original: str, draft: Draft) -> Draft:
        text = clean(draft.text)
        judged = clean(draft.judged) if draft.judged is not None else None
        # What was said before what was made of it: a refusal behind the query's own words is one all the same.
        problem = draft.problem or (problem_of(original, judged) if judged is not None else None)
        return Draft(text, judged, problem or problem_of(original, text), draft.cached)

    def _on_topic(self, originals: Sequence[str], drafts: list[Draft]) -> list[Draft]:
        """The drafts, with a problem where one left its query's topic. One pass of the text tower for all."""
        at = [place for place, draft in enumerate(drafts) if draft.problem is None and draft.judged is not None]
        floor = self.topic_floor if at else None
        if self.encoder is None or floor is None:
            return drafts
        vectors = self.encoder.encode_texts(
            [originals[place] for place in at] + [drafts[place].judged or "" for place in at]
        )
        for place, cosine in zip(at, (vectors[: len(at)] * vectors[len(at) :]).sum(1), strict=True):
            if cosine < floor:
                draft = drafts[place]
                reason = f"off topic: cosine {cosine:.2f} to the query, below {floor:.2f}: {draft.text[:80]}"
                drafts[place] = Draft(draft.text, draft.judged, reason, draft.cached)
        return drafts

    def _fitted(self, original: str, draft: Draft, rewriter: str) -> Rewrite:
        if draft.problem is not None:
            return Rewrite(original, original, rewriter, draft.problem, False, draft.cached)
        if self.encoder is None or fits(self.encoder, [draft.text])[0]:
            return Rewrite(original, draft.text, rewriter, None, False, draft.cached)
        text = cut(self.encoder, draft.text)
        if len(text) <= len(clean(original)):
            reason = "over-long: nothing of the rewrite fits beside the query in what the text tower reads"
            return Rewrite(original, original, rewriter, reason, True, draft.cached)
        return Rewrite(original, text, rewriter, None, True, draft.cached)


def clean(text: str) -> str:
    """One line: control and invisible characters out (escape sequences, reversed writing), spaces single, outer
    quotes off."""
    spaced = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    seen = "".join(character for character in spaced if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"))
    line = " ".join(seen.split())
    if len(line) > 1 and line[0] + line[-1] in ('""', "“”", "''", "``"):
        line = line[1:-1].strip()
    return line


def problem_of(original: str, text: str) -> str | None:
    """Why a cleaned text cannot be a rewrite of a query; None where it can."""
    if not any(character.isalnum() for character in text):
        return "empty answer"
    if REFUSAL.match(text) and not REFUSAL.match(original):
        return f"refused: {text[:80]}"
    if len(text) > max(MOST_CHARACTERS, 4 * len(original)):
        return f"over-long: {len(text)} characters"
    return None


def fits(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the tower reads each text to its end (bool (N,)): more words behind it then change its tokens.

    Asked so, no tokenizer need say its context. A text that fills the context to the last token counts as one that
    does not fit.
    """
    tokens = np.asarray(encoder.tokenize([*texts, *(text + FILLER for text in texts)]))
    differs: NDArray[np.bool_] = (tokens[: len(texts)] != tokens[len(texts) :]).any(1)
    return differs


def cut(encoder: TextEncoder, text: str) -> str:
    """The longest beginning of a text that the tower reads to its end: whole phrases, or words where the first phrase
    alone is too long; empty where not even a word fits."""
    for separator in (r"(?<=[,;.:]) ", r" "):
        pieces = re.split(separator, text)
        beginnings = [" ".join(pieces[:count]) for count in range(1, len(pieces) + 1)]
        longest = int(fits(encoder, beginnings).sum())  # a longer beginning never fits where a shorter one does not
        if longest:
            return beginnings[longest - 1].rstrip(",;:. ")
    return ""


def measured_floor(encoder: TextEncoder) -> float:
    """The cosine that 95 % of pairs of unlike captions (prompts/topics-1.txt) stay below with this text tower: towers
    differ (CLIP's texts are all near each other), so no fixed number can serve. Kept in the user's cache."""
    path = cache_folder() / "topic-floors" / f"{encoder.record.text_fingerprint}.json"
    try:
        known = json.loads(path.read_bytes())["floor"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if isinstance(known, float):
        return known
    captions = (PROMPTS / "topics-1.txt").read_text(encoding="utf-8").split("\n")
    vectors = np.asarray(encoder.encode_texts([caption for caption in captions if caption]), np.float32)
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    floor = round(float(np.quantile(pairs, UNRELATED_SHARE)), 4)
    with contextlib.suppress(OSError):  # a number that cannot be kept is measured again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, {"floor": floor, "captions": "topics-1"})
    return floor
