"""A source's labels are told apart among their own: which pictures a part holds, and that nothing else enters it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from indexes.errors import BeholderError
from rl.losses import contrastive_loss
from rl.pretraining.batches import Batch, draw_batch
from rl.pretraining.config import RECIPES, PretrainConfig
from rl.pretraining.pretrain import pretrain
from rl.pretraining.within import Part, add_sources, loss_of_parts

COUNTS = [5, 7, 4]
CAPTIONS = [[2 * picture, 2 * picture + 1] for picture in range(sum(COUNTS))]
CONFIG = PretrainConfig(sources=("a", "b*0.5", "c"), head_within=("c*0.2", "b*0.5"), within_batch=5)


def draw(step: int, world: int = 1) -> tuple[Batch, Batch, list[Part]]:
    batch = draw_batch(
        CAPTIONS, step, counts=COUNTS, shares=[1.0, 0.5, 1.0], batch=6, captions=3, mixing=0.3, min_crop_area=1.0,
        flip=False, seed=0, stage=1,
    )  # fmt: skip
    more, parts = add_sources(batch, step, CONFIG, captions_of=CAPTIONS, counts=COUNTS, world=world, stage=1)
    return batch, more, parts


def test_a_part_is_of_one_source_without_repeats_and_its_caption_is_the_pictures_own() -> None:
    batch, more, parts = draw(0)
    assert [(rows.start, rows.stop, weight) for rows, weight in parts] == [(0, 6, 1.0), (6, 10, 0.2), (10, 15, 0.5)]
    np.testing.assert_array_equal(more.pictures[:6], batch.pictures)
    np.testing.assert_array_equal(more.weights[:6], batch.weights)
    assert sorted(more.pictures[6:10]) == [12, 13, 14, 15]  # all of c, which is smaller than within_batch
    assert set(more.pictures[10:]) <= set(range(5, 12))
    assert len(set(more.pictures[10:])) == 5
    np.testing.assert_array_equal(more.captions[6:, 0] // 2, more.pictures[6:])
    np.testing.assert_array_equal(more.weights[6:], [[1, 0, 0]] * 9)


def test_a_step_drawn_again_is_the_same_the_next_is_another_and_processes_share_evenly() -> None:
    assert np.array_equal(draw(3)[1].pictures, draw(3)[1].pictures)
    assert not np.array_equal(draw(3)[1].captions, draw(4)[1].captions)
    assert [rows.stop - rows.start for rows, _ in draw(0, world=2)[2]] == [6, 4, 4]


def test_the_loss_is_the_weighted_sum_of_losses_that_see_their_own_rows_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(10, 4, generator=generator), dim=1) for _ in range(2))
    keys, scale = torch.tensor([0, 1, 2, 3, 4, 5, 7, 7, 8, 8]), torch.tensor(9.0)
    first, second = slice(0, 6), slice(6, 10)
    whole = loss_of_parts(images, texts, scale, keys, 0.1, [(first, 1.0), (second, 0.3)])
    alone = [contrastive_loss(images[rows], texts[rows], scale, keys[rows], 0.1) for rows in (first, second)]
    torch.testing.assert_close(whole, alone[0] + 0.3 * alone[1])
    assert not torch.isclose(whole, contrastive_loss(images, texts, scale, keys, 0.1))


@pytest.mark.parametrize(
    ("within", "told"), [("c*-1", "head_within c has no weight"), ("d*0.5", "head_within d is none of the sources")]
)
def test_a_source_that_is_not_there_and_a_weight_below_0_are_refused(within: str, told: str) -> None:
    with pytest.raises(BeholderError, match=told):
        replace(CONFIG, head_within=(within,))


def test_settings_survive_json_and_the_recipe_uses_them_in_its_last_stage_only() -> None:
    assert PretrainConfig.from_dict(CONFIG.to_dict()) == CONFIG
    recipe = RECIPES["beholder-mini"]
    assert recipe.head_within == ()
    assert {name for name, _ in recipe.within("last_head_within")} <= {name for name, _ in recipe.shares()}


def test_parts_move_the_heads_alone_and_a_run_made_again_is_the_same(
    tiny_model: Path, tiny_captions: Path, tmp_path: Path
) -> None:
    config = PretrainConfig(
        sources=(str(tiny_captions),), dev_source=str(tiny_captions), head_epochs=2, head_batch=8, head_captions=2,
        tune_epochs=0, threads=1,
    )  # fmt: skip
    weights = []
    for name, within in (("without", ()), ("with", (f"{tiny_captions}*0.5",)), ("again", (f"{tiny_captions}*0.5",))):
        pretrain(tiny_model, tmp_path, tmp_path / name, replace(config, head_within=within))
        weights.append(load_file(tmp_path / name / "model" / "open_clip_model.safetensors"))
    moved = {name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])}
    assert moved
    assert all(name.startswith(("visual.head.", "text.proj.", "logit_")) for name in moved)
    assert all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
