"""What of a vision-language model is trained, by a recipe; all else is frozen, and what is trained is in float32."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from indexes.errors import BeholderError
from retrieval.language.adapter import PROJECTORS, AdapterConfig, insert_adapters
from retrieval.language.trained import LORA, WHOLE, load_vision_model, load_whole, read_trained

from .recipes import CriticRecipe


def load_for_training(base: str, start: str, recipe: CriticRecipe, precision: str) -> tuple[Any, Any]:
    """(model, processor) to be trained: the base, or what `start`, a folder of ours, made of it.

    Frozen weights are in bf16 where training is; what is trained is in float32 always, as a step of a small rate is
    less than bf16 can tell. Raises BeholderError where the start was trained in another way.
    """
    dtype = "bfloat16" if precision == "bf16" and recipe.trains != WHOLE else "float32"
    if not start:
        model, processor = load_whole(base, dtype)
        model = open_up(model, recipe)
    else:
        record = read_trained(Path(start))
        if record is None or record.trains != recipe.trains:
            found = "nothing that we trained" if record is None else f"trained by {record.trains}"
            raise BeholderError(f"--start {start} is {found}", f"a folder that was trained by {recipe.trains}")
        model, processor = load_vision_model(start, dtype, base=base, trainable=True)
        if recipe.trains == WHOLE:
            model = open_up(model, recipe)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model, processor


def open_up(model: Any, recipe: CriticRecipe) -> Any:
    """The model with what the recipe trains put in and made trainable, and all else frozen."""
    if recipe.trains == LORA:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            target_modules=linear_layers(model),
            modules_to_save=projectors(model) if recipe.projector else None,
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, config)
    if recipe.trains == WHOLE:
        model.requires_grad_(False)
        parts = [model.get_decoder(), model.get_output_embeddings()]
        for part in [*parts, *(model.get_submodule(name) for name in projectors(model))]:
            part.requires_grad_(True)
        return model
    insert_adapters(model, AdapterConfig(recipe.adapter_ratio, recipe.adapter_init))
    return model


def linear_layers(model: Any) -> str:
    """The pattern of the names of every linear layer of the language model but its head, as peft takes it. Vision tower
    and projector are not in it, whose layers have the same names in some families."""
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    kinds = {name.rpartition(".")[2] for name, module in decoder.named_modules() if isinstance(module, nn.Linear)}
    if not prefix or not kinds:
        raise BeholderError(f"{type(model).__name__} has no language model in it", "LLaVA, Idefics3, Qwen-VL or alike")
    return rf"{re.escape(prefix)}\..*\.({'|'.join(sorted(kinds))})"


def projectors(model: nn.Module) -> list[str]:
    """Names of the layers from pictures to words. Raises BeholderError where none is known."""
    found = [name for name, _ in model.named_modules() if name.endswith(PROJECTORS)]
    if not found:
        raise BeholderError(f"no projector in {type(model).__name__}", f"one that ends in {', '.join(PROJECTORS)}")
    return found


def projector_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Those that are trained, wherever a wrapper has put them."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and any(f".{part}." in f".{name}" for part in PROJECTORS):
            yield parameter


def pad_to_square(processor: Any) -> bool:
    """Pads pictures to squares of the mean colour, as LLaVA-1.5 was trained; its processor in transformers crops them.
    Goes with the processor when that is saved. False, and nothing done, for processors that cut pictures otherwise."""
    from transformers import CLIPImageProcessor, LlavaImageProcessor

    kind = type(processor.image_processor)
    if issubclass(kind, LlavaImageProcessor):
        processor.image_processor.do_pad = True
        return True
    if not issubclass(kind, CLIPImageProcessor):
        return False
    content = processor.image_processor.to_dict()
    known = {name: content[name] for name in KEPT if content.get(name) is not None}
    processor.image_processor = LlavaImageProcessor(**known, do_pad=True)
    return True


KEPT = (
    *("size", "crop_size", "do_center_crop", "do_resize", "do_rescale", "rescale_factor", "do_normalize"),
    *("image_mean", "image_std", "resample", "do_convert_rgb"),
)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trained, all)."""
    sizes = [(one.numel(), one.requires_grad) for one in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
