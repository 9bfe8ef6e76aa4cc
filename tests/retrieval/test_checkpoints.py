"""A partial CHECKPOINT of the model in the box: found by its base's weights, the same with and without torch."""

from pathlib import Path

import numpy as np
import pytest

from indexes.errors import FormatError
from indexes.records.manifest import record_file, sha256_file, write_manifest
from retrieval.encoding.checkpoints import CHECKPOINT, base_name, weights_file
from retrieval.encoding.encoders import MODELS, load_encoder
from retrieval.encoding.light_text import LightTextEncoder, fits
from retrieval.search.query_encoder import load_text_encoder

BOX = MODELS / "beholder-mini"
CHANGED = "text.proj.0.weight"
SAID = ["a quiet harbour at dawn", "tiny dots of pure colour"]


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """The text head of beholder-mini with another first layer, and nothing else."""
    from safetensors.numpy import load_file, save_file

    value = load_file(weights_file(BOX))[CHANGED]
    noise = np.random.default_rng(0).normal(0, 0.05, value.shape)
    save_file({CHANGED: (value + noise).astype(np.float16)}, tmp_path / "open_clip_model.safetensors")
    write_manifest(
        tmp_path,
        CHECKPOINT,
        1,
        {
            "partial": True,
            "base": {"name": "any", "weights_sha256": sha256_file(weights_file(BOX))},
            "weights": record_file(tmp_path, "open_clip_model.safetensors").__dict__,
            "image_fingerprint": "",
            "text_fingerprint": "",
        },
    )
    return tmp_path


def test_the_base_is_found_by_its_weights_whatever_it_was_called(partial: Path) -> None:
    assert base_name(partial, MODELS) == str(BOX)


def test_the_light_tower_takes_what_changed(partial: Path) -> None:
    assert fits(partial)
    light, heavy = LightTextEncoder(str(partial), partial), load_encoder(str(partial))
    np.testing.assert_allclose(light.encode_texts(SAID), heavy.encode_texts(SAID), atol=1e-5)
    assert light.record.text_fingerprint == heavy.record.text_fingerprint
    base = load_encoder("beholder-mini")
    assert np.abs(light.encode_texts(SAID) - base.encode_texts(SAID)).max() > 1e-3
    assert light.record.image_fingerprint == base.record.image_fingerprint
    assert light.record.text_fingerprint != base.record.text_fingerprint
    assert isinstance(load_text_encoder(str(partial), 1), LightTextEncoder)


def test_the_light_tower_refuses_damaged_weights(partial: Path) -> None:
    file = partial / "open_clip_model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(FormatError, match="was changed or cut"):
        LightTextEncoder(str(partial), partial)
