"""A critic: a model that looks at pictures, says what it sees, rates them and compares them. One interface for all:

beholder-mini-critic   a model in the box, by name
FOLDER, hf:FOLDER      a model of transformers that sees, or what `align critic train` left (base found by itself)
llm:MODEL[@URL]        any OpenAI-compatible server with a model that sees

What a model does not say, or says and cannot be used, is a fallback with its reason, and counted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_bytes
from retrieval.language.chances import expected_rating, preferred
from retrieval.language.chat import ChatClient, ChatConfig
from retrieval.language.chat_exchange import Answer, Failure, Question
from retrieval.rewriting.checks import cache_folder
from retrieval.rewriting.model import ANSWERS, split_model
from retrieval.sources.images import BadPicture, decode

from .claims import RATINGS, side_said
from .questions import BETTER, RATE
from .said import Said, checked

__all__ = ["Ask", "Critic", "CriticSettings", "Said", "load_critic"]

BOX = Path(__file__).parent.parent / "models"
BLOCK = 32  # pictures held at once
EXAMPLE = "Example: --critic llm:qwen2.5vl@http://localhost:11434/v1"
Progress = Callable[[int, int], None]
Choice = Literal["first", "second"]
SIDES: tuple[Choice, Choice] = ("first", "second")


@dataclass(frozen=True)
class CriticSettings:
    """How a critic is asked. cache: "" is the user's folder, None keeps nothing."""

    device: str = "cpu"
    concurrency: int = 4
    timeout_s: float = 120.0
    retries: int = 3
    max_answer_tokens: int = 256
    cache: str | None = ""


@dataclass(frozen=True)
class Ask:
    """A question about pictures, given as the bytes of their files; `reason`: why there are none, else ""."""

    pictures: tuple[bytes, ...]
    question: str
    kind: str = "critique"
    reason: str = ""


class Critic(Protocol):
    """Says, rates and compares. `identity` tells models of one name apart."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...

    def say(self, requests: Sequence[Ask], progress: Progress | None = None) -> list[Said]:
        """An answer for each. Raises ConditionFailed where none can be had at all: a wrong key, nobody there."""
        ...

    def rate(self, pictures: Sequence[bytes]) -> list[float]:
        """Each picture's rating in [1, 5]; NaN where the model gives none or the picture cannot be read."""
        ...

    def prefer(self, pairs: Sequence[tuple[bytes, bytes]], question: str = BETTER) -> list[Choice | None]:
        """The preferred one of each two, asked in both orders; None where the orders disagree or nothing is said."""
        ...


class _Speaks(ABC):
    """What critics here and behind servers do alike: words."""

    def __init__(self, name: str, identity: str) -> None:
        self.name, self.identity = name, identity

    @abstractmethod
    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """Answers in the questions' order."""

    def say(self, requests: Sequence[Ask], progress: Progress | None = None) -> list[Said]:
        said: list[Said] = []
        for start in range(0, len(requests), BLOCK):
            block = requests[start : start + BLOCK]
            reasons = [one.reason or _unreadable(one.pictures) for one in block]
            asked = [
                Question("", one.question, one.pictures)
                for one, reason in zip(block, reasons, strict=True)
                if not reason
            ]
            answers = iter(self._ask(asked))
            said += [Said(None, reason) if reason else self._said(next(answers)) for reason in reasons]
            if progress is not None:
                progress(len(said), len(requests))
        return said

    def _said(self, answer: Answer | Failure) -> Said:
        if isinstance(answer, Answer):
            return checked(answer.text, answer.cached)
        if answer.hopeless:
            raise ConditionFailed(
                f"{self.name} cannot be asked ({answer.reason})",
                "a critic that answers",
                "Then run it again: answers so far are kept.",
            )
        return Said(None, answer.reason.partition(":")[0])


class ServedCritic(_Speaks):
    """A model behind a server: rates and prefers by its words, as servers seldom tell log-probabilities."""

    def __init__(self, name: str, identity: str, client: ChatClient) -> None:
        super().__init__(name, identity)
        self._client = client

    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return self._client.ask_many(questions)

    def rate(self, pictures: Sequence[bytes]) -> list[float]:
        return [_rating_said(one.text or "") for one in self.say([Ask((one,), RATE, "rating") for one in pictures])]

    def prefer(self, pairs: Sequence[tuple[bytes, bytes]], question: str = BETTER) -> list[Choice | None]:
        both = [order for first, second in pairs for order in ((first, second), (second, first))]
        said = [side_said(one.text or "") for one in self.say([Ask(order, question, "compare") for order in both])]
        return [_agreed(said[place], said[place + 1]) for place in range(0, len(said), 2)]


class LocalCritic(_Speaks):
    """A model in this process: rates and prefers by its log-probabilities."""

    def __init__(self, name: str, path: str, settings: CriticSettings) -> None:
        from retrieval.language.local_vision import LocalVisionModel

        self._model = LocalVisionModel(path, settings.device, settings.max_answer_tokens, _cache(settings))
        super().__init__(name, self._model.identity)

    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return self._model.ask_many(questions)

    def rate(self, pictures: Sequence[bytes]) -> list[float]:
        return [expected_rating(self._chances((one,), RATE, "", RATINGS)) for one in pictures]

    def prefer(self, pairs: Sequence[tuple[bytes, bytes]], question: str = BETTER) -> list[Choice | None]:
        found: list[Choice | None] = []
        for first, second in pairs:
            straight = self._chances((first, second), question, " The", SIDES)
            swapped = self._chances((second, first), question, " The", SIDES)
            by = preferred(straight, swapped)
            found.append(None if by is None or by == 0 else SIDES[int(by < 0)])
        return found

    def _chances(
        self, pictures: tuple[bytes, ...], question: str, opening: str, words: Sequence[str]
    ) -> list[float] | None:
        if _unreadable(pictures):
            return None
        return self._model.log_chances(Question("", question, pictures), opening, words)


def load_critic(spec: str, settings: CriticSettings | None = None) -> Critic:
    """The critic of a spec; a local model is loaded with the first question. Raises BeholderError for a spec that is
    none, or a folder that is not there."""
    settings = settings or CriticSettings()
    scheme, _, rest = spec.partition(":")
    if scheme == "llm" and rest:
        model, url = split_model(rest)
        client = ChatClient(
            ChatConfig(
                model=model,
                url=url,
                timeout_s=settings.timeout_s,
                retries=settings.retries,
                concurrency=settings.concurrency,
                max_answer_tokens=settings.max_answer_tokens,
                cache=_cache(settings),
            )
        )
        return ServedCritic(f"llm:{model}", sha256_bytes(f"{model}\n{client.url}".encode()), client)
    path = rest if scheme == "hf" else spec
    if scheme != "hf" and (BOX / spec / "config.json").is_file():
        return LocalCritic(spec, str(BOX / spec), settings)
    if not path or (scheme != "hf" and not Path(path).is_dir()):
        raise BeholderError(f"there is no critic {spec!r}", "FOLDER, hf:MODEL or llm:MODEL[@URL]", EXAMPLE)
    return LocalCritic(Path(path).resolve().name if Path(path).is_dir() else path, path, settings)


def _cache(settings: CriticSettings) -> str | None:
    return str(cache_folder() / ANSWERS) if settings.cache == "" else settings.cache


def _unreadable(pictures: Sequence[bytes]) -> str:
    """Why pictures cannot be shown to a model; "" where they can."""
    for one in pictures:
        if not one:
            return "missing picture"
        try:
            decode(one)
        except BadPicture:
            return "unreadable picture"
    return ""


def _rating_said(text: str) -> float:
    """The rating that a text names, 1 to 5; NaN where it names none, or several."""
    words = set(text.lower().replace(".", " ").replace(",", " ").split())
    found = [place for place, name in enumerate(RATINGS, 1) if name in words]
    return float(found[0]) if len(found) == 1 else float("nan")


def _agreed(straight: str | None, swapped: str | None) -> Choice | None:
    """What two answers in opposite orders agree on; None where they do not."""
    if straight is None or swapped is None or straight == swapped:
        return None
    return "first" if straight == "first" else "second"
