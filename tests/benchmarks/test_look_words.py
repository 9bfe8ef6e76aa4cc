"""Protects `bench look`: the second formulas by hand, the table's own claims, and rows that are known beforehand."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.taste import look_attributes
from benchmarks.taste.look import Gallery, Look, LookConfig, counts, look_of, measure, numbers_of, signs
from benchmarks.taste.look_measures import (
    LOG_FLOOR,
    MEASURES,
    colour_area,
    inverse_temperature,
    jpeg_bytes,
    log_luminance,
    measures,
    relative_chroma,
    tonal_width,
)
from benchmarks.taste.look_words import (
    ATTRIBUTES,
    COLUMNS,
    TRAINED,
    UNSEEN,
    LookWord,
    look_words,
    names_subject,
    stems_of,
)
from benchmarks.taste.score_cache import ScoreCache
from indexes.errors import BeholderError, FormatError


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


def test_every_attribute_has_a_second_formula_in_the_same_order() -> None:
    assert tuple(MEASURES) == ATTRIBUTES


def test_measures_of_plain_pictures_are_those_worked_out_by_hand():
    black, white, grey = plain((0, 0, 0)), plain((255, 255, 255)), plain((128, 128, 128))
    assert log_luminance(black) == pytest.approx(np.log(LOG_FLOOR))
    assert log_luminance(white) == pytest.approx(0, abs=2e-3)
    half = np.concatenate([black, white])
    assert log_luminance(half) == pytest.approx(np.log(LOG_FLOOR) / 2, abs=2e-3)
    assert (tonal_width(grey), tonal_width(half)) == (0, 1)
    assert relative_chroma(black) == 0
    assert relative_chroma(grey) == pytest.approx(0, abs=1e-3)
    # sRGB red is L* 53.24, a* 80.09, b* 67.20 (any CIE calculator): chroma 104.55, over its length 117.33
    assert relative_chroma(plain((255, 0, 0))) == pytest.approx(104.55 / 117.33, abs=1e-3)
    assert colour_area(grey) == colour_area(plain((255, 0, 0))) == 1
    assert colour_area(np.concatenate([plain((255, 0, 0)), plain((0, 255, 0)), plain((0, 0, 255))])) == 3
    assert inverse_temperature(grey) == pytest.approx(1e6 / 6504, rel=2e-3), "D65 is 6504 K"
    assert inverse_temperature(black) == pytest.approx(inverse_temperature(white))


def test_warm_colours_are_warmer_than_cool_ones_and_noise_costs_more_bytes_than_a_plain_picture():
    orange, blue = plain((255, 180, 100)), plain((150, 180, 255))
    assert inverse_temperature(orange) > inverse_temperature(plain((200, 200, 200))) > inverse_temperature(blue)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert jpeg_bytes(noise) > 5 * jpeg_bytes(plain((90, 90, 90), (256, 256)))


def test_a_few_stray_pixels_add_no_colour():
    picture = plain((128, 128, 128), (100, 100))
    picture[0, :4] = (255, 0, 0)
    assert colour_area(picture) == 1
    picture[0, :5] = (255, 0, 0)
    assert colour_area(picture) == 2


def test_measures_hold_the_attributes_in_order_and_shrink_first():
    large = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(large).resize((256, 256), Image.Resampling.BOX))
    np.testing.assert_array_equal(measures(large), measures(small))
    assert measures(small)[0] == log_luminance(small)
    assert list(MEASURES) == ["brightness", "contrast", "saturation", "colourfulness", "warmth", "complexity"]


def test_the_table_in_the_box_holds_what_was_promised():
    words = look_words()
    assert len(words) >= 60
    for attribute in MEASURES:
        for sign in (1, -1):
            mine = [word for word in words if (word.attribute, word.sign) == (attribute, sign)]
            assert sum(word.split == TRAINED for word in mine) == 4
            assert sum(word.split == UNSEEN for word in mine) == 2
    assert {word.word for word in words} >= {"moody", "festive", "minimalist", "cluttered"}


def lines(*changes: tuple[str, str]) -> str:
    row = {
        "word": "moody",
        "query": "moody forest",
        "subject": "forest|woods",
        "attribute": "brightness",
        "direction": "-",
        "teacher": "brightness- saturation-",
        "split": "trained",
        "reason": "low key",
    }
    row.update(changes)
    return "\t".join(COLUMNS) + "\n" + "\t".join(row[column] for column in COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("attribute", "beauty", "attribute 'beauty'"),
        ("direction", "down", "direction 'down'"),
        ("split", "val", "split 'val'"),
        ("query", "a moody forest", "query 'a moody forest'"),
        ("teacher", "saturation-", "teacher 'saturation-'"),
        ("teacher", "brightness- shine+", "'shine\\+' in teacher"),
        ("reason", " ", "no reason"),
    ],
)
def test_a_wrong_cell_is_told_with_its_word(tmp_path, column, value, message):
    path = tmp_path / "words.tsv"
    path.write_text(lines((column, value)))
    with pytest.raises(
        FormatError, match=f"words.tsv: 'moody' has (an? |the |){message}" if value.strip() else "no reason"
    ):
        look_words(path)


def test_a_word_twice_and_a_table_without_words_are_refused(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text(lines() + lines().split("\n")[1] + "\n")
    with pytest.raises(FormatError, match="twice"):
        look_words(path)
    path.write_text("\t".join(COLUMNS) + "\n")
    with pytest.raises(FormatError, match="no words"):
        look_words(path)


def word(attribute: str, sign: int, split: str = TRAINED, **more) -> LookWord:
    return LookWord("w", "w dog", more.get("subjects", ("dog",)), attribute, sign, ((attribute, sign),), split, "")


def test_a_look_is_the_mean_percentile_in_the_words_direction_and_the_share_with_the_subject():
    shares = np.zeros((4, 6))
    shares[:, 0] = [0.1, 0.3, 0.6, 0.9]
    gallery = Gallery(shares, (stems_of(["Two dogs run"]), stems_of(["a cat"]), stems_of(["A DOG ."]), set()))
    top = np.array([[0, 1], [0, 1]])
    found = look_of(top, [word("brightness", 1), word("brightness", -1)], gallery)
    np.testing.assert_allclose(found.percentile, [0.2, 0.8])
    np.testing.assert_allclose(found.subject, [0.5, 0.5])
    either = word("brightness", 1, subjects=("dog", "cats"))
    assert look_of(top[:1], [either], gallery).subject == [1.0]
    assert not names_subject(word("warmth", 1, subjects=("do",)), gallery.stems[0]), "words, not parts of them"


def test_signs_are_the_teachers():
    two = LookWord("moody", "", (), "brightness", -1, (("brightness", -1), ("saturation", -1)), TRAINED, "")
    np.testing.assert_array_equal(signs([two, word("complexity", 1)]), [[-1, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 1]])


def test_a_row_that_loses_more_than_five_points_of_its_subject_does_not_count():
    base = Look(np.full(20, 0.5), np.full(20, 0.5))
    assert counts(Look(base.percentile, np.full(20, 0.45)), base)
    assert not counts(Look(base.percentile, np.full(20, 0.44)), base)


def test_gains_are_paired_with_the_base_and_split_by_words():
    rng = np.random.default_rng(0)
    words = [word("warmth", 1), word("warmth", 1, UNSEEN)] * 10
    base = Look(rng.random(20), rng.random(20))
    better = Look(base.percentile + np.tile([0.1, 0.2], 10), base.subject)
    numbers = numbers_of({"base": base, "other": better}, words, 0)
    assert numbers["other, all words: gain"].value == pytest.approx(0.15)
    assert numbers["other, trained words: gain"].low == pytest.approx(0.1), "the spread of queries cancels"
    assert numbers["other, unseen words: gain"].value == pytest.approx(0.2)
    assert numbers["other, all words: change of subject"].value == 0
    assert numbers["other, warmth: gain"].n == 20
    assert "base, all words: gain" not in numbers
    assert "other, contrast: gain" not in numbers


@pytest.mark.parametrize(
    ("options", "message"),
    [({"only": "val"}, "--only val"), ({"beauty": (-1.0,)}, "bring the signs"), ({"beauty": (float("nan"),)}, "nan")],
)
def test_wrong_options_are_told(tmp_path, options, message):
    with pytest.raises(BeholderError, match=message):
        LookConfig(tmp_path / "captions.tsv", **options)


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    """24 grey pictures of growing brightness, all of a dog, and a table of one word."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = []
    for number in range(24):
        name = f"{number:02d}.png"
        Image.fromarray(plain((10 * number,) * 3, (40, 40))).save(tmp_path / name)
        names.append(name)
    (tmp_path / "captions.tsv").write_text(
        "image\tcaption\tsplit\n" + "".join(f"{name}\ta dog\tval\n" for name in names)
    )
    (tmp_path / "words.tsv").write_text(lines(("query", "moody dog"), ("subject", "dog"), ("teacher", "brightness-")))
    return tmp_path


def test_a_strong_teacher_finds_the_darkest_pictures_of_a_gallery(gallery, tiny_model):
    path = gallery / "captions.tsv"
    config = LookConfig(
        path, words=gallery / "words.tsv", base=str(tiny_model), model=(str(tiny_model),), beauty=(1e6,)
    )
    with pytest.raises(BeholderError, match="two rows are named"):
        measure(LookConfig(path, words=gallery / "words.tsv", base=str(tiny_model), model=(str(tiny_model),) * 2))
    numbers = measure(config).numbers
    # the darkest 10 of 24 have percentiles (rank - 1/2) / 24 of 0.5/24 to 9.5/24, mean 5/24
    assert numbers["teacher, b = 1e+06, all words: percentile"].value == pytest.approx(1 - 5 / 24)
    assert numbers["teacher, b = 1e+06, all words: subject"].value == 1
    assert numbers["tiny, all words: gain"].value == 0, "the base again"


def test_too_few_pictures_are_told(corpus, tiny_model):
    config = LookConfig(corpus / "captions.tsv", splits=corpus / "splits.tsv", base=str(tiny_model))
    with pytest.raises(BeholderError, match="9 pictures"):
        measure(config)


def test_attributes_are_measured_once_for_a_picture_whatever_it_is_called(gallery, tiny_model, monkeypatch):
    def measured(**more):
        path = gallery / "captions.tsv"
        return measure(LookConfig(path, words=gallery / "words.tsv", base=str(tiny_model), **more)).numbers

    plain_run, cached = measured(cache="none"), measured()
    assert plain_run == cached
    assert not (gallery / "none").exists()
    assert len(list((gallery / "cache" / "beholder" / "scores").glob("second-*.parquet"))) == 6
    seen = []
    real = look_attributes.measures
    monkeypatch.setattr(look_attributes, "measures", lambda picture: seen.append(picture.shape) or real(picture))
    assert measured() == cached
    assert seen == [(64, 64, 3)], "the probe alone"
    (gallery / "00.png").rename(gallery / "24.png")
    Image.fromarray(plain((7, 70, 7), (30, 30))).save(gallery / "00.png")
    table = (gallery / "captions.tsv").read_text()
    (gallery / "captions.tsv").write_text(table + "24.png\ta dog\tval\n")
    assert measured() != cached
    assert seen[2:] == [(30, 30, 3)], "the probe again, and the new picture; the renamed one is known"


def test_another_formula_finds_nothing_kept(monkeypatch):
    before = look_attributes.second_fingerprint()
    monkeypatch.setattr("benchmarks.taste.look_measures.JPEG_QUALITY", 80)
    assert look_attributes.second_fingerprint() != before


def test_a_damaged_cache_is_told_with_its_file(tmp_path):
    cache = ScoreCache(tmp_path)
    cache.keep("warmth", "f" * 64, {}, {"a" * 64: 1.5})
    cache.keep("warmth", "f" * 64, {}, {"b" * 64: 2.5})
    assert cache.known("warmth", "f" * 64) == {"a" * 64: 1.5, "b" * 64: 2.5}
    assert cache.known("warmth", "e" * 64) == ScoreCache(None).known("warmth", "f" * 64) == {}
    next(tmp_path.glob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="warmth-ffff"):
        cache.known("warmth", "f" * 64)
