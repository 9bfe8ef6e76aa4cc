"""An open_clip model in parts that train at different paces: frozen lower blocks, towers, heads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder

from .pixels import normalise

if TYPE_CHECKING:
    from torch import Tensor, nn

BLOCK = re.compile(r"\b(?:blocks|resblocks|layer|layers)\.(\d+)\.")


class Towers:
    """The model of an encoder as functions: pixels -> states -> features -> vectors, and tokens -> features
    -> vectors.

    States are what the frozen lower blocks of the image tower give (the normalised pixels where none is
    frozen); features are what the heads take (the vectors themselves where a tower has no separate head).
    """

    def __init__(self, encoder: Encoder, frozen_blocks: int = 0, patch_drop: float = 0.0) -> None:
        from timm.layers import PatchDropout
        from timm.models.vision_transformer import VisionTransformer
        from torch import nn

        self.encoder, self.model, self.frozen_blocks = encoder, encoder.model, frozen_blocks
        visual, text = self.model.visual, getattr(self.model, "text", None)
        self.trunk = getattr(visual, "trunk", None)
        self.image_head: nn.Module = visual.head if self.trunk is not None else nn.Identity()
        self.text_tower = getattr(text, "transformer", None) if hasattr(text, "pooler") else None
        self.text_head: nn.Module = text.proj if self.text_tower is not None and text is not None else nn.Identity()
        if isinstance(self.trunk, VisionTransformer):
            if frozen_blocks > len(self.trunk.blocks):
                raise BeholderError(
                    f"{frozen_blocks} frozen blocks", f"at most {len(self.trunk.blocks)}", "Freeze fewer."
                )
            # In training only, before the blocks that train: what frozen blocks give is cached whole.
            self.patch_drop: nn.Module = PatchDropout(patch_drop) if patch_drop else nn.Identity()
        elif frozen_blocks or patch_drop:
            raise BeholderError(
                "image_frozen_blocks and patch_drop were asked for",
                "a timm ViT image tower",
                "Set both to 0.",
            )

    @property
    def has_heads(self) -> bool:
        return self.trunk is not None and self.text_tower is not None

    def image_states(self, pixels: Tensor) -> Tensor:
        """Of uint8 (B, S, S, 3): normalised float (B, 3, S, S), or (B, tokens, width) after the frozen
        blocks: where no block is left and the class token is all that the head reads, that token alone.
        """
        images = normalise(pixels, self.encoder.preprocessing)
        if not self.frozen_blocks:
            return images
        trunk: Any = self.trunk
        states: Tensor = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(images)))
        for block in trunk.blocks[: self.frozen_blocks]:
            states = block(states)
        last = self.frozen_blocks == len(trunk.blocks) and trunk.global_pool == "token"
        return states[:, :1] if last else states

    def image_features(self, states: Tensor) -> Tensor:
        """float (B, F)."""
        if self.trunk is None:
            return self.model.visual(states)  # type: ignore[no-any-return]
        if not hasattr(self, "patch_drop"):
            return self.trunk(states)  # type: ignore[no-any-return]
        trunk: Any = self.trunk
        if not self.frozen_blocks:
            states = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(states)))
        if self.frozen_blocks < len(trunk.blocks):
            self.patch_drop.train(self.model.training)
            states = self.patch_drop(states)
        for block in trunk.blocks[self.frozen_blocks :]:
            states = block(states)
        return trunk.forward_head(trunk.norm(states))  # type: ignore[no-any-return]

    def text_features(self, tokens: Tensor) -> Tensor:
        """float (B, F) of LongTensor (B, T)."""
        if self.text_tower is None:
            return self.model.encode_text(tokens)  # type: ignore[no-any-return]
        mask = (tokens != self.model.text.config.pad_token_id).long()
        used = max(1, int(mask.sum(1).max()))  # padding is masked: columns that all leave empty cost time only
        tokens, mask = tokens[:, :used], mask[:, :used]
        output = self.text_tower(input_ids=tokens, attention_mask=mask)
        return self.model.text.pooler(output, mask)  # type: ignore[no-any-return]

    def parameter_groups(
        self, *, heads: float, image: float = 0.0, text: float = 0.0, decay: float, layer_decay: float
    ) -> list[dict[str, Any]]:
        """AdamW groups; what has learning rate 0 is frozen. Norms, biases and the logit scale have no weight
        decay.

        The table of word vectors stays frozen where a tower has pretrained words: few of them occur in a
        small set.
        """
        blocks = {side: 1 + max((_block(name) for name in names), default=-1) for side, names in self._names().items()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            side = _side(name, self.has_heads)
            rate = {"heads": heads, "image": image, "text": text}[side]
            if side != "heads":
                rate *= layer_decay ** (blocks[side] - 1 - _block(name)) if _block(name) >= 0 else 1.0
                if _block(name) < 0 and not _is_last(name):
                    rate *= layer_decay ** blocks[side]
            if "word_embeddings" in name or (side == "image" and self._is_frozen(name)):
                rate = 0.0
            parameter.requires_grad_(rate > 0)
            if rate:
                groups.setdefault((rate, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
        return [{"params": found, "lr": rate, "weight_decay": wd} for (rate, wd), found in groups.items()]

    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {"image": [], "text": [], "heads": []}
        for name, _ in self.model.named_parameters():
            names[_side(name, self.has_heads)].append(name)
        return names

    def _is_frozen(self, name: str) -> bool:
        return self.frozen_blocks > 0 and not _is_last(name) and _block(name) < self.frozen_blocks


def _side(name: str, has_heads: bool) -> str:
    if name.startswith("logit_") or (has_heads and name.startswith(("visual.head.", "text.proj."))):
        return "heads"
    return "image" if name.startswith("visual.") else "text"


def _block(name: str) -> int:
    found = BLOCK.search(name)
    return int(found.group(1)) if found else -1


def _is_last(name: str) -> bool:
    """Whether a parameter outside the blocks comes after them: the final norm and projections."""
    return bool(
        re.search(r"(trunk\.norm|ln_post|ln_final|fc_norm|pooler|text_projection|visual\.proj|attn_pool)", name)
    )


@contextmanager
def head_dropout(towers: Towers, drop_input: float, drop_hidden: float) -> Iterator[None]:
    """Dropout before the first and the later linear layers of both heads, in training; the saved model has
    none.
    """
    from torch import nn
    from torch.nn.functional import dropout

    hooks = []
    for head in (towers.image_head, towers.text_head) if drop_input or drop_hidden else ():
        layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
        for number, layer in enumerate(layers):
            share = drop_hidden if number else drop_input

            def drop(module: nn.Module, inputs: tuple[Any, ...], share: float = share) -> tuple[Any, ...]:
                return (dropout(inputs[0], share, module.training), *inputs[1:])

            hooks.append(layer.register_forward_pre_hook(drop))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
