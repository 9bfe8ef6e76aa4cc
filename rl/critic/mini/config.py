"""Settings of the small critic and of its training; `config.json` of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from indexes.errors import BeholderError
from rl.critic.grounded_facts import LOOK, SOURCES

# May change on the way of a run: `steps` changes what is learnt from then on, the others nothing.
FREE = "data", "device", "threads", "log_every", "save_every", "dev_every", "dev_pictures", "steps"


@dataclass(frozen=True)
class MiniConfig:
    """Checked when made: raises BeholderError that names every problem."""

    data: str  # folder that holds the sets
    embeddings: tuple[str, ...] = ()  # with kept scores of their pictures
    conversations: tuple[str, ...] = ()  # further files, whose single questions are learnt as they stand
    sources: tuple[str, ...] = tuple(SOURCES)
    scorers: tuple[str, ...] = LOOK
    dev_share: float = 0.1  # of the pictures of sets that have no dev of their own
    tower: str = "beholder-mini"  # in the box, or a .safetensors file with timm's names
    tower_heads: int = 3
    side: int = 160  # px of the square that pictures are squashed to
    layers: tuple[int, ...] = (2, 6, 12)  # of the tower: early ones know colours, late ones things
    flips: bool = True  # mirrored pictures are learnt as well
    vocabulary: int = 2560
    width: int = 256
    depth: int = 6
    heads: int = 4
    inner: int = 704  # width inside a layer
    context: int = 1024  # tokens
    steps: int = 2600
    pictures: int = 8  # of a step, alone
    pairs: int = 8  # of a step
    captions: int = 4  # of a picture at a visit
    levels: int = 3  # forced questions of a picture at a visit
    compared: int = 6  # attributes that a pair is compared by, at most
    across: float = 0.25  # of the pairs are of pictures of any two sets
    learning_rate: float = 1.5e-3
    warmup: int = 100  # steps in which it rises
    fall: float = 0.5  # share of the steps in which it falls, to nothing
    weight_decay: float = 0.05
    auxiliary: float = 0.5  # weight of the error of percentiles that are read off the middle of the model
    repeats: int = 4  # visits of a picture with a label in a turn, as of each label there are few
    emphasis: float = 3.0  # how much an answer counts that compares two pictures, or is a label
    drop: float = 0.1  # of a picture's tokens are not shown
    seed: int = 0
    save_every: int = 50  # steps between checkpoints
    log_every: int = 20  # steps between lines of log.jsonl
    dev_every: int = 250  # steps between looks at dev
    dev_pictures: int = 100
    device: str = "cpu"
    precision: str = "bf16"
    threads: int = 0  # of the CPU; 0: torch's choice

    def problems(self) -> list[str]:
        counts = "side", "vocabulary", "width", "depth", "heads", "inner", "context", "steps", "pictures"
        more = "save_every", "log_every", "dev_every", "compared", "captions", "levels", "repeats"
        wrong = [f"{name} {getattr(self, name)} is below 1" for name in (*counts, *more) if getattr(self, name) < 1]
        least = "pairs", "threads", "dev_pictures", "warmup"
        wrong += [f"{name} {getattr(self, name)} is below 0" for name in least if getattr(self, name) < 0]
        shares = "across", "drop", "dev_share", "fall"
        outside = [name for name in shares if not 0 <= getattr(self, name) < 1]
        wrong += [f"{name} {getattr(self, name)} is not in [0, 1)" for name in outside]
        wrong += [f"side {self.side} is no multiple of 16"] if self.side % 16 else []
        if self.heads > 0 and self.width % (2 * self.heads):
            wrong.append(f"width {self.width} is no multiple of twice {self.heads} heads")
        wrong += [] if self.layers else ["no layer of the tower"]
        if self.precision not in ("bf16", "fp32"):
            wrong.append(f"precision {self.precision!r} is neither bf16 nor fp32")
        return wrong

    def __post_init__(self) -> None:
        for field in fields(self):  # from JSON
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        if wrong := self.problems():
            raise BeholderError("; ".join(wrong), "other settings", "See `beholder align critic mini --help`.")

    def learnt(self) -> dict[str, Any]:
        """The settings that a run may not change on its way."""
        free = (*FREE, "embeddings", "conversations")  # what they hold counts, not where it lies
        found = {name: value for name, value in asdict(self).items() if name not in free}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def with_settings(cls, given: Mapping[str, Any], changes: tuple[str, ...]) -> MiniConfig:
        """`changes`: NAME=VALUE of numbers and words that have no option of their own. Raises BeholderError."""
        simple = [field for field in fields(cls) if isinstance(field.default, int | float | str)]
        kinds = {field.name: type(field.default) for field in simple}
        found = dict(given)
        for change in changes:
            name, _, value = change.partition("=")
            if name == "layers":
                found[name] = tuple(_number(name, part, int) for part in value.split(","))
            elif name in kinds:
                found[name] = _truth(name, value) if kinds[name] is bool else _number(name, value, kinds[name])
            else:
                raise BeholderError(f"there is no setting {name!r}", ", ".join((*kinds, "layers")), "Check --set.")
        return cls(**found)


def _truth(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BeholderError(f"{name}={value}", "true or false", "Check --set.")
    return value == "true"


def _number(name: str, value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise BeholderError(f"{name}={value}", f"a value of kind {kind.__name__}", "Check --set.") from error
