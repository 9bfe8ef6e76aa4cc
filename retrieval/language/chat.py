"""Questions to a language model behind an OpenAI-compatible server: text and pictures in, checked JSON out.

Rewriters, the judge and re-rankers ask through `ChatClient`; what servers do differently is coped with in
chat_exchange.py. A failure is a value with a reason, not an exception: of thousands of questions some fail, and the
caller counts them.
"""

import hashlib
import json
import os
import queue
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from indexes.errors import BeholderError

from .chat_cache import AnswerCache
from .chat_exchange import Answer, Dialect, Exchange, Failure, Question
from .chat_schema import find_json

DEFAULT_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class ChatConfig:
    """Which model, where, and how patiently. `url` is the base that `/chat/completions` follows; "" is
    OPENAI_BASE_URL, else OpenAI's own."""

    model: str
    url: str = ""
    timeout_s: float = 30.0  # for one question, all attempts together
    retries: int = 3  # beyond the first attempt, for what may pass
    concurrency: int = 4  # questions at once
    max_answer_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    pause_s: float = 0.5  # before the first retry; doubled each time
    cache: str | None = None  # file of kept answers
    max_requests: int = 0  # of one client in its life; 0: no limit
    max_total_tokens: int = 0  # as the server counts them; 0: no limit


class ChatClient:
    """Asks one model. Threads may share it. Raises BeholderError for a URL that is none, or a key that would be sent
    in the clear."""

    def __init__(self, config: ChatConfig) -> None:
        self.config = config
        self.url = checked_url(config.url or os.environ.get("OPENAI_BASE_URL", "") or DEFAULT_URL)
        self.headers: Mapping[str, str] = _key_header(self.url)
        self._cache = AnswerCache(Path(config.cache)) if config.cache else None
        self.lock = threading.Lock()
        self.dialect, self.proved = Dialect(), False
        self.jitter = random.Random(config.seed)
        self.requests = self.tokens = 0

    def ask(self, question: Question) -> Answer | Failure:
        """The answer, or why there is none, within the configured time."""
        key = self._key(question)
        if self._cache is not None and (kept := self._cache.get(key)) is not None:
            answer = _from_cache(kept, question)
            if answer is not None:
                return answer
        result = Exchange(self, question).run()
        if self._cache is not None and isinstance(result, Answer):
            content = {"text": result.text, "form": result.form, "tokens": result.tokens}
            if question.words:
                content["chances"] = result.chances
            self._cache.put(key, json.dumps(content))
        return result

    def ask_many(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Answer | Failure]:
        """Answers in the questions' order, `concurrency` at once. After a hopeless failure (a wrong key, no such
        model, nobody at that address, the budget spent) the rest is not asked and fails for the same reason."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Answer | Failure | BaseException]] = queue.SimpleQueue()
        for place in range(len(questions)):
            waiting.put(place)
        hopeless: list[Failure] = []

        def work() -> None:
            while True:
                try:
                    place = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    result = hopeless[0] if hopeless else self.ask(questions[place])
                except BaseException as error:  # handed to the caller, below
                    done.put((place, error))
                    return
                if isinstance(result, Failure) and result.hopeless and not hopeless:
                    hopeless.append(result)
                done.put((place, result))

        # Daemons, not an executor: Ctrl-C must not wait for answers that are still on their way.
        for _ in range(min(self.config.concurrency, len(questions))):
            threading.Thread(target=work, daemon=True).start()
        results: dict[int, Answer | Failure] = {}
        while len(results) < len(questions):
            place, result = done.get()
            if isinstance(result, BaseException):
                raise result
            results[place] = result
            if progress is not None:
                progress(len(results), len(questions))
        return [results[place] for place in range(len(questions))]

    def _key(self, question: Question) -> str:
        """sha256 of all that decides an answer: server, model, words, pictures, schema, sampling."""
        config = self.config
        content = {
            "version": 1,
            "url": self.url,
            "model": config.model,
            "system": question.system,
            "user": question.user,
            "pictures": [hashlib.sha256(picture).hexdigest() for picture in question.pictures],
            "schema": question.schema,
            "sampling": [config.temperature, config.seed, config.max_answer_tokens],
            **({"words": question.words} if question.words else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def learn(self, dialect: Dialect) -> None:
        with self.lock:
            self.dialect, self.proved = dialect, True

    def spend(self) -> Failure | None:
        """Takes one request from the budget; the failure where it is spent."""
        with self.lock:
            if 0 < self.config.max_requests <= self.requests:
                return Failure(f"budget: {self.requests} requests were made", True)
            if 0 < self.config.max_total_tokens <= self.tokens:
                return Failure(f"budget: {self.tokens} tokens were used", True)
            self.requests += 1
        return None


def checked_url(url: str) -> str:
    """The base of a server's URLs without a slash at its end; `/v1` is added where there is no path.

    Raises BeholderError for anything but http(s)://host[:port][/path].
    """
    try:
        parts = urlsplit(url)
        named, _ = parts.hostname, parts.port
    except ValueError:
        parts, named = urlsplit(""), None
    wrong = parts.scheme not in ("http", "https") or not named or "@" in parts.netloc or parts.query or parts.fragment
    if wrong or any(character.isspace() or ord(character) < 32 for character in url):
        raise BeholderError(
            f"{url!r} is no URL of a server", "http(s)://HOST[:PORT]/v1", "Example: llm:qwen3@http://localhost:8000/v1"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _key_header(url: str) -> dict[str, str]:
    """The key for a URL. BEHOLDER_LLM_KEY goes to the server that was named; OPENAI_API_KEY only to OpenAI, or to
    where OPENAI_BASE_URL points: a key must not reach whoever is named in a URL."""
    parts = urlsplit(url)
    key = os.environ.get("BEHOLDER_LLM_KEY", "")
    own = {urlsplit(DEFAULT_URL).netloc, urlsplit(os.environ.get("OPENAI_BASE_URL", "")).netloc}
    if not key and parts.netloc in own:
        key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        return {}
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise BeholderError(
            f"a key would be sent unencrypted to {parts.netloc}", "https", "Use https, or unset the key."
        )
    if not key.isascii() or not key.isprintable():
        raise BeholderError("the key of the language model has odd characters", "one line of ASCII", "Set it again.")
    return {"Authorization": f"Bearer {key}"}


def _from_cache(kept: str, question: Question) -> Answer | None:
    """A kept answer, checked again: the cache is a file that anything may have happened to."""
    try:
        content = json.loads(kept)
        text, form, tokens = str(content["text"]), str(content["form"]), int(content["tokens"])
        told = content["chances"] if question.words else None
        chances = None if told is None else tuple(float(value) for value in told)
    except (ValueError, LookupError, TypeError):
        return None
    if question.schema is None:
        return Answer(text, None, form, tokens, cached=True, chances=chances)
    value, wrong = find_json(text, question.schema)
    return None if wrong else Answer(text, value, form, tokens, cached=True)
