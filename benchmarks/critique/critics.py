"""Critics by name, and questions put to them:

llm:MODEL[@URL]   any OpenAI-compatible server with a model that sees
FOLDER, hf:MODEL  a local model of transformers that sees, by name in the box, folder or hub name
answers:FILE      answers given before, JSONL of {"id", "answer"}: of a model that runs elsewhere, or of people

What is not answered, or not about a picture that can be read, stays without an answer and says why.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from benchmarks.runs import portable_path
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.manifest import sha256_bytes, sha256_file
from retrieval.critic.critic import local_critic
from retrieval.critic.json_rows import json_rows
from retrieval.language.asking import Asks, AskSettings, open_chat, split_model
from retrieval.language.chat_exchange import Failure, Question
from retrieval.sources.images import BadPicture, decode

BLOCK = 64  # questions whose pictures are held at once
GREY = (119, 119, 119)  # what a blind critic is shown: the middle of L*
GREY_SIDE = 224  # px
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class AskingConfig:
    """Options of every verb that asks a critic."""

    device: str = "cpu"
    concurrency: int = 4
    timeout_s: float = 120.0
    max_answer_tokens: int = 64
    seed: int = 0
    name: str = "critique"

    @property
    def settings(self) -> AskSettings:
        return AskSettings(self.device, self.concurrency, self.timeout_s, self.max_answer_tokens)


@dataclass(frozen=True)
class Asked:
    """A question about pictures, of files or of their content."""

    id: str
    text: str
    pictures: tuple[Path | bytes, ...]


@dataclass(frozen=True)
class Said:
    """An answer, or why there is none."""

    text: str | None
    reason: str = ""


class Critic(Protocol):
    """Answers questions about pictures."""

    @property
    def name(self) -> str: ...
    @property
    def known(self) -> Mapping[str, Any]: ...

    def answer(self, asked: Sequence[Asked], progress: Progress | None = None, blind: bool = False) -> list[Said]:
        """An answer for each. `blind`: a plain grey is shown in place of every picture. Raises ConditionFailed where
        no answer can be had at all (a wrong key, nobody at that address)."""
        ...


@dataclass(frozen=True)
class ModelCritic:
    """A model that sees, here or behind a server."""

    model: Asks
    name: str
    known: Mapping[str, Any]

    def answer(self, asked: Sequence[Asked], progress: Progress | None = None, blind: bool = False) -> list[Said]:
        said: list[Said] = []
        for start in range(0, len(asked), BLOCK):
            block = asked[start : start + BLOCK]
            shown = [_content(one, blind) for one in block]
            questions = [
                Question("", one.text, content)
                for one, content in zip(block, shown, strict=True)
                if not isinstance(content, Said)
            ]
            answers = iter(self.model.ask_many(questions))
            said += [content if isinstance(content, Said) else _said(next(answers)) for content in shown]
            if progress is not None:
                progress(len(said), len(asked))
        return said


@dataclass(frozen=True)
class RecordedCritic:
    """Answers of a file, by the questions' ids."""

    name: str
    known: Mapping[str, Any]
    answers: Mapping[str, str] = field(repr=False)

    def answer(self, asked: Sequence[Asked], progress: Progress | None = None, blind: bool = False) -> list[Said]:
        if blind:
            raise BeholderError("answers of a file", "a model, to be asked without pictures", "Leave --blind out.")
        found = [self.answers.get(one.id) for one in asked]
        if not any(found):
            example = f"{asked[0].id!r}" if asked else "nothing"
            raise BeholderError(f"{self.name} answers none of the questions", f"ids such as {example}", "Check them.")
        return [Said(text if text and text.strip() else None, "" if text else "not in the file") for text in found]


def load_critic(spec: str, settings: AskSettings) -> Critic:
    """Raises BeholderError for a spec that is none of the above."""
    scheme, _, rest = spec.partition(":")
    if scheme == "answers" and rest:
        return _recorded(Path(rest))
    if scheme != "llm" or not rest:
        from retrieval.language.local_vision import LocalVisionModel

        name, path = local_critic(spec)
        local = LocalVisionModel(path, settings.device, settings.max_answer_tokens, settings.answers)
        return ModelCritic(local, f"hf:{name}", {"critic": f"hf:{name}", "model": local.identity})
    client = open_chat(rest, settings)
    model = client.config.model
    server = sha256_bytes(client.url.encode())[:16]  # told apart, and not told
    return ModelCritic(client, f"llm:{model}", {"critic": f"llm:{model}", "server": server})


def shown_spec(spec: str) -> str:
    """A spec as a document may hold it: paths portable, servers not named."""
    scheme, _, rest = spec.partition(":")
    if scheme == "llm" and rest:
        return f"llm:{split_model(rest)[0]}"
    before, path = (f"{scheme}:", rest) if rest else ("", spec)
    return f"{before}{portable_path(Path(path))}" if path and Path(path).exists() else spec


def texts_of(said: Sequence[Said]) -> list[str]:
    """What was said; "" where nothing was."""
    return [one.text or "" for one in said]


def unanswered(said: Sequence[Said]) -> str:
    """A note on what has no answer, by reason; "" where all have one."""
    reasons = Counter(one.reason or "an empty answer" for one in said if one.text is None)
    told = ", ".join(f"{count} ({reason})" for reason, count in sorted(reasons.items()))
    return f"Without an answer, and counted as wrong: {told}." if told else ""


def _recorded(path: Path) -> RecordedCritic:
    answers: dict[str, str] = {}
    for number, row in json_rows(path):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("answer"), str):
            raise FormatError(f"{path}, line {number} is no answer", '{"id": "...", "answer": "..."}', "Mend it.")
        answers[row["id"]] = row["answer"]
    known = {"critic": f"answers:{path.name}", "answers_sha256": sha256_file(path)}
    return RecordedCritic(f"answers:{path.name}", known, answers)


def _content(asked: Asked, blind: bool) -> tuple[bytes, ...] | Said:
    found = []
    for picture in asked.pictures:
        if blind:
            found.append(_grey())
            continue
        try:
            content = picture if isinstance(picture, bytes) else picture.read_bytes()
            decode(content)
        except OSError:
            return Said(None, "missing picture")
        except BadPicture:
            return Said(None, "unreadable picture")
        found.append(content)
    return tuple(found)


def _said(answer: Any) -> Said:
    if isinstance(answer, Failure):
        if answer.hopeless:
            raise ConditionFailed(answer.reason, "a critic that answers", "Run it again: what was answered is kept.")
        return Said(None, answer.reason.partition(":")[0])
    text = str(answer.text).strip()
    return Said(text) if text else Said(None, "an empty answer")


@cache
def _grey() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (GREY_SIDE, GREY_SIDE), GREY).save(buffer, "png")
    return buffer.getvalue()


def write_answers(path: Path, asked: Sequence[Asked], said: Sequence[Said]) -> None:
    """Keeps answers as `answers:FILE` reads them; questions without an answer are left out."""
    lines = [
        json.dumps({"id": one.id, "answer": answer.text}, ensure_ascii=False)
        for one, answer in zip(asked, said, strict=True)
        if answer.text is not None
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
