"""Rewards in TRL's signature over a corpus whose vectors are foreseen: what gains, what costs, what is logged."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from benchmarks.tables.evaluation import evaluation_pictures
from indexes.errors import BeholderError, FormatError
from indexes.records.shards import EncoderRecord
from retrieval.language.chat_exchange import Answer, Failure
from rl import rewards as module
from rl.rewards import Rewards
from rl.rewriting.reward_config import RewardConfig
from rl.rewriting.reward_corpus import Corpus

WIDTH = 256
PICTURES = ["cubism guitar", "cubism table", "tonalism mist", "tonalism lake", "dog grass", "dog sofa", "bread", "cat"]


class Words:
    """A text is the sum of its words' random directions; twelve words are read."""

    def __init__(self) -> None:
        self.record = EncoderRecord("words", "i" * 64, "t" * 64, WIDTH, {})
        self.read: list[str] = []

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        tokens = np.zeros((len(texts), 12), np.int64)
        for row, text in enumerate(texts):
            for place, word in enumerate(text.lower().replace(",", " ").split()[:12]):
                tokens[row, place] = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) + 1
        return tokens

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.read += texts
        rows = [
            sum((np.random.default_rng(token).standard_normal(WIDTH) for token in row[row > 0]), np.zeros(WIDTH))
            for row in self.tokenize(texts)
        ]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made(shares: Any = None, beauty: float = 0.0, sha256s: list[str] | None = None) -> Corpus:
    encoder = Words()
    names = sha256s or [hashlib.sha256(name.encode()).hexdigest() for name in PICTURES]
    items = pa.table({"id": range(len(PICTURES)), "sha256": names, "uri": PICTURES})
    vectors = encoder.encode_texts(PICTURES)
    encoder.read.clear()
    return Corpus(vectors, items, encoder, shares=shares, beauty=beauty)


def rewards(**settings: Any) -> Rewards:
    return Rewards(RewardConfig("unused", **{"topic_floor": 0.3, **settings}), made())


def said(*answers: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": answer}] for answer in answers]


CUBISM = "uri LIKE 'cubism%'"


def test_a_rewrite_that_names_what_pictures_hold_gains_and_one_that_misleads_loses() -> None:
    answers = said("cubism, <query>", "tonalism, <query>", "<query>")
    found = rewards().rank_gain([], answers, query=["guitar"] * 3, relevant=[CUBISM] * 3)
    assert found[0] > 0.05
    assert found[1] < 0
    assert found[2] == 0


def test_relevant_pictures_may_be_given_by_sha256_and_plain_texts_are_read_too() -> None:
    names = [hashlib.sha256(name.encode()).hexdigest() for name in PICTURES[:2]]
    answers = ["cubism, <query>", "tonalism, <query>"]
    by_hash = rewards().rank_gain([], answers, query=["guitar"] * 2, pictures=[names] * 2)
    by_condition = rewards().rank_gain([], answers, query=["guitar"] * 2, relevant=[CUBISM] * 2)
    assert by_hash == by_condition


def test_beauty_turns_the_gain_to_the_more_beautiful_of_the_relevant() -> None:
    shares = np.array([0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    both = Rewards(RewardConfig("unused", topic_floor=0.3), made(shares, 1.0))
    toward = both.rank_gain([], said("table <query>", "guitar <query>"), query=["cubism"] * 2, relevant=[CUBISM] * 2)
    assert toward[0] >= toward[1]


def test_drift_costs_what_is_no_longer_the_query() -> None:
    found = rewards(topic_floor=0.6).drift([], said("<query> mist", "a b c d e f g h i j <query>"), query=["lake"] * 2)
    assert found[0] == 0
    assert -1 <= found[1] < 0


@pytest.mark.parametrize(
    ("answer", "worth"),
    [("cubism, <query>", 0.0), ("", -1.0), ("<query>", -1.0), ("a <query> b <query>", -1.0), ("a\nb", -1.0),
     ("I'm sorry, I cannot help", -1.0)],
)  # fmt: skip
def test_form_costs_an_answer_that_cannot_be_used(answer: str, worth: float) -> None:
    assert rewards().form([], said(answer), query=["guitar"]) == [worth]


def test_length_costs_beyond_the_words_and_whole_where_the_tower_cuts() -> None:
    answers = said("one two <query>", "one two three <query>", "one two three four <query>", f"{'word ' * 12}<query>")
    assert rewards(words=2).length([], answers, query=["guitar"] * 4) == [0.0, -0.5, -1.0, -1.0]


def test_diversity_is_the_share_of_the_group_that_says_something_else() -> None:
    answers = said("a <query>", "A  <query>", "b <query>", "a <query>")
    found = rewards().diversity([], answers, query=["x", "x", "x", "y"])
    assert found == [0.5, 0.5, 1.0, 0.0]


def test_topic_asks_a_server_and_leaves_out_what_fails() -> None:
    class Judge:
        def ask_many(self, questions: Sequence[Any], progress: Any = None) -> list[Any]:
            assert '"dogs"' in questions[0].user
            assert "cubism, dogs" in questions[0].user
            return [Answer("", {"same": True}, "plain"), Answer("", {"same": False}, "plain"), Failure("timeout")]

    one = Rewards(RewardConfig("unused"), made(), judge=Judge())
    found = asyncio.run(one.topic([], said("cubism, <query>", "cats", "x <query>"), query=["dogs"] * 3))
    assert found == [0.0, -1.0, None]


def test_topic_without_a_judge_says_what_it_needs() -> None:
    with pytest.raises(BeholderError, match="llm:MODEL"):
        asyncio.run(rewards().topic([], said("a <query>"), query=["dogs"]))


def test_each_reward_logs_how_it_goes_with_length() -> None:
    logged: dict[str, float] = {}
    answers = said("a <query>", "a b <query>", "a b c <query>")
    rewards(words=1).length([], answers, query=["x"] * 3, log_metric=logged.__setitem__, completion_ids=[[1]] * 3)
    assert logged == {}
    ids = [[1], [1, 2], [1, 2, 3]]
    rewards(words=1).length([], answers, query=["x"] * 3, log_metric=logged.__setitem__, completion_ids=ids)
    assert logged["rewards/length/length_correlation"] < -0.8


def test_a_text_is_encoded_once() -> None:
    one = rewards()
    for _ in range(3):
        one.rank_gain([], said("cubism, <query>"), query=["guitar"], relevant=[CUBISM])
    assert len(one.corpus.encoder.read) == 2  # type: ignore[attr-defined]


def test_rows_without_queries_or_relevant_pictures_are_refused() -> None:
    with pytest.raises(BeholderError, match="column query"):
        rewards().drift([], said("a"))
    with pytest.raises(BeholderError, match="no picture of the corpus is relevant"):
        rewards().rank_gain([], said("a"), query=["x"], relevant=["uri = 'none'"])


def test_training_on_pictures_that_are_kept_for_evaluation_is_refused() -> None:
    names = [*sorted(evaluation_pictures())[:1], *(hashlib.sha256(name.encode()).hexdigest() for name in PICTURES[1:])]
    corpus = made(sha256s=names)
    with pytest.raises(BeholderError, match="kept for evaluation"):
        Rewards(RewardConfig("unused"), corpus).rank_gain([], said("a"), query=["x"], relevant=[CUBISM])
    corpus.allowed_evaluation = True
    assert corpus.weights(CUBISM, None).sum() == 2


def test_the_functions_that_trl_finds_by_path_read_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.default.cache_clear()
    monkeypatch.delenv("BEHOLDER_REWARDS", raising=False)
    with pytest.raises(BeholderError, match="BEHOLDER_REWARDS is not set"):
        module.form([], said("a <query>"), query=["x"])
    path = tmp_path / "rewards.json"
    path.write_text(json.dumps(RewardConfig("nowhere", words=3).to_dict()))
    monkeypatch.setenv("BEHOLDER_REWARDS", str(path))
    assert module.form([], said("a <query>"), query=["x"]) == [0.0]
    path.write_text('{"pictures": "x", "colour": 1}')
    module.default.cache_clear()
    with pytest.raises(FormatError, match="colour"):
        module.form([], said("a <query>"), query=["x"])
    module.default.cache_clear()
