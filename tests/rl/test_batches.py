"""Steps are drawn from numbers alone: each epoch uses every picture once, and a step is the same when drawn again."""

import numpy as np
import torch

from rl.dev import hit_rates
from rl.pixels import crop
from rl.pretraining.batches import Batch, draw_batch, epoch_order, steps_per_epoch

CAPTIONS = [[0, 1, 2], [3], [4, 5], [6, 7, 8, 9], [10], [11]]


def draw(step: int, seed: int = 0) -> Batch:
    settings = {"mixing": 0.3, "min_crop_area": 0.5, "flip": True, "counts": [6], "shares": [1.0]}
    return draw_batch(CAPTIONS, step, batch=2, captions=2, seed=seed, stage=1, **settings)  # type: ignore[arg-type]


def test_an_epoch_uses_every_picture_once_and_the_next_has_another_order() -> None:
    assert steps_per_epoch(6, 2) == 3
    orders = [np.concatenate([draw(step).pictures for step in range(at, at + 3)]).tolist() for at in (0, 3, 6)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_a_share_of_a_source_walks_through_all_of_it() -> None:
    orders = [epoch_order([3, 8], [1.0, 0.25], epoch, seed=0, stage=1).tolist() for epoch in range(4)]
    assert all(sorted(order)[:3] == [0, 1, 2] and len(order) == 5 for order in orders)
    assert sorted(picture for order in orders for picture in order if picture > 2) == list(range(3, 11))


def test_a_step_drawn_again_is_the_same_and_captions_belong_to_their_pictures() -> None:
    for step in range(6):
        batch, again = draw(step), draw(step)
        assert all(np.array_equal(getattr(batch, name), getattr(again, name)) for name in vars(batch))
        for picture, captions in zip(batch.pictures, batch.captions, strict=True):
            assert set(captions) <= set(CAPTIONS[picture])
        np.testing.assert_allclose(batch.weights.sum(1), 1, rtol=1e-5)


def test_the_whole_box_is_the_picture_and_flip_mirrors_it() -> None:
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 1, -1]], np.float32)
    whole, mirrored = crop(image, boxes)
    torch.testing.assert_close(whole, image[0])
    torch.testing.assert_close(mirrored, image[1].flip(-1))


def test_hit_rates_of_hand_made_ranks() -> None:
    # Own pictures rank 1st and 2nd; a tie counts against the caption.
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[0.9, 0.1, 0.0], [0.6, 0.5, 0.1]], np.float32)
    assert hit_rates(images, texts, np.array([0, 1]), (1, 2)) == {"hit_rate@1": 50.0, "hit_rate@2": 100.0}
    assert hit_rates(np.ones((3, 1), np.float32), np.ones((1, 1), np.float32), np.array([0]), (1,)) == {
        "hit_rate@1": 0.0
    }
