"""A tiny model and tiny pictures, made once for all training tests."""

from pathlib import Path

import pytest
from tiny import make_folder, make_pictures


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("tiny") / "pictures")


@pytest.fixture(scope="session")
def make_other_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with another image tower."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(tiny_model, folder)
    state = load_file(folder / "open_clip_model.safetensors")
    name = next(name for name in sorted(state) if name.startswith("visual.") and state[name].ndim == 2)
    state[name] = state[name] + 1
    save_file(state, folder / "open_clip_model.safetensors")
    return folder
