"""Pictures: what decoding makes of every mode a file may come in, what it refuses, and the fit to an encoder."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.sources.images import BadPicture, Preprocessing, decode, fit, list_pictures


def encoded(picture: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def test_exif_orientation_turns_the_picture_upright() -> None:
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste((255, 0, 0), (0, 0, 20, 20))  # red on the left; orientation 6 is shown turned right: red on top
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode(encoded(picture, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40)
    assert np.asarray(upright)[5, 10, 1] < 60
    assert np.asarray(upright)[35, 10, 1] > 200


def test_transparency_lies_over_white() -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(decode(encoded(picture, "PNG"))).min() == 255
    half = Image.new("LA", (4, 4), (0, 128))
    assert abs(int(np.asarray(decode(encoded(half, "PNG")))[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert np.asarray(decode(encoded(palette, "PNG", transparency=0))).min() == 255


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_colour_modes_become_rgb_of_the_same_grey(mode: str) -> None:
    grey = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    format = "PNG" if mode in ("L", "1", "P") else "JPEG"
    picture = decode(encoded(grey, format))
    assert picture.mode == "RGB"
    assert np.asarray(picture).min() >= 250


def test_sixteen_bits_keep_their_range() -> None:
    ramp = np.array([[0, 257 * 128, 65535]], np.uint16)
    values = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG")))[0, :, 0]
    assert values.tolist() == [0, 128, 255]


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(content))[0, 0].tolist() == [255, 0, 0]


def bomb(side: int) -> bytes:
    """A PNG whose header claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"this is a text that somebody named .jpg", "not a picture"),
        (encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")[:900], "truncated"),
        (bomb(60_000), "pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
    ],
)
def test_bad_files_are_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        decode(content)


def test_the_limit_on_pixels_holds_before_decoding() -> None:
    content = encoded(Image.new("RGB", (100, 100)), "PNG")
    assert decode(content, max_pixels=10_000).size == (100, 100)
    with pytest.raises(BadPicture, match="100 x 100 pixels"):
        decode(content, max_pixels=9_999)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(50, 31), (31, 50), (200, 64), (64, 64), (333, 517), (65, 64)])
def test_fit_gives_the_pixels_of_open_clips_transform(mode: str, interpolation: str, size: tuple[int, int]) -> None:
    from open_clip.transform import image_transform

    generator = np.random.default_rng(1)
    picture = Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8))
    transform = image_transform(64, False, (0, 0, 0), (1, 1, 1), mode, interpolation)
    expected = (transform(picture).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    preprocessing = Preprocessing(64, (0, 0, 0), (1, 1, 1), interpolation, mode)
    np.testing.assert_array_equal(fit(picture, preprocessing), expected)


def test_listing_is_sorted_and_follows_no_links_to_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found, rejected = list_pictures(tmp_path)
    assert found == ["a.png", "b.JPG", "sub/c.webp"]
    assert [name for name, _ in rejected] == ["gone.jpg", "pipe.jpg"]


def test_a_name_that_is_not_utf8_is_rejected_and_printable(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))).write_bytes(b"x")
    found, rejected = list_pictures(tmp_path)
    assert found == []
    assert rejected[0][1] == "name is not UTF-8"
    rejected[0][0].encode("utf-8")
