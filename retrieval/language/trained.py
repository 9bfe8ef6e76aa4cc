"""What training leaves of a critic, and how it is loaded: a folder with `critic.json`, a processor, and weights that
are whole (`full`), low-rank changes of peft (`lora`) or ArtGPT-4's adapter (`adapter`), the last two over a named base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import write_json_atomic

from .local_model import identity_of, located, unusable

RECORD, KIND, FORMAT = "critic.json", "beholder-critic", 1
WHOLE, LORA, ADAPTER = "full", "lora", "adapter"
TRAINS = LORA, ADAPTER, WHOLE
WANTED = "a model of transformers that takes pictures and text"


@dataclass(frozen=True)
class TrainedCritic:
    """The record of a trained critic. `base_identity` is that of the model it was trained over."""

    trains: str
    base: str  # folder, or name in the box or on the hub
    base_identity: str
    stage: str = "sft"  # sft or dpo
    recipe: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)  # name of a file -> sha256

    def write(self, folder: Path) -> None:
        content = {"kind": KIND, "format": FORMAT, **vars(self)}
        write_json_atomic(folder / RECORD, {**content, "settings": dict(self.settings), "inputs": dict(self.inputs)})


def read_trained(folder: Path) -> TrainedCritic | None:
    """The record of a folder; None where it has none and is a model like any other. Raises FormatError for a record of
    another kind or a newer format."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        kind, version = content.pop("kind"), content.pop("format")
        found = TrainedCritic(**content) if (kind, version) == (KIND, FORMAT) else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is damaged ({error!r})", f"a record of {KIND}", "Train it again.") from error
    if found is None or found.trains not in TRAINS:
        raise FormatError(f"{path} is {kind!r}, format {version!r}", f"{KIND}, format {FORMAT}", "Update beholder.")
    return found


def load_vision_model(name: str, dtype: str = "auto", *, base: str = "", trainable: bool = False) -> tuple[Any, Any]:
    """(model, processor) of a model of transformers or a folder of ours, which brings its base with it. `base` stands
    for the recorded one where that has moved. Not merged; in evaluation mode unless trainable.

    Raises BeholderError for what cannot be loaded, has no chat template or lacks weights; FormatError where the base is
    not the one that was trained over.
    """
    folder = Path(name)
    record = read_trained(folder)
    if record is None or record.trains == WHOLE:
        model, processor = load_whole(name, dtype)
    else:
        chosen = base or record.base
        if identity_of(chosen, WANTED) != record.base_identity:
            raise FormatError(f"{name} was trained over another {record.base}", "its base", "Name the base's folder.")
        model, _ = load_whole(chosen, dtype)
        processor = load_processor(name)
        if record.trains == LORA:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, name, is_trainable=trainable)
        else:
            from .adapter import load_adapter

            load_adapter(model, folder)
    return model if trainable else model.eval(), processor


def load_whole(name: str, dtype: str = "auto") -> tuple[Any, Any]:
    """(model, processor) of transformers alone. Weights that a folder lacks would be random numbers: refused."""
    from transformers import AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it draws on stderr even where that is a file
    identity_of(name, WANTED)
    processor = load_processor(name)
    try:
        model, told = AutoModelForImageTextToText.from_pretrained(located(name), dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise unusable(name, error, WANTED) from error
    if missing := sorted(told["missing_keys"]):
        raise BeholderError(f"{name} lacks weights ({missing[0]}, {len(missing)} in all)", WANTED, "Fetch it again.")
    return model, processor


def load_processor(name: str) -> Any:
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(located(name))
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise unusable(name, error, WANTED) from error
    if not getattr(processor, "image_processor", None):
        raise BeholderError(f"{name} has no processor of pictures", WANTED, "Use a model that sees.")
    if not processor.chat_template:
        raise BeholderError(f"{name} has no chat template", "a model that was tuned to follow instructions", "Use one.")
    return processor
