"""One question to a language model until it is answered or given up: forms, retries, corrections, time.

What OpenAI-compatible servers do differently is coped with here:
- a JSON schema is asked for as `json_schema`, then as `json_object`, then in words only, as the server rejects one
  after the other; the form that worked is kept. Answers are checked here whatever was asked (chat_schema.py), and a
  wrong one is sent back once with what was wrong;
- parameters that newer models refuse (`max_tokens`, `temperature`, `seed`) are renamed or left out;
- log-probabilities are asked for only where a question wants them, fewer and then none as the server rejects them;
- what may pass (no connection, 408, 429, 5xx) is tried again with growing pauses, as Retry-After says where it does.
`timeout_s` bounds one question with all its attempts.
"""

import base64
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from indexes.errors import BeholderError

from .chat_http import NoReply, Reply, TooLate, TooLong, Unreachable, post_json
from .chat_likely import FEW, MOST, listed_chances
from .chat_schema import THOUGHTS, Schema, find_json

MOST_BYTES = 4 << 20  # of an answer
FORMS = "json_schema", "json_object", "plain"
REJECTED = 400, 405, 415, 422, 501  # the request was understood and refused: another form may do
PASSING = 408, 409, 425, 429, 500, 502, 503, 504, 529  # may be gone the next time
HOPELESS = 401, 402, 403, 404  # will be so for every question


@dataclass(frozen=True)
class Question:
    """What is asked. Pictures are encoded files (PNG, JPEG) and go as data URIs. With `schema` the answer must be a
    JSON object that fits it. `words`: those whose likelihood is wanted, where the server tells it."""

    system: str
    user: str
    pictures: tuple[bytes, ...] = ()
    schema: Schema | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What was said: `text`, and `value` where a schema was asked for. `form`: how the schema was asked for at last.
    `chances`: log-probabilities of the question's words, None where the server tells none (chat_likely.py). `tokens`:
    of question and answer together, `said`: of the answer, both as the server counts them, 0 where it does not."""

    text: str
    value: Any
    form: str
    tokens: int = 0
    cached: bool = False
    chances: tuple[float, ...] | None = None
    said: int = 0


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: `kind: detail`, in one line. `hopeless`: it will be so for every question. `said`: what
    was said all the same and could not be used."""

    reason: str
    hopeless: bool = False
    said: str = ""


@dataclass(frozen=True)
class Dialect:
    """How this server wants to be asked."""

    form: str = FORMS[0]
    tokens_field: str = "max_tokens"
    without: frozenset[str] = frozenset()
    likeliest: int = MOST  # tokens of each place whose log-probability is asked for; 0: none


class Patience(Protocol):
    """The part of `chat.ChatConfig` that one question needs."""

    @property
    def model(self) -> str: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def retries(self) -> int: ...
    @property
    def pause_s(self) -> float: ...
    @property
    def max_answer_tokens(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Asker(Protocol):
    """What questions to one server share: see `chat.ChatClient`."""

    url: str
    headers: Mapping[str, str]
    lock: threading.Lock
    jitter: random.Random
    dialect: Dialect
    proved: bool  # whether an answer was usable yet
    tokens: int

    @property
    def config(self) -> Patience: ...

    def spend(self) -> Failure | None: ...

    def learn(self, dialect: Dialect) -> None: ...


class Exchange:
    """One question until it is answered or given up."""

    def __init__(self, client: Asker, question: Question) -> None:
        self.client, self.config, self.question = client, client.config, question
        self.dialect = client.dialect
        self.deadline = time.monotonic() + client.config.timeout_s
        self.left = client.config.retries
        self.pause = client.config.pause_s
        self.correction: tuple[str, str] | None = None  # a wrong answer and what was wrong with it

    def run(self) -> Answer | Failure:
        last = ""
        while True:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                return Failure(f"timed out: no answer in {self.config.timeout_s:g} s{f' ({last})' if last else ''}")
            spent = self.client.spend()
            if spent is not None:
                return spent
            body = json.dumps(self._body()).encode()
            endpoint = self.client.url + "/chat/completions"
            try:
                reply = post_json(endpoint, body, self.client.headers, timeout_s=remaining, most_bytes=MOST_BYTES)
            except TooLate:
                continue  # said above
            except TooLong as error:
                return Failure(f"unusable answer: {error}")
            except NoReply as error:
                last = f"no connection: {error}"
                if not self._again(last):
                    return Failure(last, hopeless=isinstance(error, Unreachable))
                continue
            if 200 <= reply.status < 300:
                result = self._read(reply)
                if result is not None:
                    return result
                continue
            last = f"status {reply.status}: {_error_text(reply.body)}"
            if not self._adapted(reply) and not (reply.status in PASSING and self._again(last, reply)):
                return Failure(last, hopeless=reply.status in HOPELESS)

    def _body(self) -> dict[str, Any]:
        question, dialect = self.question, self.dialect
        user: Any = question.user
        if question.pictures:
            user = [{"type": "text", "text": question.user}]
            user += [{"type": "image_url", "image_url": {"url": data_uri(one)}} for one in question.pictures]
        messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}] if question.system else []
        messages.append({"role": "user", "content": user})
        if self.correction is not None:
            said, wrong = self.correction
            messages.append({"role": "assistant", "content": said[:2000] or "{}"})
            ask = f"That cannot be used: {wrong}. Answer with the JSON object that was asked for, and nothing else."
            messages.append({"role": "user", "content": ask})
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": messages,
            dialect.tokens_field: self.config.max_answer_tokens,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
        }
        if question.schema is not None and dialect.form == "json_schema":
            named = {"name": "answer", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif question.schema is not None and dialect.form == "json_object":
            body["response_format"] = {"type": "json_object"}
        if question.words and dialect.likeliest:
            body |= {"logprobs": True, "top_logprobs": dialect.likeliest}
        return {name: value for name, value in body.items() if name not in dialect.without}

    def _read(self, reply: Reply) -> Answer | Failure | None:
        """The answer or failure in a reply; None where the model shall be asked once more."""
        try:
            content = json.loads(reply.body)
            message = content["choices"][0]["message"]
            text, refusal = _text_of(message), message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return Failure(f"unusable answer: no chat completion: {one_line(reply.body)}")
        tokens = _tokens_of(content)
        with self.client.lock:
            self.client.tokens += tokens
        if isinstance(refusal, str) and refusal:
            return Failure(f"refused: {one_line(refusal)}", said=refusal)
        if self.question.schema is None:
            self.client.learn(self.dialect)
            chances = listed_chances(content, self.question.words) if self.question.words else None
            said = _tokens_of(content, "completion_tokens")
            return Answer(THOUGHTS.sub("", text).strip(), None, "plain", tokens, chances=chances, said=said)
        value, wrong = find_json(text, self.question.schema)
        if wrong is None:
            self.client.learn(self.dialect)
            return Answer(text, value, self.dialect.form, tokens)
        if self.correction is None:
            self.correction = text, wrong
            return None
        return Failure(f"unusable answer: {wrong}: {one_line(text)}", said=text)

    def _adapted(self, reply: Reply) -> bool:
        """Whether a refused request can be put otherwise; then it is, without a pause."""
        dialect, text = self.dialect, _error_text(reply.body)
        if reply.status in REJECTED:
            if dialect.tokens_field == "max_tokens" and "max_completion_tokens" in text:
                self.dialect = replace(dialect, tokens_field="max_completion_tokens")
                return True
            named = [name for name in ("temperature", "seed") if name in text and name not in dialect.without]
            if named:
                self.dialect = replace(dialect, without=dialect.without | {named[0]})
                return True
        # 500 is how llama.cpp's server says that it does not know json_schema; once a form was proved it is a mishap.
        refused = reply.status in REJECTED or (reply.status == 500 and not self.client.proved)
        if refused and self.question.words and dialect.likeliest:
            fewer = FEW if "logprobs" in text and dialect.likeliest > FEW else 0
            self.dialect = replace(dialect, likeliest=fewer)
            return True
        if refused and self.question.schema is not None and dialect.form != FORMS[-1]:
            self.dialect = replace(dialect, form=FORMS[FORMS.index(dialect.form) + 1])
            return True
        return False

    def _again(self, last: str, reply: Reply | None = None) -> bool:
        """Waits before another attempt; False where none is left or time would be over."""
        if self.left <= 0:
            return False
        self.left -= 1
        with self.client.lock:
            pause = self.pause * self.client.jitter.uniform(0.75, 1.25)
        self.pause *= 2
        pause = max(pause, _retry_after(reply))
        if time.monotonic() + pause >= self.deadline:
            return False
        time.sleep(pause)
        return True


def data_uri(picture: bytes) -> str:
    """A PNG, JPEG or WebP file as a data URI."""
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
    kind = next((name for magic, name in kinds.items() if picture.startswith(magic)), None)
    if kind is None:
        raise BeholderError("a picture that is neither PNG, JPEG nor WebP", "an encoded picture", "Encode it first.")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):  # some servers give a list of parts
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _tokens_of(content: Mapping[str, Any], which: str = "total_tokens") -> int:
    usage = content.get("usage")
    total = usage.get(which) if isinstance(usage, dict) else None
    return total if isinstance(total, int) and 0 <= total < 1 << 40 else 0


def _error_text(body: bytes) -> str:
    """What a server says of an error, in one line."""
    try:
        error = json.loads(body)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, LookupError, TypeError, RecursionError):
        text = body.decode(errors="replace")
    return one_line(str(text))


def one_line(said: bytes | str) -> str:
    """The beginning of what was said, as one line that a terminal may print."""
    text = said[:2000].decode(errors="replace") if isinstance(said, bytes) else said[:2000]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:160]


def _retry_after(reply: Reply | None) -> float:
    """Seconds that the server asks to wait; 0 where it says nothing, or a date."""
    said = (reply.headers.get("retry-after", "") if reply else "").strip()
    return float(said) if said.isascii() and said.isdecimal() else 0.0
