"""CHECKPOINT folders: tuned encoders that say what they were tuned from; partial ones, which hold what changed alone.

A full CHECKPOINT is an open_clip folder and loads as one. A partial one holds the tensors that differ from its base's,
and names the base by fingerprint: it is loaded by loading the base and putting them in
(`rl/alignment/checkpoint_folder.py` writes both).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import MANIFEST, FileRecord, check_file, read_kind, read_manifest, sha256_file

if TYPE_CHECKING:
    from .encoder import Encoder

CHECKPOINT, FORMAT = "beholder-checkpoint", 1
NEEDED = ("partial", "base", "weights", "image_fingerprint", "text_fingerprint")


def read_checkpoint_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a CHECKPOINT, None for a plain open_clip folder. Raises FormatError for a damaged one."""
    if not (folder / MANIFEST).is_file() or read_kind(folder, CHECKPOINT) != CHECKPOINT:
        return None
    content = read_manifest(folder, CHECKPOINT, FORMAT)
    missing = [
        name for name in ("partial", "base", "weights", "image_fingerprint", "text_fingerprint") if name not in content
    ]
    if missing:
        raise FormatError(f"{folder / MANIFEST} has no {', '.join(missing)}", "a whole manifest", "Make it again.")
    return content


def is_partial(folder: Path) -> bool:
    content = read_checkpoint_manifest(folder)
    return bool(content and content["partial"])


def load_partial(name: str, folder: Path, device: str, bases: Path, load: Callable[[str, str], "Encoder"]) -> "Encoder":
    """The encoder of a partial CHECKPOINT: its base, found by name or among the models of `bases` by the sha256 of its
    weights, with the changed tensors put in.

    Raises FormatError for damaged weights and for tensors that do not fit, BeholderError where the base is not found.
    """
    from safetensors.torch import load_file

    changed = changed_weights(folder)
    encoder = load(base_name(folder, bases), device)
    state = load_file(changed)
    mine = encoder.model.state_dict()
    strange = [key for key, value in state.items() if key not in mine or mine[key].shape != value.shape]
    if strange:
        raise FormatError(f"{folder} holds {strange[0]}", f"tensors of {encoder.name}", "Make the checkpoint again.")
    encoder.model.load_state_dict(state, strict=False)
    return type(encoder)(name, encoder.model, encoder.tokenizer, encoder.preprocessing, device)


def changed_weights(folder: Path) -> Path:
    """The file of a partial CHECKPOINT's tensors. Raises FormatError where it is not what was written."""
    record = FileRecord(**_manifest(folder)["weights"])
    check_file(folder, record)
    return folder / record.path


def _manifest(folder: Path) -> dict[str, Any]:
    content = read_checkpoint_manifest(folder)
    if content is None:
        raise FormatError(f"{folder} is no CHECKPOINT", CHECKPOINT, "Check the path.")
    return content


def base_name(folder: Path, bases: Path) -> str:
    """A folder or a name under which the base of a partial CHECKPOINT is loaded. Raises BeholderError where its weights
    are neither in the box nor beside the checkpoint."""
    base = _manifest(folder)["base"]
    wanted = base["weights_sha256"]
    if not wanted:
        return str(base["name"])  # of a hub, or of open_clip
    near = [bases / base["name"], folder / base.get("path", "."), folder.parent / base["name"]]
    others = sorted(path.parent for path in bases.glob("*/open_clip_config.json"))
    for candidate in dict.fromkeys([*near, *others]):
        if (candidate / "open_clip_config.json").is_file() and not is_partial(candidate):
            file = weights_file(candidate)
            if file.is_file() and sha256_file(file) == wanted:
                return str(candidate)
    raise BeholderError(
        f"the base of {folder}, {base['name']} (weights {wanted[:12]}), is not here",
        "the encoder that it was tuned from, in the box or beside the checkpoint",
        f"Put its folder beside {folder}, or make a full checkpoint.",
    )


def weights_file(folder: Path) -> Path:
    """The weights of an open_clip folder."""
    usual = folder / "open_clip_model.safetensors"
    if usual.is_file():
        return usual
    return next((file for kind in ("*.safetensors", "*.bin", "*.pt") for file in sorted(folder.glob(kind))), usual)
