"""Writing a CHECKPOINT: an open_clip folder that says what it was tuned from, how, and what was won and lost.

Reading is retrieval/encoding/checkpoints.py's; a full one is an open_clip folder like any other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.records.manifest import publish, record_file, sha256_file, write_json_atomic, write_manifest
from indexes.records.shards import EncoderRecord
from retrieval.encoding.checkpoints import CHECKPOINT, FORMAT, weights_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import MODELS, find_folder
from rl.pretraining.model_folder import WEIGHTS

from .config import AlignConfig
from .interpolate import between

if TYPE_CHECKING:
    from torch import Tensor

PLACES = ("preferences", "dev_preferences", "pictures", "captions", "dev_source", "base", "device", "threads")


def write_checkpoint_folder(
    folder: Path,
    encoder: Encoder,
    base_state: Mapping[str, Tensor],
    tuned_state: Mapping[str, Tensor],
    alpha: float,
    config: AlignConfig,
    base_record: EncoderRecord,
    before: Mapping[str, float],
    after: Mapping[str, float],
    step: int,
) -> None:
    """Writes the weights at `alpha`, in fp16: all of them, or (config.partial) those that differ from the base's.

    `encoder` is the base as loaded; its model is left with the weights that were written. The manifest comes last: a
    kill before it leaves no CHECKPOINT that could be taken for a finished one.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    state = between(base_state, tuned_state, alpha)
    encoder.model.load_state_dict(state)
    changed = sorted(name for name, value in state.items() if not value.equal(base_state[name]))
    source = find_folder(config.base)
    if not config.partial:
        _copy_layout(folder, encoder, source)
    kept = changed if config.partial else list(state)
    stored = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
        if name in set(kept)
    }
    temporary = folder / f".{WEIGHTS}.tmp"
    save_file(stored, temporary)
    publish(temporary, folder / WEIGHTS)

    made = Encoder(str(folder), encoder.model, encoder.tokenizer, encoder.preprocessing, config.device).record
    record = {name: value for name, value in config.to_dict().items() if name not in PLACES}
    base: dict[str, Any] = {
        "name": config.base if source is None or source.parent == MODELS else source.name,
        "image_fingerprint": base_record.image_fingerprint,
        "text_fingerprint": base_record.text_fingerprint,
        "weights_sha256": sha256_file(weights_file(source)) if source is not None else "",
    }
    if source is not None and source.parent != MODELS:
        base["path"] = os.path.relpath(source.resolve(), folder.resolve())
    write_manifest(
        folder,
        CHECKPOINT,
        FORMAT,
        {
            "partial": config.partial,
            "base": base,
            "image_fingerprint": made.image_fingerprint,
            "text_fingerprint": made.text_fingerprint,
            "towers": sorted({"image" if name.startswith("visual.") else "text" for name in changed}),
            "weights": record_file(folder, WEIGHTS).__dict__,
            "recipe": {**record, "alpha": alpha, "step": step},
            "data": fingerprints(config),
            "metrics": {"before": dict(before), "after": dict(after)},
        },
    )
    shutil.copymode(folder / "manifest.json", folder / WEIGHTS)  # safetensors lets the owner alone read


def fingerprints(config: AlignConfig) -> dict[str, Any]:
    """sha256 of the tables and of the picture folders' manifests, by the file's own name."""
    found = {}
    for name in (config.preferences, config.dev_preferences):
        if name:
            found[Path(name).name] = sha256_file(Path(name))
    for name in config.pictures:
        found[Path(name).name] = sha256_file(Path(name) / "manifest.json")
    return {"files": found, "captions": [Path(source).name for source in (*config.captions, config.dev_source)]}


def _copy_layout(folder: Path, encoder: Encoder, source: Path | None) -> None:
    """Config and tokenizer files: the base folder's, or as open_clip knows an architecture by name."""
    if source is not None:
        for file in sorted(source.iterdir()):
            if file.suffix in (".json", ".txt") and file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        return
    import open_clip

    name = encoder.name.partition(":")[0] if not encoder.name.startswith("hf-hub:") else encoder.name
    if name.startswith("hf-hub:"):
        from open_clip.factory import _get_hf_config

        content = _get_hf_config(name.removeprefix("hf-hub:"))
    else:
        content = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": encoder.model.visual.preprocess_cfg}
    tokenizer = getattr(encoder.tokenizer, "tokenizer", None)
    if tokenizer is not None and hasattr(tokenizer, "save_pretrained"):
        tokenizer.save_pretrained(str(folder))
    write_json_atomic(folder / "open_clip_config.json", json.loads(json.dumps(content)))
