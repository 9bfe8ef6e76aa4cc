"""How language models are asked, by whatever asks: names of served ones, patience, budget, where answers are kept.

Importing this is free: a search without a model must not pay for one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from indexes.errors import BeholderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .chat import ChatClient
    from .chat_exchange import Answer, Failure, Question

ANSWERS = "answers.sqlite"


class Asks(Protocol):
    """A model that answers many questions: `chat.ChatClient`, `local_model.LocalModel`, `LocalVisionModel`."""

    def ask_many(
        self, questions: "Sequence[Question]", progress: "Callable[[int, int], None] | None" = None
    ) -> "list[Answer | Failure]": ...


@dataclass(frozen=True)
class AskSettings:
    """How a model is asked; a local one has only a device, the length of its answers and where they are kept.

    Raises BeholderError that names every value out of its range.
    """

    device: str = "cpu"  # of a local model
    concurrency: int = 4  # requests at once
    timeout_s: float = 120.0  # for one question, all attempts together; pictures take models long
    max_answer_tokens: int = 256
    retries: int = 3  # of a request that failed for a reason that may pass
    max_requests: int = 0  # of one model in its life; 0: no limit
    max_total_tokens: int = 0  # as the server counts them; 0: no limit
    cache: str | None = ""  # file of kept answers; "": the user's own; None: none

    def __post_init__(self) -> None:
        wrong = self.problems()
        if wrong:
            raise BeholderError("; ".join(wrong), "settings in their range", "Correct them.")

    def problems(self) -> list[str]:
        """What is out of its range, in words."""
        least = {"timeout_s": 0.001, "retries": 0, "concurrency": 1, "max_answer_tokens": 1}
        least |= {"max_requests": 0, "max_total_tokens": 0}
        return [f"{name} is {getattr(self, name)}" for name, value in least.items() if not getattr(self, name) >= value]

    @property
    def answers(self) -> str | None:
        """The file of kept answers; None where none are kept."""
        return str(cache_folder() / ANSWERS) if self.cache == "" else self.cache


def cache_folder() -> Path:
    """Where this user's answers of language models are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beholder"


def open_chat(named: str, settings: AskSettings) -> "ChatClient":
    """The client of `MODEL[@URL]`. Raises BeholderError for a name or a URL that is none."""
    from .chat import ChatClient, ChatConfig

    model, url = split_model(named)
    return ChatClient(
        ChatConfig(
            model=model,
            url=url,
            timeout_s=settings.timeout_s,
            retries=settings.retries,
            concurrency=settings.concurrency,
            max_answer_tokens=settings.max_answer_tokens,
            cache=settings.answers,
            max_requests=settings.max_requests,
            max_total_tokens=settings.max_total_tokens,
        )
    )


def split_model(named: str) -> tuple[str, str]:
    """Model and URL of `MODEL[@URL]`; "" for no URL. A model's name may hold @ and : itself (`llama3:8b@main`), so only
    an @ before http:// or https:// parts them."""
    places = [place for scheme in ("@http://", "@https://") if (place := named.find(scheme)) >= 0]
    at = min(places, default=len(named))
    name, url = named[:at], named[at + 1 :]
    if not name:
        raise BeholderError("llm: names no model", "llm:MODEL[@URL]", "Example: llm:qwen3@http://localhost:8000/v1")
    if not places and "://" in name:
        raise BeholderError(f"llm:{name} has a URL but no model", "llm:MODEL@URL", "Put the model before an @.")
    return name, url
