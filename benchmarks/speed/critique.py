"""`bench speed critique`: tokens/s and pictures/s of a critic, of a local one beside what its forward pass alone would
allow (one behind a server: critique_served.py).

generate: greedy, so many new tokens for each picture whatever is said, batches of one and more. forward-only: the same
pictures, question and number of answer tokens in one pass, as if all words of the answer came at once; no decoder that
writes word by word can beat it. prepare: decoding and processing the pictures, which the other two leave out. Measured
in turns, after one unmeasured turn; medians of the repeats.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError
from retrieval.critic.critic import local_critic
from retrieval.language.asking import split_model
from retrieval.sources.images import BadPicture, decode, list_pictures

from .critique_served import served_numbers

QUESTION = "Write a short critique of this picture."


@dataclass(frozen=True)
class SpeedCritiqueConfig:
    """Options of `bench speed critique`; threads = 0 is torch's choice."""

    source: Path
    model: str = ""  # one in the box, FOLDER, hf:MODEL or llm:MODEL[@URL]
    batch: tuple[int, ...] = (1, 16)
    tokens: int = 64  # of each answer
    threads: int = 0
    repeats: int = 3
    device: str = "cpu"
    timeout_s: float = 120.0  # of an answer of a server
    name: str = "speed-critique"

    def __post_init__(self) -> None:
        wrong = [
            f"--{name} {value}" for name, value in (("tokens", self.tokens), ("repeats", self.repeats)) if value < 1
        ]
        wrong += [f"--batch {size}" for size in self.batch if size < 1]
        wrong += [] if self.timeout_s > 0 else [f"--timeout-s {self.timeout_s}"]
        wrong += [f"--threads {self.threads}"] if self.threads < 0 else []
        if wrong:
            raise BeholderError(", ".join(wrong), "positive numbers", "Correct the options.")


def measure(config: SpeedCritiqueConfig) -> Run:
    """The run record. Raises BeholderError for a folder without pictures and a model that cannot be loaded,
    ConditionFailed for a server that does not answer."""
    contents = _pictures(config.source, max(config.batch))
    data: dict[str, Any] = {"source": portable_path(config.source), "pictures": len(contents)}
    scheme, _, named = config.model.partition(":")
    if scheme == "llm" and named:
        sizes, model = config.batch, split_model(named)[0]
        numbers, notes = served_numbers(
            named, QUESTION, contents, sizes, config.tokens, config.repeats, config.timeout_s
        )
        data |= {"model": model}
        config = replace(config, model=f"llm:{model}")  # where it is served is not told
    else:
        numbers, notes, known = _local_numbers(config, contents)
        data |= known
    command, machine = command_of("bench speed critique", config), describe_machine(config.device)
    return Run(config.name, command, machine, 0, data, numbers, tuple(notes))


def _local_numbers(
    config: SpeedCritiqueConfig, contents: list[bytes]
) -> tuple[dict[str, Number], list[str], dict[str, Any]]:
    """Numbers by batch, notes, and what is told of the model."""
    import torch

    from retrieval.language.local_vision import LocalVisionModel

    if config.threads:
        torch.set_num_threads(config.threads)
    name, path = local_critic(config.model)
    model, processor = LocalVisionModel(path, config.device).load()  # as it is asked, in the same type
    processor.tokenizer.padding_side = "left"
    numbers: dict[str, Number] = {}
    for size in config.batch:
        chosen = [contents[place % len(contents)] for place in range(size)]
        prepared = _prepared(processor, chosen, config.device, model.dtype)
        longer = _with_answer(prepared, config.tokens)
        sides: dict[str, Callable[[], Any]] = {
            "generate": partial(_generate, model, processor, prepared, config.tokens),
            "forward-only": partial(model, **longer),
            "prepare": partial(_prepared, processor, chosen, config.device, model.dtype),
        }
        rates = _rates(sides, config, size)
        numbers[f"batch {size}: tokens/s"] = Number.of_repeats(
            [config.tokens * rate for rate in rates["generate"]], "tokens/s"
        )
        for side, shown in (("generate", "pictures/s"), ("forward-only", "forward-only"), ("prepare", "prepare")):
            numbers[f"batch {size}: {shown}"] = Number.of_repeats(rates[side], "pictures/s")
        shares = [one / other for one, other in zip(rates["generate"], rates["forward-only"], strict=True)]
        numbers[f"batch {size}: of the forward-only rate"] = Number.of_repeats(shares, "share")
    parameters = sum(one.numel() for one in model.parameters())
    known = {
        "model": name,
        "parameters": parameters,
        "prompt_tokens": int(prepared["input_ids"].shape[1]),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    return numbers, [f"{config.tokens} new tokens for each picture, greedy; {parameters:,} parameters."], known


def _rates(sides: dict[str, Callable[[], Any]], config: SpeedCritiqueConfig, size: int) -> dict[str, list[float]]:
    """Pictures/s of each side, a value per repeat; sides take turns, so that what slows the machine slows all."""
    import torch

    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(config.repeats + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            with torch.inference_mode():
                run()
            if config.device != "cpu":
                torch.cuda.synchronize(config.device)
            if repeat:  # the first turn warms up
                rates[name].append(size / (time.perf_counter() - started))
    return rates


def _generate(model: Any, processor: Any, batch: dict[str, Any], tokens: int) -> Any:
    padding = processor.tokenizer.pad_token_id
    if padding is None:
        padding = processor.tokenizer.eos_token_id
    return model.generate(**batch, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False, pad_token_id=padding)


def _prepared(processor: Any, contents: list[bytes], device: str, dtype: Any) -> dict[str, Any]:
    """What the model is given: each picture with the question, and the opening of an answer."""
    import torch

    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    prompt = processor.apply_chat_template([asked], tokenize=False, add_generation_prompt=True)
    batch = processor(
        text=[prompt] * len(contents),
        images=[[decode(content)] for content in contents],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,
    )
    return {
        name: value.to(device, dtype) if torch.is_floating_point(value) else value.to(device)
        for name, value in batch.items()
    }


def _with_answer(batch: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The same with `tokens` more of them at the end: whatever has a value per token gets longer by its last one."""
    import torch

    shape = batch["input_ids"].shape
    return {
        name: torch.cat([value, value[:, -1:].expand(-1, tokens)], dim=1) if value.shape == shape else value
        for name, value in batch.items()
    }


def _pictures(source: Path, most: int) -> list[bytes]:
    """The first readable pictures of a folder, at most so many."""
    found: list[bytes] = []
    for uri in list_pictures(source)[0]:
        content = (source / uri).read_bytes()
        try:
            decode(content)
        except BadPicture:
            continue
        found.append(content)
        if len(found) == most:
            break
    if not found:
        raise BeholderError(f"{source} has no picture that can be read", "one at least", "Check the path.")
    return found
