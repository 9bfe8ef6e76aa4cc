"""A training run's state on disk: written aside and renamed, so that a kill leaves the old one or the new
one.
"""

from pathlib import Path
from typing import Any

from indexes.errors import FormatError
from indexes.records.manifest import publish

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    import torch

    temporary = folder / f".{CHECKPOINT}.tmp"
    torch.save(state, temporary)
    publish(temporary, folder / CHECKPOINT)


def read_checkpoint(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The last state, or None where there is none. Raises FormatError for a run of other settings."""
    import torch

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    changed = sorted(key for key in settings if state["settings"].get(key) != settings[key])
    if changed:
        raise FormatError(
            f"{folder} was begun with another {', '.join(changed)}",
            "the same settings",
            "Use another folder.",
        )
    return state
