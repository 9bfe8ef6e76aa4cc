"""The formulas of look: known colours, hand-worked pictures, and what they must not notice."""

import numpy as np
import pytest

from retrieval.scoring import look
from retrieval.scoring.card import of_pixels
from retrieval.scoring.scorers import LOOK, load_scorer
from retrieval.sources.images import shrink


def flat(red: int, green: int, blue: int, side: int = 8) -> np.ndarray:
    return np.full((side, side, 3), (red, green, blue), np.uint8)


def noise(seed: int = 0, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


# CIE L*a*b* of the sRGB primaries, D65, as Lindbloom's calculator gives them (published to four digits).
@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.585, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(colour: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(look.lab(flat(*colour))[0, 0], expected, atol=0.02)


def test_brightness_is_the_mean_of_l() -> None:
    picture = noise()
    assert look.brightness(picture) == pytest.approx(look.lab(picture)[..., 0].mean(), abs=1e-9)


def test_contrast_of_half_black_half_white_is_one_half() -> None:
    picture = flat(0, 0, 0)
    picture[:4] = 255
    assert look.contrast(picture) == pytest.approx(0.5)
    assert look.contrast(flat(90, 90, 90)) == 0


def test_saturation_by_hand() -> None:
    # (200, 100, 50): (200 - 50) / 200 = .75; black and grey count as 0.
    picture = np.array([[(200, 100, 50), (0, 0, 0), (77, 77, 77), (255, 0, 0)]], np.uint8)
    assert look.saturation(picture) == pytest.approx((0.75 + 0 + 0 + 1) / 4)


def test_colourfulness_by_hand() -> None:
    # Half red, half blue. rg: 255 and 0, yb: 127.5 and -255: means 127.5 and -63.75, deviations 127.5 and 191.25.
    picture = flat(255, 0, 0)
    picture[:4] = (0, 0, 255)
    by_hand = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert look.colourfulness(picture) == pytest.approx(by_hand)
    assert look.colourfulness(flat(13, 13, 13)) == 0


def test_warmth_of_grey_is_the_formula_s_constant_and_red_is_warmer_than_blue() -> None:
    assert look.warmth(flat(120, 120, 120)) == pytest.approx(-0.5, abs=1e-3)
    # Red: C* 104.55, h 40.0 degrees: -0.5 + 0.02 * 104.55^1.07 * cos(-10 degrees)
    assert look.warmth(flat(255, 0, 0)) == pytest.approx(-0.5 + 0.02 * 104.55**1.07 * np.cos(np.deg2rad(10)), abs=0.01)
    assert look.warmth(flat(255, 120, 0)) > 0 > look.warmth(flat(0, 120, 255))


def test_sharpness_of_one_bright_pixel_by_hand() -> None:
    # 5 x 5 black with 100 in the middle: the inner 3 x 3 holds -400, four times 100 and four zeros; mean 0.
    picture = flat(0, 0, 0, side=5)
    picture[2, 2] = 100
    assert look.sharpness(picture) == pytest.approx((400**2 + 4 * 100**2) / 9)
    assert look.sharpness(flat(1, 2, 3, side=2)) == 0


@pytest.mark.parametrize("name", LOOK)
def test_every_score_of_look_lies_within_its_stated_range_at_the_extremes(name: str) -> None:
    corners = [flat(*(255 * (n >> bit & 1) for bit in range(3))) for n in range(8)]
    checkers = flat(0, 0, 0, side=16)
    checkers[(np.add.outer(np.arange(16), np.arange(16)) % 2) == 0] = 255
    halves = [np.concatenate([one, other]) for one in corners for other in corners]
    pictures = [*corners, checkers, *halves, flat(0, 160, 255), noise()]
    scorer = of_pixels([load_scorer(name)])[0]
    scores = scorer.score_pictures(pictures)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.min() >= scorer.card.low - 1e-3  # float32
    assert scores.max() <= scorer.card.high + 1e-3


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "colourfulness", "warmth"])
def test_where_colours_lie_does_not_matter(name: str) -> None:
    picture = noise()
    moved = np.random.default_rng(1).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    first, second = of_pixels([load_scorer(name)])[0].score_pictures([picture, moved])
    assert first == pytest.approx(second, abs=1e-4)


@pytest.mark.parametrize("name", LOOK)
def test_pictures_are_shrunk_to_the_stated_side_and_never_enlarged(name: str) -> None:
    scorer = of_pixels([load_scorer(name)])[0]
    side = scorer.card.max_side_px
    large, small = noise(shape=(2 * side, side)), noise(shape=(60, 40))
    assert shrink(large, side).shape == (side, side // 2, 3)
    assert shrink(small, side) is small
    # A reader may have shrunk a picture already: that must not change its score.
    assert scorer.score_pictures([large])[0] == scorer.score_pictures([shrink(large, side)])[0]


def test_no_side_shrinks_to_nothing() -> None:
    assert shrink(noise(shape=(4, 3000)), 256).shape == (1, 256, 3)
