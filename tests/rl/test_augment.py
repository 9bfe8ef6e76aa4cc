"""Pictures changed at random: by their own seeds, each kind as it says, and the reference sees what the policy sees."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from align_tiny import make_run
from safetensors.torch import load_file

from indexes.errors import BeholderError
from rl.alignment.align import align, prepare
from rl.alignment.augment import AUGMENTATIONS, augmented
from rl.alignment.batches import Plan
from rl.alignment.config import AlignConfig


def gradient(size: int = 32) -> torch.Tensor:
    """uint8 (1, S, S, 3): no two columns alike, colours apart."""
    ramp = torch.linspace(0, 200, size).to(torch.uint8)
    return torch.stack([ramp.expand(size, size), ramp.flip(0).expand(size, size), ramp.expand(size, size).T], -1)[None]


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_each_kind_changes_pictures_by_their_seed_alone(kind: str) -> None:
    pictures, before = gradient().repeat(6, 1, 1, 1), torch.random.get_rng_state()
    seeds = [(0, place) for place in range(6)]
    made = augmented(pictures, [kind], seeds)
    assert torch.random.get_rng_state().equal(before)
    assert made.shape == pictures.shape
    assert made.dtype == torch.uint8
    assert any(not one.equal(pictures[0]) for one in made)
    assert made[4:].equal(augmented(pictures[4:], [kind], seeds[4:]))  # whatever else is in the batch
    assert not made.equal(augmented(pictures, [kind], [(1, place) for place in range(6)]))


def test_what_each_kind_leaves_alone() -> None:
    """A crop of one colour is that colour; jitter keeps one colour one; erasing keeps most pixels, in place."""
    plain, seeds = torch.full((8, 32, 32, 3), 90, dtype=torch.uint8), [(3, place) for place in range(8)]
    assert augmented(plain, ["flip-crop"], seeds).equal(plain)
    jittered = augmented(plain, ["colour-jitter"], seeds)
    assert all(len(one.reshape(-1, 3).unique(dim=0)) == 1 for one in jittered)
    pictures = gradient().repeat(8, 1, 1, 1)
    same = (augmented(pictures, ["random-erase"], seeds) == pictures).all(-1).float().mean((1, 2))
    assert (same == 1).any()  # half of them
    assert (same < 1).any()
    assert (same > 0.7).all()


@pytest.fixture
def image_run(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> AlignConfig:
    kinds = ("flip-crop", "auto-augment", "colour-jitter", "random-erase")
    return make_run(tmp_path, tiny_model, tiny_captions, towers="both", augment=kinds, evaluate_every=2, steps=4)


def logged(run: Path) -> list[dict[str, float]]:
    import json

    history = json.loads((run / "checkpoint-4/trainer_state.json").read_text())["log_history"]
    return [line for line in history if "loss" in line]


def test_the_reference_sees_the_pictures_as_they_were_changed(tmp_path: Path, image_run: AlignConfig) -> None:
    """Policy = reference at the first step: log 2, and no distance to the anchor. The old logits would not give it."""
    align(replace(image_run, anchor_weight=1.0, logit_anchor_weight=1.0), tmp_path / "run")
    first = logged(tmp_path / "run")[0]
    assert first["loss/preference"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["loss/anchor"] == pytest.approx(0, abs=1e-5)
    assert first["loss/logit_anchor"] == pytest.approx(0, abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)


def test_micro_batches_and_interruptions_change_pictures_alike(tmp_path: Path, image_run: AlignConfig) -> None:
    plain = replace(image_run, contrastive_weight=0.0, captions=())
    align(plain, tmp_path / "one")
    align(replace(plain, accumulate=2), tmp_path / "two")

    class Interrupted(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("step 3/4: loss"):
            raise Interrupted

    with pytest.raises(Interrupted):
        align(plain, tmp_path / "cut", say=stop)
    align(plain, tmp_path / "cut")
    one, two, cut = (load_file(tmp_path / name / "checkpoint-4/trained.safetensors") for name in ("one", "two", "cut"))
    assert all(cut[name].equal(one[name]) for name in one)
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)


def test_a_picture_changes_from_step_to_step(tmp_path: Path, image_run: AlignConfig) -> None:
    ready = prepare(image_run, None, tmp_path / "cache", lambda line: None)
    plan = Plan(image_run, ready.data)
    first = ready.collator([plan[0]])["pictures"].numpy()
    number, beside, step = plan[0]
    again, later = (ready.collator([(number, beside, at)])["pictures"].numpy() for at in (step, step + 1))
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()


def test_augmentation_needs_pictures(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="no image tower that trains"):
        AlignConfig(augment=("flip-crop",))
    with pytest.raises(BeholderError, match="augment sparkle is not of flip-crop"):
        AlignConfig(towers="image", augment=("sparkle",))
