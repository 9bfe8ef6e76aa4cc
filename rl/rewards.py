"""Rewards of rewrites, in TRL's signature: `f(prompts, completions, **columns) -> one number per completion`.

    rank_gain   how much higher the relevant, beautiful pictures come than for the query as it was typed (rank_gain.py)
    drift       0, or below where the rewrite is no longer near its query: down to -1
    form        0, or -1 for an answer that cannot be used: empty, a refusal, more than one mark or line
    length      0 up to RewardConfig.words added words, then down to -1; -1 where the text tower would cut it
    diversity   share of the group's other answers that differ
    topic       0, or -1 where a language model behind a server says that the meaning changed (async)

`align rewriter grpo` takes them by name, `trl grpo --reward_funcs rl.rewards.rank_gain rl.rewards.drift` by path: the
settings then come from the JSON file (RewardConfig) that BEHOLDER_REWARDS names. Rows hold `prompt`, `query`, and
`relevant` (a condition over the corpus' items, as `search --where` has it) or `pictures` (sha256s).

Each reward logs how it goes with the answers' length in tokens: a reward that grows with length is being farmed.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import BeholderError
from retrieval.rewriting.arms import MARK, filled
from retrieval.rewriting.checks import fits, measured_floor, problem_of
from retrieval.rewriting.offline import bare
from rl.rewriting.rank_gain import correlation
from rl.rewriting.reward_config import NAMES, RewardConfig
from rl.rewriting.reward_corpus import Corpus, load_corpus

VARIABLE = "BEHOLDER_REWARDS"
Values = Sequence[float | None]


class Rewards:
    """The rewards over one corpus; the corpus is loaded with the first that needs it."""

    def __init__(self, config: RewardConfig, corpus: Corpus | None = None, judge: Any = None) -> None:
        self.config, self._corpus, self._judge = config, corpus, judge

    @functools.cached_property
    def corpus(self) -> Corpus:
        return self._corpus or load_corpus(self.config)

    @functools.cached_property
    def floor(self) -> float:
        return self.config.topic_floor if self.config.topic_floor is not None else measured_floor(self.corpus.encoder)

    def rank_gain(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        queries, texts = rewritten(completions, columns)
        kinds = columns.get("relevant") or [None] * len(queries)
        pictures = columns.get("pictures") or [None] * len(queries)
        weights = np.stack([self.corpus.weights(*one) for one in zip(kinds, pictures, strict=True)])
        after = self.corpus.utilities(texts, weights)
        before = self.corpus.utilities([bare(query) for query in queries], weights)
        return _logged("rank_gain", (after - before).tolist(), completions, columns)

    def drift(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        queries, texts = rewritten(completions, columns)
        vectors = self.corpus.text_vectors([*queries, *texts])
        cosines = (vectors[: len(queries)] * vectors[len(queries) :]).sum(1)
        below = np.clip((cosines - self.floor) / max(self.floor, 1e-6), -1, 0)
        return _logged("drift", below.tolist(), completions, columns)

    def form(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        said = [text_of(one) for one in completions]
        usable = [_usable(query, answer) for query, answer in zip(columns["query"], said, strict=True)]
        return _logged("form", [0.0 if one else -1.0 for one in usable], completions, columns)

    def length(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        queries, texts = rewritten(completions, columns)
        most = self.config.words
        over = [len(text.split()) - len(query.split()) - most for query, text in zip(queries, texts, strict=True)]
        whole = fits(self.corpus.encoder, texts)
        values = [-min(1.0, max(0, one) / most) if fit else -1.0 for one, fit in zip(over, whole, strict=True)]
        return _logged("length", values, completions, columns)

    def diversity(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        said = [" ".join(text_of(one).casefold().split()) for one in completions]
        keys = list(zip(columns["query"], said, strict=True))
        same, group = Counter(keys), Counter(columns["query"])
        values = [1 - (same[key] - 1) / (group[key[0]] - 1) if group[key[0]] > 1 else 0.0 for key in keys]
        return _logged("diversity", values, completions, columns)

    async def topic(self, prompts: Any, completions: Any, **columns: Any) -> Values:
        """Asks the server for all at once; an answer that fails is None, which TRL leaves out of the sum."""
        queries, texts = rewritten(completions, columns)
        values = await asyncio.to_thread(self._asked, queries, texts)
        return _logged("topic", values, completions, columns)

    def _asked(self, queries: Sequence[str], texts: Sequence[str]) -> Values:
        from retrieval.language.chat_exchange import Answer, Question
        from retrieval.language.chat_schema import object_schema
        from retrieval.language.prompt import read_prompt

        prompt, schema = read_prompt("reward-topic-1"), object_schema({"same": {"type": "boolean"}})
        asked = [
            Question(*prompt.filled({"query": query, "rewrite": text}), schema=schema)
            for query, text in zip(queries, texts, strict=True)
        ]
        answers = self._client().ask_many(asked)
        return [(0.0 if one.value["same"] else -1.0) if isinstance(one, Answer) else None for one in answers]

    def _client(self) -> Any:
        if self._judge is None:
            from retrieval.language.asking import AskSettings, open_chat

            kind, _, named = self.config.judge.partition(":")
            if kind != "llm" or not named:
                raise BeholderError(f"judge {self.config.judge!r}", "llm:MODEL[@URL]", "The reward `topic` asks it.")
            self._judge = open_chat(named, AskSettings(timeout_s=30.0, max_answer_tokens=32, cache=None))
        return self._judge


def text_of(completion: Any) -> str:
    """What was said, of TRL's two forms: words, or a list of messages."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def rewritten(completions: Sequence[Any], columns: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The rows' queries, and what the text tower would see: an answer that adds nothing leaves its query. Raises
    BeholderError for rows without queries."""
    if "query" not in columns:
        raise BeholderError("rows without the column query", "query, and relevant or pictures", "Make them so.")
    queries = list(columns["query"])
    return queries, [
        filled(query, text_of(one)).text or bare(query) for query, one in zip(queries, completions, strict=True)
    ]


def _usable(query: str, answer: str) -> bool:
    if "\n" in answer.strip() or answer.count(MARK) > 1:
        return False
    text = filled(query, answer).text
    return problem_of(query, text) is None and problem_of(query, answer.replace(MARK, bare(query))) is None


def _logged(name: str, values: Values, completions: Sequence[Any], columns: dict[str, Any]) -> Values:
    log = columns.get("log_metric")
    if log is not None:
        ids = columns.get("completion_ids") or [text_of(one).split() for one in completions]
        numbers = np.array([np.nan if one is None else one for one in values])
        found = correlation(numbers, np.array([len(one) for one in ids], np.float64))
        if found is not None:
            log(f"rewards/{name}/length_correlation", found)
    return values


@functools.cache
def default() -> Rewards:
    """The rewards of the settings that BEHOLDER_REWARDS names. Raises BeholderError where it names none."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        raise BeholderError(f"{VARIABLE} is not set", "the rewards.json of an `align rewriter grpo` run", "Set it.")
    return Rewards(RewardConfig.read(Path(path)))


def rank_gain(prompts: Any, completions: Any, **columns: Any) -> Values:
    """As Rewards.rank_gain; so are the others."""
    return default().rank_gain(prompts, completions, **columns)


def drift(prompts: Any, completions: Any, **columns: Any) -> Values:
    return default().drift(prompts, completions, **columns)


def form(prompts: Any, completions: Any, **columns: Any) -> Values:
    return default().form(prompts, completions, **columns)


def length(prompts: Any, completions: Any, **columns: Any) -> Values:
    return default().length(prompts, completions, **columns)


def diversity(prompts: Any, completions: Any, **columns: Any) -> Values:
    return default().diversity(prompts, completions, **columns)


async def topic(prompts: Any, completions: Any, **columns: Any) -> Values:
    return await default().topic(prompts, completions, **columns)


def chosen(rewards: Rewards, names: Sequence[str]) -> list[Callable[..., Any]]:
    """Its rewards by name. Raises BeholderError for one that there is not."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise BeholderError(f"rewards {', '.join(unknown) or 'none'}", ", ".join(NAMES), "Check --reward.")
    return [getattr(rewards, name) for name in names]
