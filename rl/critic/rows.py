"""Rows of training: from conversations with pictures to what TRL's trainers take; whatever cannot be used is counted.

A row is kept as JSON, and its pictures are decoded when it is asked for: upright RGB, as everywhere here. TRL's own
Image columns would pass on CMYK and 16 bits as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from indexes.errors import BeholderError
from indexes.records.manifest import write_json_atomic
from retrieval.conversations import Conversation
from retrieval.critic.conversation_rows import answer_spans, preference_row, training_rows
from retrieval.sources.images import BadPicture, decode

Row = dict[str, Any]  # images: paths; prompt; completion, or chosen and rejected: messages
Sizes = Mapping[str, tuple[int, int] | str]  # picture -> width and height upright, or why it cannot be read
ANSWERS = "completion", "chosen", "rejected"


@dataclass(frozen=True)
class Rows:
    """What is trained on, and how many conversations were left out for which reason."""

    rows: list[Row]
    left_out: Counter[str] = field(default_factory=Counter)

    def told(self) -> list[str]:
        return [f"left out: {count} ({reason})" for reason, count in sorted(self.left_out.items())]


def make_rows(
    conversations: Iterable[Conversation],
    folder: Path,
    sizes: Sizes,
    processor: Any,
    *,
    pairs: bool = False,
    max_length: int = 0,
    answer_tokens: int = 0,
) -> Rows:
    """Rows of conversations that a model with this processor can be trained on: of preference pairs one each, else one
    for each answer. An answer of more than `answer_tokens` tokens, or a conversation of more than `max_length` with its
    pictures, is left out (0: any length).

    Raises BeholderError where the chat template rewrites what was said before, or nothing is left.
    """
    found = Rows([])
    tokens = _Tokens(processor)
    checked = False
    for one in conversations:
        reason = _unusable(one, sizes, pairs)
        if reason:
            found.left_out[reason] += 1
            continue
        if not checked or len(one.turns) > 3:
            answer_spans(one.turns, tokens.render)
            checked = True
        rows = [preference_row(one, folder)] if pairs else list(training_rows(one, folder))
        for row in rows:
            shown = [sizes[path] for path in one.pictures[: len(row["images"])]]
            answers = [row[name][0]["content"][0]["text"] for name in ANSWERS if name in row]
            if answer_tokens and any(tokens.of(text) > answer_tokens for text in answers):
                found.left_out[f"an answer of more than {answer_tokens} tokens"] += 1
            elif max_length and any(tokens.of_row(row, name, shown) > max_length for name in ANSWERS if name in row):
                found.left_out[f"more than {max_length} tokens"] += 1
            else:
                found.rows.append(row)
    if not found.rows:
        raise BeholderError("; ".join(["there is nothing to train on", *found.told()]), "usable conversations")
    return found


def picture_sizes(
    paths: Iterable[str], folder: Path, kept: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, tuple[int, int] | str]:
    """Of each picture its size, or why it cannot be read: all are decoded once, as training would fail in the middle
    of an epoch. Kept in a file, for when a run goes on."""
    if kept.is_file():
        content = json.loads(kept.read_bytes())
        return {path: told if isinstance(told, str) else (told[0], told[1]) for path, told in content.items()}
    wanted = sorted(set(paths))
    found: dict[str, tuple[int, int] | str] = {}
    for place, path in enumerate(wanted):
        try:
            found[path] = decode((folder / path).read_bytes()).size
        except BadPicture as error:
            found[path] = str(error)
        except OSError as error:
            found[path] = error.strerror or "cannot be read"
        if progress is not None:
            progress(place + 1, len(wanted))
    write_json_atomic(kept, found)
    return found


def as_dataset(rows: Sequence[Row]) -> Any:
    """A Dataset that opens a row's pictures when it is asked for the row."""
    from datasets import Dataset

    return Dataset.from_dict({"row": [json.dumps(row) for row in rows]}).with_transform(_opened)


def _opened(batch: Mapping[str, list[str]]) -> dict[str, list[Any]]:
    rows = [json.loads(text) for text in batch["row"]]
    return {name: [_open(one) if name == "images" else one for one in (row[name] for row in rows)] for name in rows[0]}


def _open(paths: Sequence[str]) -> list[Image.Image]:
    try:
        return [decode(Path(path).read_bytes()) for path in paths]
    except (OSError, BadPicture) as error:
        raise BeholderError(
            f"a picture is gone ({error})", "those that the run began with", "Bring it back."
        ) from error


def _unusable(one: Conversation, sizes: Sizes, pairs: bool) -> str:
    if not one.pictures:
        return "no picture"  # their batches would leave the projector without gradients
    if pairs and not one.rejected:
        return "no rejected answer"
    if any(isinstance(sizes[path], str) for path in one.pictures):
        return "a picture that cannot be read"
    return ""


class _Tokens:
    """Numbers of tokens, those of pictures included; a picture's number depends on its size alone and is asked once."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._pictures: dict[Any, int] = {}

    def render(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        return str(
            self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
        )

    def of(self, text: str) -> int:
        return len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def of_row(self, row: Row, answer: str, sizes: Sequence[Any]) -> int:
        return self.of(self.render(row["prompt"] + row[answer], False)) + sum(self._of_picture(size) for size in sizes)

    def _of_picture(self, size: tuple[int, int]) -> int:
        """Tokens that take the place of the one that stands for a picture of this size."""
        if size not in self._pictures:
            content = [{"type": "image"}, {"type": "text", "text": "."}]
            text = self.render([{"role": "user", "content": content}], True)
            batch = self.processor(text=[text], images=[[Image.new("RGB", size)]], add_special_tokens=False)
            self._pictures[size] = len(batch["input_ids"][0]) - self.of(text)
        return self._pictures[size]
