"""A critic: a model that looks at pictures, says what it sees, rates them and compares them. One interface for all:

beholder-mini-critic   a model in the box, by name
FOLDER, hf:FOLDER      a model of transformers that sees, or what `align critic train` left (base found by itself)
llm:MODEL[@URL]        any OpenAI-compatible server with a model that sees

What a model does not say, or says and cannot be used, is a fallback with its reason, and counted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_bytes
from retrieval.language.asking import Asks, AskSettings, open_chat
from retrieval.language.chat_exchange import Answer, Failure, Question
from retrieval.language.local_model import located
from retrieval.sources.images import BadPicture, decode

from .claims import RATINGS
from .opinions import SIDES, Choice, Preference, Rating, preference_of, rating_of
from .questions import BETTER, RATE
from .said import Said, checked
from .shown import sendable

__all__ = ["Ask", "Choice", "Critic", "CriticSettings", "Preference", "Rating", "Said", "load_critic"]

BOXED = "beholder-mini-critic"
BLOCK = 32  # pictures held at once
EXAMPLE = "Example: --critic llm:qwen2.5vl@http://localhost:11434/v1"
CriticSettings = AskSettings  # a critic is asked like any model
Progress = Callable[[int, int], None]


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

    def ratings(self, pictures: Sequence[bytes], progress: Progress | None = None) -> list[Rating]:
        """Each picture's rating, by log-probabilities where the model tells them, else by words. Raises as say."""
        ...

    def rate(self, pictures: Sequence[bytes]) -> list[float]:
        """The values of `ratings`, in [1, 5]; NaN where the model gives none or the picture cannot be read."""
        ...

    def compare(self, pairs: Sequence[tuple[bytes, bytes]], question: str | Sequence[str] = BETTER) -> list[Preference]:
        """What is preferred of each two, asked in both orders, by log-probabilities where the model tells them, else
        by words. question: one for all, or one for each. What cannot be had at all is told and not raised."""
        ...

    def prefer(self, pairs: Sequence[tuple[bytes, bytes]], question: str = BETTER) -> list[Choice | None]:
        """The choices of `compare`; None where the orders cancel or disagree, or nothing is said. Raises as say."""
        ...


class _Speaks(ABC):
    """What critics here and behind servers do alike."""

    def __init__(self, name: str, identity: str) -> None:
        self.name, self.identity = name, identity

    @abstractmethod
    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """Answers in words, in the questions' order."""

    @abstractmethod
    def _weigh(self, questions: Sequence[Question], opening: str) -> list[Answer | Failure]:
        """Answers with the likelihood of the questions' words where it is known. opening: how an answer begins."""

    def say(self, requests: Sequence[Ask], progress: Progress | None = None) -> list[Said]:
        return [self._said(one) for one in self._answers(requests, self._ask, (), progress)]

    def ratings(self, pictures: Sequence[bytes], progress: Progress | None = None) -> list[Rating]:
        asks = [Ask((one,), RATE, "rating") for one in pictures]
        answers = self._answers(asks, lambda questions: self._weigh(questions, ""), RATINGS, progress)
        return [rating_of(self._usable(one)) for one in answers]

    def rate(self, pictures: Sequence[bytes]) -> list[float]:
        return [one.value for one in self.ratings(pictures)]

    def compare(self, pairs: Sequence[tuple[bytes, bytes]], question: str | Sequence[str] = BETTER) -> list[Preference]:
        texts = [question] * len(pairs) if isinstance(question, str) else question
        asks = [
            Ask(order, text, "compare")
            for (one, other), text in zip(pairs, texts, strict=True)
            for order in ((one, other), (other, one))
        ]
        answers = self._answers(asks, lambda questions: self._weigh(questions, " The"), SIDES)
        return [preference_of(*answers[place : place + 2]) for place in range(0, len(answers), 2)]

    def prefer(self, pairs: Sequence[tuple[bytes, bytes]], question: str = BETTER) -> list[Choice | None]:
        found = self.compare(pairs, question)
        lost = next((one.problems[-1] for one in found if one.hopeless), None)
        if lost is not None:
            raise self._nobody(lost)
        return [one.choice for one in found]

    def _answers(
        self,
        requests: Sequence[Ask],
        asked: Callable[[list[Question]], list[Answer | Failure]],
        words: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> list[Answer | Failure]:
        """An answer to each request, or why there is none; after a hopeless failure the rest is not asked."""
        found: list[Answer | Failure] = []
        for start in range(0, len(requests), BLOCK):
            block = requests[start : start + BLOCK]
            reasons = [one.reason or _unreadable(one.pictures) for one in block]
            shown = [one for one, reason in zip(block, reasons, strict=True) if not reason]
            answers = iter(asked([Question("", one.question, one.pictures, words=words) for one in shown]))
            found += [Failure(reason) if reason else next(answers) for reason in reasons]
            if progress is not None:
                progress(len(found), len(requests))
            lost = next((one for one in found[start:] if isinstance(one, Failure) and one.hopeless), None)
            if lost is not None:
                return found + [lost] * (len(requests) - len(found))
        return found

    def _said(self, answer: Answer | Failure) -> Said:
        usable = self._usable(answer)
        if isinstance(usable, Failure):
            return Said(None, usable.reason.partition(":")[0])
        return checked(usable.text, usable.cached)

    def _usable(self, answer: Answer | Failure) -> Answer | Failure:
        if isinstance(answer, Failure) and answer.hopeless:
            raise self._nobody(answer.reason)
        return answer

    def _nobody(self, reason: str) -> ConditionFailed:
        return ConditionFailed(
            f"{self.name} cannot be asked ({reason})",
            "a critic that answers",
            "Then run it again: answers so far are kept.",
        )


class ServedCritic(_Speaks):
    """A model behind a server: by log-probabilities where it tells them, else by its words."""

    def __init__(self, name: str, identity: str, client: Asks) -> None:
        super().__init__(name, identity)
        self._client = client

    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return self._client.ask_many([_sendable(one) for one in questions])

    def _weigh(self, questions: Sequence[Question], opening: str) -> list[Answer | Failure]:
        return self._ask(questions)  # it opens its answer as it likes; the words are looked for


class LocalCritic(_Speaks):
    """A model in this process: rates and prefers by its log-probabilities alone."""

    def __init__(self, name: str, path: str, settings: CriticSettings) -> None:
        from retrieval.language.local_vision import LocalVisionModel

        self._model = LocalVisionModel(path, settings.device, settings.max_answer_tokens, settings.answers)
        super().__init__(name, self._model.identity)

    def _ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return self._model.ask_many(questions)

    def _weigh(self, questions: Sequence[Question], opening: str) -> list[Answer | Failure]:
        found: list[Answer | Failure] = []
        for one in questions:
            chances = self._model.log_chances(one, opening, one.words)
            known = None if chances is None else Answer("", None, "plain", chances=tuple(chances))
            found.append(known or Failure("no log-probabilities: the words begin alike, or the question is too long"))
        return found


def load_critic(spec: str, settings: CriticSettings | None = None) -> Critic:
    """The critic of a spec; a local model is loaded with the first question. Raises BeholderError for a spec that is
    none, or a folder that is not there."""
    settings = settings or CriticSettings()
    scheme, _, rest = spec.partition(":")
    if scheme == "llm" and rest:
        client = open_chat(rest, settings)
        model = client.config.model
        return ServedCritic(f"llm:{model}", sha256_bytes(f"{model}\n{client.url}".encode()), client)
    return LocalCritic(*local_critic(spec), settings)


def local_critic(spec: str) -> tuple[str, str]:
    """Name of a critic that runs here, and its folder or name in the box or on the hub. Raises BeholderError for a spec
    that is none, or a folder that is not there."""
    scheme, _, rest = spec.partition(":")
    path = rest if scheme == "hf" else spec
    there = bool(path) and Path(located(path)).is_dir()
    if not path or not (there or scheme == "hf"):
        raise BeholderError(f"there is no critic {spec!r}", "FOLDER, hf:MODEL or llm:MODEL[@URL]", EXAMPLE)
    return Path(path).resolve().name if there else path, path


def _sendable(question: Question) -> Question:
    return replace(question, pictures=tuple(sendable(one) for one in question.pictures))


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
