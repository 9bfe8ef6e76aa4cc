"""Likelihoods of words from servers that tell them, tell few, refuse to or break off: which are used, and what becomes
of ratings and preferences where there are none."""

import io
import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrieval.critic.critic import CriticSettings, load_critic
from retrieval.critic.opinions import CHANCES, WORDS, preference_of, rating_of, told
from retrieval.language.chat_exchange import Answer, Failure
from retrieval.language.chat_likely import listed_chances

RATINGS = "bad", "poor", "fair", "good", "excellent"
NONE = CriticSettings(cache=None, timeout_s=20.0, retries=0)


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), grey, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


BRIGHT, DARK = png(255), png(0)


def listed(*places: tuple[str, dict[str, float]]) -> dict[str, Any]:
    """A completion: each token with the shares of what might have stood there, itself among them."""
    content = [
        {
            "token": token,
            "logprob": math.log(shares[token]),
            "top_logprobs": [{"token": name, "logprob": math.log(share)} for name, share in shares.items()],
        }
        for token, shares in places
    ]
    return {"choices": [{"message": {"content": "".join(t for t, _ in places)}, "logprobs": {"content": content}}]}


def requests(url: str, path: str = "/log") -> list[dict[str, Any]]:
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        found: list[dict[str, Any]] = json.load(reply)["requests"]
    return found


def test_spellings_of_a_word_add_up_and_unlisted_words_are_at_their_bound() -> None:
    shares = {"Good": 0.5, " good": 0.2, "ex": 0.1, "The": 0.15}  # 0.05 is not listed
    found = listed_chances(listed(("Good", shares), (".", {".": 1.0})), RATINGS)
    assert found is not None
    assert np.exp(found) == pytest.approx([0.05, 0.05, 0.05, 0.7, 0.1])


def test_the_place_is_that_of_the_word_and_not_of_a_thought() -> None:
    sure = [(token, {token: 1.0}) for token in ("<think>", "the second?", "</think>", "\n", "The")]
    shares = {"\u0120first": 0.6, "\u2581second": 0.4}
    found = listed_chances(listed(*sure, ("\u0120first", shares), (" one", {" one": 1.0})), ("first", "second"))
    assert found is not None
    assert np.exp(found) == pytest.approx([0.6, 0.4])


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": {"content": [{"token": "Good"}]}}]},
        {"choices": [{"logprobs": {"content": [{"token": "Good", "logprob": "x", "top_logprobs": []}]}}]},
        {"choices": [{"logprobs": {"content": [{"token": "Good", "logprob": 3.0, "top_logprobs": []}]}}]},
        listed(("Nice", {"Nice": 1.0})),
        listed(("Good", {"Good": 1.0}), (", not ", {", not ": 1.0}), ("excellent", {"excellent": 1.0})),
        listed(("goodness", {"goodness": 1.0})),
    ],
)
def test_no_likelihood_without_a_list_or_a_single_word(reply: Any) -> None:
    assert listed_chances(reply, RATINGS) is None


def test_a_served_critic_rates_by_expectation_and_sees_past_its_liking_for_a_place(chat_server: str) -> None:
    critic = load_critic(f"llm:likely@{chat_server}", NONE)
    rated = critic.ratings([BRIGHT, DARK, png(128), b""])
    weights = [math.exp(-abs(4 - place)) for place in range(5)]
    by_hand = sum(value * weight for value, weight in zip(range(1, 6), weights, strict=True)) / sum(weights)
    assert [one.value for one in rated[:2]] == pytest.approx([by_hand, 6 - by_hand])
    assert [one.means for one in rated] == [CHANCES] * 3 + [""]
    assert rated[3].fallback == "missing picture"
    assert math.isnan(rated[3].value)
    bright, dark = critic.compare([(BRIGHT, DARK), (DARK, BRIGHT)])
    assert (bright.choice, dark.choice) == ("first", "second")
    assert bright.nats == pytest.approx((1.0 - 1.5, 1.0 + 1.5))  # its liking of 1.5 nats cancels
    assert bright.shown == ("second", "second")  # and can be seen
    assert critic.compare([(DARK, DARK)])[0].choice is None
    assert told(one.means for one in (bright, dark)) == "2 by log-probabilities"


@pytest.mark.parametrize(
    ("model", "means", "asked"),
    [
        ("likely", CHANCES, [20]),
        ("likely-few", CHANCES, [20, 5]),
        ("unlikely", WORDS, [20, 5, None]),
        ("unlikely-strict", WORDS, [20, None]),
        ("unlikely-broken", WORDS, [20]),
        ("sees", WORDS, [20]),  # it ignores what it does not know
    ],
)
def test_what_a_server_refuses_is_not_asked_again(chat_server: str, model: str, means: str, asked: list[Any]) -> None:
    requests(chat_server, "/forget")
    critic = load_critic(f"llm:{model}@{chat_server}", NONE)
    assert critic.ratings([BRIGHT])[0].means == means
    assert [one.get("top_logprobs") for one in requests(chat_server)] == asked
    critic.ratings([png(200)])
    assert [one.get("top_logprobs") for one in requests(chat_server)] == [*asked, asked[-1]]
    assert all(("logprobs" in one) == ("top_logprobs" in one) for one in requests(chat_server))


def test_by_words_both_orders_must_agree(chat_server: str) -> None:
    critic = load_critic(f"llm:unlikely@{chat_server}", NONE)
    found = critic.compare([(BRIGHT, DARK), (DARK, DARK)])
    assert [one.choice for one in found] == ["first", None]
    assert [one.shown for one in found] == [("first", "second"), ("second", "second")]
    assert told(one.means for one in (*found, *critic.ratings([BRIGHT]))) == "3 by words"
    assert critic.rate([BRIGHT, DARK]) == [4, 1]


def test_kept_answers_keep_their_likelihoods(chat_server: str, tmp_path: Path) -> None:
    settings = CriticSettings(cache=str(tmp_path / "kept.sqlite"))
    critic = load_critic(f"llm:likely@{chat_server}", settings)
    first = critic.ratings([BRIGHT])
    critic.say([])
    requests(chat_server, "/forget")
    assert load_critic(f"llm:likely@{chat_server}", settings).ratings([BRIGHT]) == first
    assert requests(chat_server) == []


@pytest.mark.parametrize(
    ("answer", "fallback"),
    [
        (Failure("timed out: no answer in 1 s"), "timed out"),
        (Answer("I'm sorry, I cannot say that it is good.", None, "plain"), "refused"),
        (Answer("I'm sorry, I cannot say that it is good.", None, "plain", chances=(-1.0,) * 5), "refused"),
        (Answer("good good good good good", None, "plain"), "nonsense"),
        (Answer("A harbour.", None, "plain"), "no rating"),
        (Answer("Good or bad.", None, "plain"), "no rating"),
    ],
)
def test_what_is_no_rating_says_why(answer: Answer | Failure, fallback: str) -> None:
    assert rating_of(answer).fallback == fallback
    assert math.isnan(rating_of(answer).value)


def test_an_order_without_an_answer_is_a_problem_and_not_a_tie() -> None:
    first, silent = Answer("The first one.", None, "plain"), Failure("timed out: no answer in 1 s")
    found = preference_of(first, silent)
    assert (found.choice, found.shown, found.problems) == (None, ("first", None), (silent.reason,))
    found = preference_of(first, Answer("Both are fine.", None, "plain"))
    assert found.problems == ("unusable answer: it names neither: Both are fine.",)
    likely = Answer("The second.", None, "plain", chances=(-2.0, -0.1))
    assert preference_of(likely, first).means == WORDS  # only one order has them
    assert preference_of(likely, Failure("nobody", True)).hopeless
