"""Conversations that a language model writes from people's words: what both ways of writing share.

Questions go to any OpenAI-compatible server (`retrieval.language.chat`), through its cache of answers, so that an
interrupted run goes on and pays for nothing twice. What is not answered, or answered in a form that cannot be used,
is counted by reason; nothing is filled in.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, ConditionFailed
from retrieval.conversations import Conversation
from retrieval.language.asking import Asks, AskSettings, open_chat
from retrieval.language.chat_exchange import Answer, Failure, Question
from retrieval.language.chat_schema import Schema
from retrieval.language.prompt import read_prompt

Progress = Callable[[int, int], None]
WORDS = re.compile(r"[^\W\d_]{3,}")
REFUSAL = re.compile(
    r"\b(?:as an ai|i (?:cannot|can't|can not|am unable|am not able)|i'm (?:sorry|unable)|language model)\b"
)


@dataclass
class Written:
    """Conversations, and why there are not more: reason -> count."""

    conversations: list[Conversation] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Writers:
    """Models that are asked, by name."""

    models: Mapping[str, Asks]

    def ask(
        self, model: str, prompt: str, data: Sequence[Any], k: int, schema: Schema, progress: Progress | None = None
    ) -> list[Answer | Failure]:
        """An answer for each of `data`, which the prompt holds as JSON. Raises ConditionFailed where none can be had
        (a wrong key, nobody at that address): what was answered until then is kept in the cache."""
        read = read_prompt(prompt)
        questions = [Question(*read.filled({"query": one, "k": k}), schema=schema) for one in data]
        answers = self.models[model].ask_many(questions, progress)
        lost = next((one.reason for one in answers if isinstance(one, Failure) and one.hopeless), None)
        if lost is not None:
            raise ConditionFailed(f"{model}: {lost}", "answers", "Run it again: what was answered is kept.")
        return answers


def open_writers(specs: Sequence[str], cache: Path | None, max_answer_tokens: int, concurrency: int) -> Writers:
    """The models of `llm:MODEL[@URL]` each. Raises BeholderError for anything else, and for the same model twice."""
    kept = str(cache) if cache is not None else None
    settings = AskSettings(concurrency=concurrency, max_answer_tokens=max_answer_tokens, cache=kept)
    models: dict[str, Asks] = {}
    for spec in specs:
        scheme, _, rest = spec.partition(":")
        if scheme != "llm":
            raise BeholderError(f"--model {spec}", "llm:MODEL[@URL]", "Example: llm:qwen3@http://localhost:8000/v1")
        client = open_chat(rest, settings)
        if client.config.model in models:
            raise BeholderError(
                f"--model {client.config.model} twice", "different models: agreement of one with itself is none"
            )
        models[client.config.model] = client
    if not models:
        raise BeholderError("no model to write with", "--model llm:MODEL[@URL]", "Name one.")
    return Writers(models)


def failed(answer: Failure) -> str:
    """The kind of a failure, to count by."""
    return f"no answer ({answer.reason.partition(':')[0]})"


def shared_words(text: str, source: str) -> float:
    """Share in [0, 1] of a text's words of five letters and more whose first five letters begin a word of the source;
    1 for a text without such words. Crude on purpose: it finds answers that have nothing to do with what they are
    said to rest on, and lets other words for the same pass."""
    long = [word[:5] for word in WORDS.findall(text.lower()) if len(word) >= 5]
    known = {word[:5] for word in WORDS.findall(source.lower())}
    return sum(word in known for word in long) / len(long) if long else 1.0


def refuses(text: str) -> bool:
    """Whether a text is a model speaking of itself in place of an answer."""
    return REFUSAL.search(text.lower()) is not None
