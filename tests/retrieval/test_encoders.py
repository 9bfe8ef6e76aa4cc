"""Encoders: vectors equal open_clip's own, fingerprints tell towers apart, and nothing loads with random weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import BeholderError
from retrieval.encoding import encoders, light_text
from retrieval.encoding.encoder import Encoder, fingerprint
from retrieval.encoding.encoders import MODELS, load_encoder

BOX = MODELS / "beholder-mini"
TEXTS = [
    "a dog",
    "Two dogs running on the beach!",
    "café   Zürich &amp; l'étoile",
    "word " * 200,
    "ukiyo-e (1831)",
]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


def test_pictures_and_texts_get_open_clips_own_vectors(tiny: Encoder, tiny_model: Path) -> None:
    import open_clip
    import torch
    from PIL import Image

    from retrieval.sources.images import fit

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_model}", require_pretrained=True)
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_model}")(TEXTS)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 41, 3), dtype=np.uint8))
    with torch.no_grad():
        images = torch.nn.functional.normalize(model.encode_image(transform(picture)[None]), dim=-1)
        texts = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
    ours = tiny.encode_images(fit(picture, tiny.preprocessing)[None])
    np.testing.assert_allclose(ours, images.numpy(), atol=2e-6)
    np.testing.assert_allclose(tiny.encode_texts(TEXTS), texts.numpy(), atol=2e-6)


def test_rows_are_unit_and_no_texts_are_no_rows(tiny: Encoder) -> None:
    np.testing.assert_allclose(np.linalg.norm(tiny.encode_texts(TEXTS), axis=1), 1, atol=1e-6)
    assert tiny.encode_texts([]).shape == (0, tiny.width) == (0, 32)


def test_a_changed_weight_changes_only_its_towers_fingerprint(tiny_model: Path, tmp_path: Path, tiny: Encoder) -> None:
    import safetensors.torch

    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    state = safetensors.torch.load_file(other / "open_clip_model.safetensors")
    state["token_embedding.weight"][7, 7] += 1
    state["logit_scale"] += 1
    safetensors.torch.save_file(state, other / "open_clip_model.safetensors")
    record = load_encoder(str(other)).record
    assert record.image_fingerprint == tiny.record.image_fingerprint
    assert record.text_fingerprint != tiny.record.text_fingerprint


def test_preprocessing_is_part_of_the_image_fingerprint(tiny_model: Path, tmp_path: Path, tiny: Encoder) -> None:
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    config = json.loads((other / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["interpolation"] = "bilinear"
    (other / "open_clip_config.json").write_text(json.dumps(config))
    record = load_encoder(str(other)).record
    assert record.image_fingerprint != tiny.record.image_fingerprint
    assert record.text_fingerprint == tiny.record.text_fingerprint


def test_a_fingerprint_tells_name_shape_and_bytes_but_not_half_from_float() -> None:
    row = np.arange(6, dtype=np.float32)
    known = fingerprint({"a": row}, b"")
    assert fingerprint({"b": row}, b"") != known
    assert fingerprint({"a": row.reshape(2, 3)}, b"") != known
    assert fingerprint({"a": row + 1}, b"") != known
    assert fingerprint({"a": row}, b"x") != known
    assert fingerprint({"a": row.astype(np.float16)}, b"") == known


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-encoder", "there is no encoder"),
        ("./no/such/folder", "there is no folder"),
        ("ViT-B-32", "names no weights"),
        ("ViT-B-32-quickgelu:laion2b_s34b_b79k", "cannot be loaded"),
    ],
)
def test_wrong_names_get_one_line(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BeholderError, match=said) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_quickgelu_is_chosen_by_the_weights() -> None:
    assert encoders._quick_gelu("ViT-B-32", "openai")
    assert not encoders._quick_gelu("ViT-B-32-quickgelu", "openai")
    assert not encoders._quick_gelu("ViT-B-32", "laion2b_s34b_b79k")


def test_a_quickgelu_architecture_is_refused_for_weights_of_another_activation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import open_clip.pretrained

    monkeypatch.setattr(open_clip.pretrained, "get_pretrained_cfg", lambda *_: {"quick_gelu": False})
    with pytest.raises(BeholderError, match="uses QuickGELU"):
        encoders._quick_gelu("ViT-B-32-quickgelu", "somebody")


def test_a_folder_without_weights_is_refused_never_random(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_bytes((tiny_model / "open_clip_config.json").read_bytes())
    with pytest.raises(BeholderError, match="has no weights"):
        load_encoder(str(tmp_path))


def test_weights_of_another_shape_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    config = json.loads((other / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 64
    (other / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BeholderError, match="cannot be loaded"):
        load_encoder(str(other))


def test_the_box_model_loads_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder("beholder-mini")
    assert encoder.width == 512
    assert encoder.image_size == 224


def test_the_light_text_tower_equals_open_clips_and_has_its_fingerprints() -> None:
    assert light_text.fits(BOX)
    heavy, light = load_encoder("beholder-mini"), light_text.LightTextEncoder("beholder-mini", BOX)
    np.testing.assert_array_equal(light.tokenize(TEXTS), heavy.tokenize(TEXTS).numpy())
    np.testing.assert_allclose(light.encode_texts(TEXTS), heavy.encode_texts(TEXTS), atol=1e-5)
    assert light.record == heavy.record


def test_a_tower_of_another_kind_is_left_to_open_clip(tiny_model: Path) -> None:
    assert not light_text.fits(tiny_model)
