"""Cheap changes to a picture, and how far each moves it among the others: by hand, and limits."""

import numpy as np
import pytest
from PIL import Image

from rl.experiments.hacking import lifts
from rl.experiments.hacking_changes import CHANGES, lifted


@pytest.fixture
def picture() -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(60, 200, (90, 120, 3)).astype(np.uint8))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_keeps_the_size_and_changes_the_picture(change: str, picture: Image.Image) -> None:
    found = CHANGES[change](picture)
    assert (found.size, found.mode) == (picture.size, "RGB")
    assert np.asarray(found).tobytes() != np.asarray(picture).tobytes()


def test_a_border_covers_the_edge_and_leaves_the_middle(picture: Image.Image) -> None:
    found = np.asarray(CHANGES["white border"](picture))
    assert (found[:7] == 255).all()
    assert (found[:, -7:] == 255).all()
    np.testing.assert_array_equal(found[7:-7, 7:-7], np.asarray(picture)[7:-7, 7:-7])


def test_blur_takes_detail_and_colour_doubled_adds_colour(picture: Image.Image) -> None:
    def spread(one: Image.Image) -> float:
        return float(np.ptp(np.asarray(one).astype(float), axis=2).mean())

    assert np.asarray(CHANGES["blur"](picture)).std() < np.asarray(picture).std()
    assert spread(CHANGES["colour doubled"](picture)) > spread(picture)


def test_a_lift_is_counted_among_the_pictures_as_they_are() -> None:
    before = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    # 1 passes 2, 3 and 4; 2 stays; 3 falls below all; 4 ties with 5; 5 rises above where it was first
    after = np.array([4.5, 2.0, 0.0, 5.0, 9.0])
    np.testing.assert_allclose(lifted(before, after), [3 / 4, 0, -2 / 4, 0.5 / 4, 0])


def test_nothing_changed_lifts_nothing_even_among_ties() -> None:
    before = np.array([1.0, 1.0, 1.0, 2.0])
    np.testing.assert_array_equal(lifted(before, before), np.zeros(4))


def test_a_pictures_own_query_is_left_out() -> None:
    before, after = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[1, 1, 2]]
    queries = np.eye(3, dtype=np.float32)
    all_of_them = lifts(queries, before, after)
    without = lifts(queries, before, after, ~np.eye(3, dtype=bool))
    assert all_of_them[0] != without[0]  # picture 0 fell for its own query
    assert without[1] == without[2] == 0
