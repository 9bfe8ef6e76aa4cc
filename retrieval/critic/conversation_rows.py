"""What training is given of a conversation: rows for TRL's trainers, messages for chat templates, and the places of the
answers in a rendered text. The loss falls on answers only.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from retrieval.conversations import ASSISTANT, IMAGE, Conversation, Turn


def training_rows(conversation: Conversation, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each answer as TRL's SFTTrainer takes them: `images` (paths), `prompt` and `completion` (messages). The
    loss falls on the completion alone, so on each answer once and on nothing that a user said."""
    for place, turn in enumerate(conversation.turns):
        if turn.role == ASSISTANT:
            before = conversation.turns[:place]
            shown = sum(said.text.count(IMAGE) for said in before)
            yield {
                "images": [str(folder / path) for path in conversation.pictures[:shown]],
                "prompt": messages(before),
                "completion": messages([turn]),
            }


def preference_row(conversation: Conversation, folder: Path) -> dict[str, Any]:
    """A row as TRL's DPOTrainer takes it: `images`, `prompt`, `chosen` and `rejected` (messages). Raises BeholderError
    for a conversation that has no rejected answer."""
    if not conversation.rejected:
        raise BeholderError("a conversation without a rejected answer", "a preference pair", "Train on it by `sft`.")
    *before, last = conversation.turns
    return {
        "images": [str(folder / path) for path in conversation.pictures],
        "prompt": messages(before),
        "chosen": messages([last]),
        "rejected": messages([Turn(ASSISTANT, conversation.rejected)]),
    }


def messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Turns as transformers' chat templates take them: content in parts, a picture where `<image>` stood."""
    return [{"role": turn.role, "content": list(_parts(turn.text))} for turn in turns]


def answer_spans(turns: Sequence[Turn], render: Callable[[list[dict[str, Any]], bool], str]) -> list[tuple[int, int]]:
    """(start, end) in characters of each answer in the rendered conversation, with what closes it.

    `render(messages, add_generation_prompt)` is a processor's chat template. What the template opens an answer with
    belongs to the question. Raises BeholderError for a template that writes the beginning of a conversation otherwise
    when more follows: no mask of it could be trusted.
    """
    whole = render(messages(turns), False)
    spans = []
    for place, turn in enumerate(turns):
        if turn.role == ASSISTANT:
            before, after = render(messages(turns[:place]), True), render(messages(turns[: place + 1]), False)
            if not whole.startswith(after) or not after.startswith(before):
                raise BeholderError(
                    "the chat template rewrites what was said before", "one that only appends", "Use another template."
                )
            spans.append((len(before), len(after)))
    return spans


def answer_mask(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """For each token, by its (start, end) in the rendered text, whether all of it lies in an answer; tokens without
    characters (0, 0) do not."""
    return [end > start and any(low <= start and end <= high for low, high in spans) for start, end in offsets]


def _parts(text: str) -> Iterator[dict[str, str]]:
    for place, words in enumerate(text.split(IMAGE)):
        if place:
            yield {"type": "image"}
        if words.strip():
            yield {"type": "text", "text": words.strip("\n") if place or IMAGE in text else words}
