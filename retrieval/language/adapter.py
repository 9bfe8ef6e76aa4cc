"""ArtGPT-4's serial adapter: a bottleneck in every block of a language model, on the residual stream.

Yuan et al. 2023 (2305.07490), read in its released code: after the attention's residual and before the MLP's norm

    x = x + MHA(RMSNorm_in(x));  x = x + W_up GELU(W_down x + b_d) + b_u;  x = x + MLP(RMSNorm_post(x))

with W_down: d -> d / 4 and W_up: d / 4 -> d. Trained are the adapters, every block's norm before the MLP, the norm
before the attention of every second block (0, 2, 4 ...), and the projector from pictures; all else is frozen. peft has
no such type. It is put in by hooks, so that no model's code is copied: a hook before the first norm keeps the block's
input r, a hook after the attention turns its output a into a + f(r + a), and the block's own addition of r gives the
middle line. Both lie inside what gradient checkpointing runs again.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import FileRecord, check_file, read_manifest, record_file, write_manifest

KIND, FORMAT = "beholder-critic-adapter", 1
WEIGHTS = "adapter.safetensors"
INITS = "zero", "torch"
PROJECTORS = "multi_modal_projector", "connector", "visual.merger"  # LLaVA; Idefics3 and SmolVLM; Qwen-VL


@dataclass(frozen=True)
class AdapterConfig:
    ratio: int = 4  # width of the model over that of the bottleneck
    # zero: W_up and b_u at 0, so that step 0 is the base. torch: its default, as in the release, another model at once
    init: str = "zero"

    def __post_init__(self) -> None:
        if self.ratio < 1 or self.init not in INITS:
            raise BeholderError(f"ratio {self.ratio}, init {self.init}", f"a ratio from 1, init {' or '.join(INITS)}")


class SerialAdapter(nn.Module):
    """f(x) = W_up GELU(W_down x + b_d) + b_u, of x (..., width)."""

    def __init__(self, width: int, config: AdapterConfig) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // config.ratio)
        self.up = nn.Linear(width // config.ratio, width)
        if config.init == "zero":
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(nn.functional.gelu(self.down(x)))  # type: ignore[no-any-return]


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of the language model in their order: what has attention, an MLP and a norm before each. Raises
    BeholderError for a model that is built otherwise."""
    parts = "self_attn", "mlp", "input_layernorm", "post_attention_layernorm"
    blocks = [module for module in model.modules() if all(hasattr(module, part) for part in parts)]
    if not blocks:
        raise BeholderError(
            f"{type(model).__name__} has no block with {', '.join(parts)}",
            "a decoder of the Llama or Qwen family",
            "Use LoRA for this model.",
        )
    return blocks


def insert_adapters(model: nn.Module, config: AdapterConfig) -> None:
    """Puts an adapter into every block of the language model, in the weights' own type, and freezes all that ArtGPT-4
    freezes. Raises BeholderError where adapters are in already."""
    blocks = decoder_blocks(model)
    if any(hasattr(block, "serial_adapter") for block in blocks):
        raise BeholderError("the model has adapters already", "a model without", "Load it again.")
    for block in blocks:
        norm = block.get_submodule("input_layernorm")
        weight = next(norm.parameters())
        adapter = SerialAdapter(weight.shape[0], config).to(weight.device, weight.dtype)
        block.add_module("serial_adapter", adapter)
        kept: list[Tensor] = []
        norm.register_forward_pre_hook(_keeper(kept))
        block.get_submodule("self_attn").register_forward_hook(_adder(kept, adapter))
    model.requires_grad_(False)
    for _, parameter in trained_parameters(model):
        parameter.requires_grad_(True)


def _keeper(kept: list[Tensor]) -> Any:
    def keep(norm: nn.Module, args: tuple[Any, ...]) -> None:
        kept[:] = args[:1]

    return keep


def _adder(kept: list[Tensor], adapter: SerialAdapter) -> Any:
    def add(attention: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        changed = first + adapter(kept.pop() + first)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return add


def trained_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, parameter) of what ArtGPT-4 trains, in the model's order."""
    wanted: set[int] = set()
    for place, block in enumerate(decoder_blocks(model)):
        parts = ["serial_adapter", "post_attention_layernorm"] + ["input_layernorm"] * (place % 2 == 0)
        wanted |= {id(one) for part in parts for one in block.get_submodule(part).parameters()}
    for name, module in model.named_modules():
        if name.endswith(PROJECTORS):
            wanted |= {id(one) for one in module.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) in wanted:
            yield name, parameter


def parameter_counts(width: int, blocks: int, seen: int, ratio: int = 4) -> dict[str, int]:
    """What is trained in `blocks` blocks of `width`, a picture's `seen` numbers coming in through one linear layer:
    adapters, norms, projector, total."""
    narrow = width // ratio
    counts = {
        "adapters": blocks * (2 * width * narrow + narrow + width),
        "norms": width * (blocks + (blocks + 1) // 2),
        "projector": seen * width + width,
    }
    return {**counts, "total": sum(counts.values())}


def save_adapter(model: nn.Module, folder: Path, config: AdapterConfig, base: str, recipe: dict[str, Any]) -> None:
    """Writes what was trained, alone, with a manifest that names the base. A name of a parameter that a wrapper adds is
    not written."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in trained_parameters(model)}
    save_file(state, folder / WEIGHTS)
    content = {"base": base, "adapter": asdict(config), "weights": asdict(record_file(folder, WEIGHTS))}
    write_manifest(folder, KIND, FORMAT, {**content, "recipe": recipe})


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Puts a saved adapter into its base. Raises FormatError for one of a model of another size, and for damage."""
    content = read_manifest(folder, KIND, FORMAT)
    check_file(folder, FileRecord(**content["weights"]))
    insert_adapters(model, AdapterConfig(**content["adapter"]))
    put_weights(model, folder)


def put_weights(model: nn.Module, folder: Path) -> None:
    """Gives adapters that are in a model already the numbers of saved ones. Raises FormatError as load_adapter does."""
    from safetensors.torch import load_file

    content = read_manifest(folder, KIND, FORMAT)
    record = FileRecord(**content["weights"])
    check_file(folder, record)
    state, mine = load_file(folder / record.path), dict(trained_parameters(model))
    strange = [
        name
        for name in state.keys() | mine.keys()
        if name not in mine or name not in state or state[name].shape != mine[name].shape
    ]
    if strange:
        raise FormatError(
            f"{folder} does not fit {type(model).__name__} ({sorted(strange)[0]})", f"its base, {content['base']}"
        )
    with torch.no_grad():
        for name, value in state.items():
            mine[name].copy_(value)
