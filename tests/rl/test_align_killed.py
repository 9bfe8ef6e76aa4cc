"""A run that is killed at the worst moments, or finds the disk full, loses nothing: run again, it ends with the same
bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
from align_tiny import make_run
from dying import MOMENTS, run_until, run_with_room

from indexes.errors import BeholderError
from rl.alignment.align import align
from rl.alignment.config import AlignConfig
from rl.disk import is_full, new_array, room_needed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_captions: Path) -> tuple[AlignConfig, Path]:
    """A configuration that caches, anchors and draws, and the folder of a run that was left in peace."""
    folder = tmp_path_factory.mktemp("killed")
    config = make_run(folder, tiny_model, tiny_captions, steps=9, tower_dropout=True, anchor_weight=1.0, alphas=(1.0,))
    config = replace(config, evaluate_every=3)
    align(config, folder / "whole")
    return config, folder / "whole"


def same(run: Path, other: Path) -> bool:
    files = ["evaluations.json", "report.json", "model/open_clip_model.safetensors", "model/manifest.json"]
    return all((run / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(whole: tuple[AlignConfig, Path], tmp_path: Path) -> None:
    config, left_in_peace = whole
    assert [run_until(moment, config, left_in_peace.parent / "again") for moment in MOMENTS] == [-9] * len(MOMENTS)
    assert run_until("", config, left_in_peace.parent / "again") == 0
    assert same(left_in_peace, left_in_peace.parent / "again")


def test_a_full_disk_is_one_line_wherever_it_is_met(whole: tuple[AlignConfig, Path]) -> None:
    """Files of 1 kB, 4 kB and so on: settings, caches, weights, checkpoints and the model fail in turn."""
    config, left_in_peace = whole
    run, said = left_in_peace.parent / "cramped", []
    for most in (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20):
        said.append(run_with_room(most, config, run))
    assert all("\n" not in line and ("run again" in line or not line) for line in said)
    assert sum(bool(line) for line in said) >= 3
    assert run_with_room(1 << 30, config, run) == ""
    assert same(left_in_peace, run)


def test_only_errors_of_room_are_told_as_such(tmp_path: Path) -> None:
    assert is_full(OSError(28, "No space left on device"))
    assert is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_full(OSError(13, "Permission denied"))
    with pytest.raises(BeholderError, match=r"the disk is full \(f\): .*; expected room"), room_needed("Make room."):
        raise OSError(28, "No space left on device", "f")
    with pytest.raises(PermissionError), room_needed("Make room."):
        raise OSError(13, "Permission denied")


def test_an_array_takes_its_room_at_once(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", "float16", (100, 50))
    array[:] = 3
    stat = (tmp_path / "a.npy").stat()
    assert stat.st_size >= 100 * 50 * 2
    assert stat.st_blocks * 512 >= stat.st_size
