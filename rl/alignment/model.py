"""The towers in training: which parameters move, texts and pictures to unit vectors, adapters, plain weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from rl.towers import Towers

from .config import AlignConfig

TOGETHER = 128  # texts in one forward, sorted by length: padding of a short text to the longest of a batch costs half


class AlignModel(nn.Module):
    """An encoder's model as one forward over a batch, so that it can be wrapped for several processes."""

    def __init__(self, encoder: Encoder, config: AlignConfig) -> None:
        super().__init__()
        self.clip: nn.Module = encoder.model
        self.towers = Towers(encoder, config.frozen_blocks)
        self.tower_dropout = config.tower_dropout
        self.groups = _groups(self.towers, config)
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise BeholderError(
                f"nothing is trained with towers {config.towers} and these learning rates",
                "a learning rate above 0 for a part that the model has",
                "Set --text-lr, --image-lr or --head-lr.",
            )

    def forward(self, texts: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """float32 (T, D) and (N, D), unit rows: of token ids (T, context) or features (T, F), and of pixels (uint8, of
        four dimensions), the frozen blocks' states (of three) or vectors."""
        return self.text_vectors(texts), self.picture_vectors(pictures)

    def picture_vectors(self, pictures: Tensor) -> Tensor:
        if pictures.ndim == 4:
            pictures = self.towers.image_states(pictures)
        if pictures.ndim > 2:
            pictures = self.towers.image_head(self.towers.image_features(pictures.float()))
        return normalize(pictures.float(), dim=-1)

    def text_vectors(self, texts: Tensor) -> Tensor:
        return normalize(self.towers.text_head(self.text_features(texts)).float(), dim=-1)

    def text_features(self, texts: Tensor) -> Tensor:
        """float (T, F): features as they are, or those of token ids, in parts of texts of like length."""
        if texts.is_floating_point():
            return texts
        parts, order = [], (texts != 0).sum(1).argsort()
        for at in range(0, len(texts), TOGETHER):
            parts.append(self.towers.text_features(texts[order[at : at + TOGETHER]]))
        return torch.cat(parts)[order.argsort()]

    def train(self, mode: bool = True) -> AlignModel:
        """Dropout of the towers stays off unless it was asked for: the reference was read without it."""
        super().train(mode)
        if mode and not self.tower_dropout:
            self.clip.eval()
            for head in (self.towers.image_head, self.towers.text_head):
                head.train()
        return self

    def trained(self) -> dict[str, Tensor]:
        """The parameters that move, by name."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_trained(self, state: dict[str, Tensor]) -> None:
        """Raises BeholderError unless these are the parameters that move."""
        mine = dict(self.named_parameters())
        wanted = {name for name, value in mine.items() if value.requires_grad}
        if set(state) != wanted:
            raise BeholderError(f"{len(state)} saved parameters", f"the {len(wanted)} that this run trains")
        with torch.no_grad():
            for name, value in state.items():
                mine[name].copy_(value)

    def plain_state(self) -> dict[str, Tensor]:
        """The weights under open_clip's own names, adapters added into them."""
        state = {}
        added = {
            name: module.get_delta_weight("default")
            for name, module in self.clip.named_modules()
            if hasattr(module, "get_delta_weight")
        }
        for name, value in self.clip.state_dict().items():
            if ".lora_" in name:
                continue
            plain = name.replace(".base_layer.", ".")
            owner = name.partition(".base_layer.")[0]
            whole = plain.endswith(".weight") and owner in added and ".base_layer." in name
            state[plain] = (value + added[owner] if whole else value).detach().clone()
        return state


def _groups(towers: Towers, config: AlignConfig) -> list[dict[str, Any]]:
    """AdamW groups; everything else is frozen, the logit scale always: widening it would look like learning."""
    low_rank = config.lora_rank > 0
    text = config.text_lr if config.trains_text else 0.0
    image = config.image_lr if config.trains_image else 0.0
    groups = towers.parameter_groups(
        heads=config.head_lr,
        text=0.0 if low_rank else text,
        image=0.0 if low_rank else image,
        decay=config.weight_decay,
        layer_decay=config.layer_decay,
    )
    for name, parameter in towers.model.named_parameters():
        idle_head = (name.startswith("visual.head.") and not config.trains_image) or (
            name.startswith("text.proj.") and not config.trains_text
        )
        if name.startswith("logit_") or idle_head:
            parameter.requires_grad_(False)
    groups = [{**group, "params": [one for one in group["params"] if one.requires_grad]} for group in groups]
    if low_rank:
        adapted = [(_text_part(towers), text), (towers.trunk or towers.model.visual, image)]
        for module, rate in adapted:
            if rate:
                groups.append({"params": _adapt(module, config), "lr": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _text_part(towers: Towers) -> nn.Module:
    if towers.text_tower is not None:
        return towers.text_tower  # type: ignore[no-any-return]
    found = getattr(towers.model, "text", None) or getattr(towers.model, "transformer", None)
    if found is None:
        raise BeholderError("a text tower without a module of its own", "towers that adapters fit", "Leave out LoRA.")
    return found  # type: ignore[no-any-return]


def _adapt(module: nn.Module, config: AlignConfig) -> list[nn.Parameter]:
    """Low-rank adapters (Hu et al. 2021, 2106.09685) on the linear layers of a tower, in place; their parameters."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    names = [
        name for name, part in module.named_modules() if type(part) is nn.Linear and not _in_attention(module, name)
    ]
    if not names:
        raise BeholderError(
            f"{type(module).__name__} has no linear layers of its own",
            "a tower that low-rank adapters fit",
            "Set --lora-rank 0 to train its weights themselves.",
        )
    before = {id(parameter) for parameter in module.parameters()}
    settings: Any = {"r": config.lora_rank, "lora_alpha": config.lora_alpha, "target_modules": names}
    LoraModel(module, LoraConfig(**settings), "default")
    return [parameter for parameter in module.parameters() if id(parameter) not in before]


def _in_attention(module: nn.Module, name: str) -> bool:
    """Whether a layer is the output projection of torch's own attention, which calls its weight and not it."""
    parent = module.get_submodule(name.rpartition(".")[0]) if "." in name else module
    return isinstance(parent, nn.MultiheadAttention)
