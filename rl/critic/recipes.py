"""The published ways of training a critic as values, each marked by where it comes from.

AesExpert (2404.09624), GalleryGPT (2408.00491), ArtGPT-4 (2305.07490). `read`: stands in the paper, its page or its
released code. `unverified`: assumed, because what we found does not say. `default`: ours or the trainer's, where the
publication has no such choice or leaves it alone.

Different on purpose from the releases: an answer or a conversation that is too long is left out and counted, where they
cut its end off and so teach a critic to stop in the middle of a sentence; ArtGPT-4's cosine begins after the warm-up,
where MiniGPT-4's trainer counts it from step 0; its random crops of pictures are not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from indexes.errors import BeholderError
from retrieval.language.adapter import INITS
from retrieval.language.trained import ADAPTER, LORA, TRAINS, WHOLE

READ, DEFAULT, UNVERIFIED = "read", "default", "unverified"


@dataclass(frozen=True)
class CriticRecipe:
    """How a critic is trained. Raises BeholderError that names every value that makes no sense."""

    trains: str = LORA  # lora; adapter: ArtGPT-4's; full: language model and projector. The vision tower is frozen
    epochs: float = 1.0
    steps: int = 0  # above 0: so many in place of epochs
    batch: int = 16  # answers in an optimizer step
    learning_rate: float = 2e-5  # its highest
    first_learning_rate: float = 0.0  # at which the warm-up begins
    last_learning_rate: float = 0.0  # at which the cosine ends
    projector_learning_rate: float = 0.0  # of the layers from pictures to words; 0: as the rest
    warmup: float = 0.03  # below 1 a share of the steps, else steps
    weight_decay: float = 0.0  # of AdamW
    max_gradient: float = 1.0  # norm at which gradients are clipped
    lora_rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.05
    projector: bool = True  # lora: the projector is trained too, whole
    adapter_ratio: int = 4  # width of the model over that of the bottleneck
    adapter_init: str = "zero"  # or torch
    pad_to_square: bool = False  # pictures, with the mean colour, where the processor can; else they are cropped
    max_length: int = 2048  # tokens of a conversation with its pictures; 0: any
    answer_tokens: int = 0  # of an answer; 0: any
    precision: str = "bf16"  # on a GPU
    checkpointing: bool = True  # activations are computed again on a GPU, which saves memory
    preference_epochs: float = 1.0
    preference_beta: float = 0.1  # strength of DPO
    preference_learning_rate: float = 1e-6

    def problems(self) -> list[str]:
        wrong = [] if self.trains in TRAINS else [f"trains {self.trains!r} is none of {', '.join(TRAINS)}"]
        wrong += [] if self.adapter_init in INITS else [f"adapter_init {self.adapter_init!r} is none of {INITS}"]
        wrong += [] if self.precision in ("bf16", "fp32") else [f"precision {self.precision!r} is not bf16 or fp32"]
        above = (
            *("batch", "learning_rate", "max_gradient", "lora_rank", "lora_alpha", "adapter_ratio"),
            *("preference_beta", "preference_epochs", "preference_learning_rate"),
        )
        wrong += [f"{name} {getattr(self, name)} is not above 0" for name in above if not getattr(self, name) > 0]
        least = (
            *("steps", "first_learning_rate", "last_learning_rate", "projector_learning_rate", "warmup"),
            *("weight_decay", "max_length", "answer_tokens"),
        )
        wrong += [f"{name} {getattr(self, name)} is below 0" for name in least if not getattr(self, name) >= 0]
        wrong += [] if self.steps or self.epochs > 0 else [f"epochs {self.epochs} is not above 0"]
        wrong += [] if 0 <= self.lora_dropout < 1 else [f"lora_dropout {self.lora_dropout} is outside [0, 1)"]
        return wrong

    def __post_init__(self) -> None:
        if wrong := self.problems():
            raise BeholderError("; ".join(wrong), "other values", "See `beholder align critic recipes`.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def with_settings(self, settings: list[str]) -> CriticRecipe:
        """The recipe with NAME=VALUE settings changed. Raises BeholderError for a name or a value that there is not."""
        changed: dict[str, Any] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals or name not in NAMES:
                raise BeholderError(f"--set {setting}", f"NAME=VALUE with one of {', '.join(NAMES)}", "Check the name.")
            changed[name] = _parsed(name, text, getattr(self, name))
        return replace(self, **changed)


NAMES = tuple(one.name for one in fields(CriticRecipe))


@dataclass(frozen=True)
class PublishedRecipe:
    """A recipe with the marks of its values; what stands in neither set is a default."""

    name: str
    title: str
    base: str  # what the publication trained
    recipe: CriticRecipe
    read: frozenset[str] = frozenset()
    unverified: frozenset[str] = frozenset()
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = (self.read | self.unverified | set(self.notes)) - set(NAMES)
        if unknown or self.read & self.unverified:
            found = f"{self.name} marks {sorted(unknown or self.read & self.unverified)}"
            raise BeholderError(found, "each value once, by its name")

    def mark(self, name: str) -> str:
        return READ if name in self.read else UNVERIFIED if name in self.unverified else DEFAULT


_LLAVA = "LLaVA-1.5's second stage, on whose models it was trained"
_ARTGPT = "stage {} of the released configuration"
_MINI = {"trains", "adapter_ratio", "adapter_init", "steps", "batch", "learning_rate", "first_learning_rate"}

RECIPES: dict[str, PublishedRecipe] = {
    one.name: one
    for one in (
        PublishedRecipe(
            name="aesexpert",
            title="AesExpert (Huang et al. 2024): aesthetic instructions of AesMMIT",
            base="LLaVA-1.5-7B, LLaVA-1.5-13B, mPLUG-Owl2",
            recipe=CriticRecipe(trains=WHOLE, epochs=1, batch=128, learning_rate=2e-5, pad_to_square=True),
            unverified=frozenset(
                {"trains", "epochs", "batch", "learning_rate", "warmup", "weight_decay", "max_length", "precision"}
                | {"last_learning_rate", "pad_to_square", "checkpointing", "projector_learning_rate"}
            ),
            notes={"trains": _LLAVA, "learning_rate": _LLAVA, "batch": _LLAVA, "epochs": _LLAVA},
        ),
        PublishedRecipe(
            name="gallerygpt",
            title="GalleryGPT (Bin et al. 2024): formal analyses of PaintingForm",
            base="ShareGPT4V-7B (LLaVA-1.5's layout)",
            recipe=CriticRecipe(
                trains=LORA,
                epochs=2,
                batch=16,
                learning_rate=2e-5,
                projector_learning_rate=2e-5,
                lora_rank=128,
                lora_alpha=256,
                lora_dropout=0.05,
                pad_to_square=True,
            ),
            read=frozenset(
                {"trains", "epochs", "batch", "learning_rate", "projector_learning_rate", "warmup", "weight_decay"}
                | {"lora_rank", "lora_alpha", "lora_dropout", "pad_to_square", "max_length", "precision"}
                | {"checkpointing", "last_learning_rate"}
            ),
            unverified=frozenset({"projector"}),
            notes={
                "learning_rate": "the released script; LLaVA's own LoRA recipe has 2e-4: try both",
                "lora_rank": "on every linear layer of the language model but its head",
                "projector": "trained in LLaVA's LoRA recipe, whose rate the script sets",
            },
        ),
        PublishedRecipe(
            name="artgpt4",
            title="ArtGPT-4 (Yuan et al. 2023), second stage: 3,500 long descriptions of MiniGPT-4",
            base="MiniGPT-4 13B (EVA-CLIP-g, Q-Former, Vicuna v0)",
            recipe=CriticRecipe(
                trains=ADAPTER,
                steps=1000,
                batch=12,
                learning_rate=3e-5,
                first_learning_rate=1e-6,
                last_learning_rate=1e-5,
                warmup=200,
                weight_decay=0.05,
                adapter_init="torch",
                max_length=0,
                answer_tokens=160,
            ),
            read=frozenset(_MINI | {"last_learning_rate", "answer_tokens"}),
            unverified=frozenset({"warmup", "weight_decay", "precision"}),
            notes={
                "steps": f"5 x 200, {_ARTGPT.format(2)}",
                "adapter_init": "as released: another model than the base at step 0; zero begins at the base",
                "weight_decay": "that of stage 1",
            },
        ),
        PublishedRecipe(
            name="artgpt4-stage1",
            title="ArtGPT-4, first stage: short captions of LAION-aesthetics",
            base="MiniGPT-4 13B (EVA-CLIP-g, Q-Former, Vicuna v0)",
            recipe=CriticRecipe(
                trains=ADAPTER,
                steps=20000,
                batch=32,
                learning_rate=1e-7,
                first_learning_rate=1e-8,
                last_learning_rate=8e-7,
                warmup=5000,
                weight_decay=0.05,
                adapter_init="torch",
                max_length=0,
            ),
            read=frozenset(_MINI | {"last_learning_rate", "warmup", "weight_decay"}),
            unverified=frozenset({"precision", "answer_tokens"}),
            notes={
                "steps": f"4 x 5000, {_ARTGPT.format(1)}; the paper says 2 epochs",
                "last_learning_rate": "above the first, as released: the cosine rises",
            },
        ),
    )
}


def recipe_named(name: str) -> PublishedRecipe:
    if name not in RECIPES:
        raise BeholderError(f"there is no recipe {name!r}", ", ".join(RECIPES), "Check the name.")
    return RECIPES[name]


def told(one: PublishedRecipe) -> list[str]:
    """Lines for people: a value, its mark and what there is to say of it. Values that this way of training has no use
    for are left out."""
    unused = {LORA: ("adapter_",), ADAPTER: ("lora_", "projector"), WHOLE: ("lora_", "adapter_")}[one.recipe.trains]
    lines = [f"{one.name}\t{one.title}", f"base\t{one.base}\t{READ}"]
    for name, value in one.recipe.to_dict().items():
        if name == "projector_learning_rate" or not name.startswith(unused):
            if name == "projector" and one.recipe.trains == WHOLE:
                continue
            note = one.notes.get(name, "")
            lines.append("\t".join([name, _shown(value), one.mark(name), *([note] if note else [])]))
    return lines


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _parsed(name: str, text: str, example: Any) -> Any:
    if isinstance(example, bool):
        if text not in ("true", "false"):
            raise BeholderError(f"--set {name}={text}", "true or false", "Write one of them.")
        return text == "true"
    try:
        return type(example)(text)
    except ValueError as error:
        raise BeholderError(f"--set {name}={text}", f"a value like {example}", "Write a number.") from error
