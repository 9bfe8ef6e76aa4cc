"""Frozen lower blocks of an image tower: computed once, the same pictures and vectors as without."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from align_tiny import make_run

from indexes.errors import BeholderError
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align, prepare
from rl.preferences import read_preferences, write_preferences


def quiet(line: str) -> None:
    pass


def test_states_give_the_vectors_that_pixels_give(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, towers="both")
    whole = prepare(config, None, tmp_path / "cache", quiet)
    said: list[str] = []
    partly = prepare(replace(config, frozen_blocks=1), None, tmp_path / "cache", said.append)
    rows = np.arange(len(whole.data.gallery))
    assert partly.measured.pictures.ndim == 3
    assert any("frozen" in line for line in said)
    pictures = partly.measured.picture_vectors(partly.model, rows)
    np.testing.assert_allclose(pictures, whole.measured.picture_vectors(whole.model, rows), atol=2e-3)  # float16 states
    for mine, other in zip(partly.collator.reference, whole.collator.reference, strict=True):
        np.testing.assert_allclose(mine, other, atol=0.1)  # logits: cosines times the scale


def test_where_every_block_is_frozen_the_class_token_is_all_that_is_kept(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, towers="image")
    whole = prepare(config, None, tmp_path / "cache", quiet)
    blocks = len(whole.encoder.model.visual.trunk.blocks)
    head = prepare(replace(config, frozen_blocks=blocks, image_lr=0.0), None, tmp_path / "cache", quiet)
    rows = np.arange(len(whole.data.gallery))
    assert head.measured.pictures.shape[1] == 1
    pictures = head.measured.picture_vectors(head.model, rows)
    np.testing.assert_allclose(pictures, whole.measured.picture_vectors(whole.model, rows), atol=2e-3)  # float16 states
    assert all(".visual.head." in name for name in head.model.trained())


def test_a_run_over_the_same_pictures_reads_none_again(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, towers="image", frozen_blocks=1)
    first = prepare(config, None, tmp_path / "cache", quiet)
    monkeypatch.setattr("rl.alignment.pictures.Gallery.pixels", None)
    other = prepare(replace(config, dev_share=0.0), None, tmp_path / "cache", quiet)  # other lists first: other rows
    names, mine = first.data.gallery.names(), other.data.gallery.names()
    places = [names.index(name) for name in mine]
    np.testing.assert_array_equal(other.measured.pictures, first.measured.pictures[places])


def test_frozen_blocks_stay_and_later_ones_move(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, towers="image", frozen_blocks=1, alphas=(1.0,))
    made = align(config, tmp_path / "run", None)
    before, after = (load_encoder(str(one)).model.state_dict() for one in (tiny_model, made.model))
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    assert any(".blocks.1." in name for name in moved)
    assert any("visual.head." in name for name in moved)
    assert not any(".blocks.0." in name or "patch_embed" in name or name.startswith("text.") for name in moved)


def test_frozen_blocks_need_an_image_tower_that_trains(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    with pytest.raises(BeholderError, match="frozen_blocks without an image tower"):
        make_run(tmp_path, tiny_model, tiny_captions, towers="text", frozen_blocks=1)


def test_features_of_a_frozen_text_tower_are_read_once_whatever_the_order_of_lists(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, text_lr=0.0)
    first = prepare(config, None, tmp_path / "cache", quiet)
    said: list[str] = []
    other = prepare(replace(config, dev_share=0.6), None, tmp_path / "cache", said.append)
    assert first.data.texts != other.data.texts
    assert not any("text tower is frozen" in line for line in said)
    places = [first.data.texts.index(text) for text in other.data.texts]
    assert other.measured.texts.equal(first.measured.texts[places])


def test_a_run_of_other_lists_reads_its_queries_alone(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, text_lr=0.0)
    prepare(config, None, tmp_path / "cache", quiet)
    table = read_preferences(Path(config.preferences))
    named = [replace(one, query=f"another {one.query}") for one in table.lists]
    write_preferences(tmp_path / "other.parquet", named, table.origin)
    said: list[str] = []
    other = prepare(replace(config, preferences=str(tmp_path / "other.parquet")), None, tmp_path / "cache", said.append)
    queries = {one.query for one in named} & set(other.data.texts)
    read = [line for line in said if "text tower is frozen" in line]
    assert read == [f"the text tower is frozen: reading {len(queries):,} texts once"]
