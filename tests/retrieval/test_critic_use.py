"""A critic that is asked: words, ratings and preferences, here and behind a server; what is no answer is told apart."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_llava import write_llava

from indexes.errors import BeholderError, ConditionFailed
from retrieval.critic.critic import Ask, CriticSettings, load_critic
from retrieval.critic.questions import questions
from retrieval.critic.said import checked, counted
from retrieval.language.chances import expected_rating, first_tokens, log_chances, preferred
from retrieval.language.local_vision import LocalVisionModel


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), grey, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


BRIGHT, DARK = png(250), png(5)
SETTINGS = CriticSettings(max_answer_tokens=24, cache=None)


@pytest.fixture(scope="module")
def says_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("models") / "kind", ["good", " enough light"])


class Letters:
    """A tokenizer of one token per character."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(one) for one in text]}


def test_the_expected_rating_and_the_preference_by_hand() -> None:
    even = [math.log(0.1)] * 5
    assert expected_rating(even) == pytest.approx(3)
    assert expected_rating([math.log(x) for x in (0.01, 0.01, 0.01, 0.2, 0.6)]) == pytest.approx(3.86 / 0.83)
    assert math.isnan(expected_rating(None))
    assert math.isnan(expected_rating([-40.0] * 5))  # it would say none of the words
    liking = [math.log(0.8), math.log(0.2)]
    assert preferred(liking, liking) == pytest.approx((math.log(4), -math.log(4)))  # a liking for a place cancels
    by = preferred([math.log(0.5), math.log(0.4)], [math.log(0.1), math.log(0.8)])
    assert by == pytest.approx((math.log(0.5 / 0.4), math.log(0.8 / 0.1)))
    assert preferred(liking, None) is None
    chances = log_chances([0.0, math.log(3), 0.0], [[1], [0, 2]])
    assert np.exp(chances) == pytest.approx([0.6, 0.4])


def test_words_are_known_by_their_first_tokens() -> None:
    assert first_tokens(Letters(), "It is", ["good", "bad"]) == [[ord("G"), ord("g")], [ord("B"), ord("b")]]
    assert first_tokens(Letters(), "It is", ["good", "great"]) is None  # one letter for both


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A calm harbour.", ""),
        (" \u200b . ", "empty answer"),
        ("I'm sorry, but I cannot see pictures.", "refused"),
        ("the light the light the light the light", "nonsense"),
        ("%%%% @@ 17 ## x", "nonsense"),
        ("word " * 2000, "endless answer"),
    ],
)
def test_what_is_no_critique_is_told_apart(text: str, reason: str) -> None:
    said = checked(text)
    assert said.fallback == reason
    assert (said.text is None) == bool(reason)


def test_nothing_of_a_text_controls_a_terminal() -> None:
    assert checked("A \x1b[2J calm\n\u202eharbour.").text == "A [2J calm harbour."


def test_a_local_critic_speaks_and_rates_by_its_own_chances(says_good: Path, tmp_path: Path) -> None:
    critic = load_critic(str(says_good), CriticSettings(max_answer_tokens=24, cache=str(tmp_path / "kept.sqlite")))
    said = critic.say([Ask((BRIGHT,), "How is it?"), Ask((b"",), "?"), Ask((b"no picture",), "?")])
    assert said[0].text == "good enough light"
    assert counted(said) == {"missing picture": 1, "unreadable picture": 1}
    # Of 288 tokens "good" has e^10, all others 1; each other word has two spellings, and so has good: G.
    share = np.array([2, 2, 2, math.exp(10) + 1, 2])
    rating = critic.rate([BRIGHT, b"no picture"])
    assert rating[0] == pytest.approx(share @ np.arange(1, 6) / share.sum(), abs=1e-3)
    assert math.isnan(rating[1])
    assert critic.prefer([(BRIGHT, DARK), (b"", DARK)]) == [None, None]  # it sees nothing: no side, and no picture
    again = load_critic(str(says_good), CriticSettings(max_answer_tokens=24, cache=str(tmp_path / "kept.sqlite")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalVisionModel, "load", None)  # nothing is loaded where all is kept
        assert again.say([Ask((BRIGHT,), "How is it?")])[0].cached
        assert again.rate([BRIGHT]) == rating[:1]
    assert again.identity == critic.identity


def test_noise_is_no_critique(tmp_path: Path) -> None:
    noisy = load_critic(str(write_llava(tmp_path / "noisy", None)), SETTINGS)
    assert noisy.say([Ask((BRIGHT,), "How is it?")])[0].fallback == "nonsense"
    assert 1 <= noisy.rate([BRIGHT])[0] <= 5


def test_a_served_critic_speaks_rates_and_compares(chat_server: str) -> None:
    critic = load_critic(f"llm:sees@{chat_server}", SETTINGS)
    said = critic.say([Ask((BRIGHT,), "How is it?"), Ask((DARK,), "How is it?")])
    assert [one.text for one in said] == ["A picture full of light.", "A picture full of shadow."]
    gif = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), 250, np.uint8)).save(gif, "gif")  # no server takes it as it is
    assert critic.say([Ask((gif.getvalue(),), "How is it?")])[0].text == "A picture full of light."
    assert critic.rate([BRIGHT, DARK]) == [4, 1]
    assert critic.prefer([(BRIGHT, DARK), (DARK, BRIGHT)]) == ["first", "second"]
    assert critic.prefer([(DARK, DARK)]) == [None]  # the second one, twice


@pytest.mark.parametrize(
    ("model", "reason"), [("silent", "empty"), ("declines-by-field", "refused"), ("slow", "timed out")]
)
def test_what_a_server_does_not_say_is_a_counted_fallback(chat_server: str, model: str, reason: str) -> None:
    settings = CriticSettings(timeout_s=0.5, retries=0, cache=None)
    critic = load_critic(f"llm:{model}@{chat_server}", settings)
    said = critic.say([Ask((BRIGHT,), "How is it?")])[0]
    assert said.text is None
    assert said.fallback
    assert math.isnan(critic.rate([BRIGHT])[0])


def test_a_server_that_never_answers_ends_the_run(chat_server: str) -> None:
    with pytest.raises(ConditionFailed, match="cannot be asked"):
        load_critic(f"llm:wrong-key@{chat_server}", SETTINGS).say([Ask((BRIGHT,), "?")])


def test_the_likeliest_mistakes_are_one_line() -> None:
    for spec in ("", "nobody", "gpt:4", "llm:", "hf:"):
        with pytest.raises(BeholderError, match=r"there is no critic|names no model") as caught:
            load_critic(spec)
        assert "\n" not in str(caught.value)
    for kind, aspects in (("poem", ()), ("critique", ("smell",)), ("formal", ("light",))):
        with pytest.raises(BeholderError):
            questions(kind, aspects)
    assert list(questions("critique", ("light", "mood", "light"))) == ["light", "mood"]
