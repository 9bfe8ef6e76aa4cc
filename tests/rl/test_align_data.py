"""What a step learns from: the same whatever the parts it comes in, and no picture decoded for a text tower."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from align_tiny import make_lists, make_run

from indexes.errors import BeholderError, FormatError
from indexes.records.shards import Embeddings
from retrieval.encoding.encoders import load_encoder
from rl.alignment import pictures as align_pictures
from rl.alignment.align import prepare
from rl.alignment.batches import Plan, padded
from rl.alignment.data import read_data
from rl.preferences import PreferenceList, read_preferences, write_preferences


def quiet(line: str) -> None:
    pass


def test_dev_lists_are_chosen_by_the_words_of_a_query(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    lists = read_preferences(Path(config.preferences)).lists
    whole = read_data(config, None, tmp_path / "cache", quiet)
    write_preferences(tmp_path / "turned.parquet", lists[::-1], {})
    turned = read_data(replace(config, preferences=str(tmp_path / "turned.parquet")), None, tmp_path / "cache", quiet)
    assert 0 < len(whole.dev) < len(lists)
    assert {whole.texts[one.query] for one in whole.dev} == {turned.texts[one.query] for one in turned.dev}


def test_steps_hold_whole_epochs_of_lists_and_captions(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, contrastive_batch=4, steps=9)
    data = read_data(config, None, tmp_path / "cache", quiet)
    plan = Plan(config, data)
    drawn = [plan[place] for place in range(len(plan))]
    count = len(data.train)
    assert sorted(number for number, _, _ in drawn[:count]) == list(range(count))
    beside = [example for _, pairs, _ in drawn for example, _ in pairs]
    assert sorted(beside[: len(data.captioned)]) == list(range(len(data.captioned)))
    assert all(text in data.captioned[example].captions for _, pairs, _ in drawn for example, text in pairs)
    assert drawn == [Plan(config, data)[place] for place in range(len(plan))]


def test_lists_that_cannot_be_used_are_counted_with_the_reason(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, dev_share=0.0)
    lists = list(read_preferences(Path(config.preferences)).lists)
    strange = PreferenceList("elsewhere", ("f" * 64, *lists[0].pictures[1:]), lists[0].better, lists[0].worse)
    silent = PreferenceList("no pairs", lists[0].pictures)
    write_preferences(tmp_path / "mixed.parquet", [*lists, strange, silent], {})
    said: list[str] = []
    data = read_data(replace(config, preferences=str(tmp_path / "mixed.parquet")), None, tmp_path / "c", said.append)
    assert data.rejected == {"pictures that no folder holds": 1, "no pairs": 1}
    assert "1 left out: pictures that no folder holds" in said[0]
    write_preferences(tmp_path / "none.parquet", [strange, silent], {})
    with pytest.raises(BeholderError, match="none of 2 lists"):
        read_data(replace(config, preferences=str(tmp_path / "none.parquet")), None, tmp_path / "c", quiet)


def test_evaluation_pictures_are_refused(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    held = read_preferences(Path(config.preferences)).lists[0].pictures[0]
    monkeypatch.setattr("benchmarks.tables.evaluation.evaluation_pictures", lambda: frozenset({held}))
    with pytest.raises(BeholderError, match="kept for evaluation"):
        read_data(config, None, tmp_path / "cache", quiet)


def test_vectors_are_the_rows_of_the_folder_and_no_picture_is_opened(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)

    def never(*args: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(align_pictures, "decode_all", never)
    ready = prepare(config, None, tmp_path / "cache", quiet)
    embeddings = Embeddings(config.pictures[0])
    sha256s = embeddings.items().column("sha256").to_pylist()
    stored = np.concatenate([np.array(rows) for _, rows in embeddings.blocks()])
    for place, sha256 in enumerate(sha256s):
        np.testing.assert_array_equal(ready.collator.pictures[ready.data.gallery.row(sha256)], stored[place])


def test_lists_of_another_encoder_s_cascade_are_refused_unless_asked_for(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    lists = read_preferences(Path(config.preferences)).lists
    mine = load_encoder(str(tiny_model)).record.image_fingerprint
    for made, fingerprint, taken in (("cascade", "0" * 64, False), ("cascade", mine, True), ("s.tsv", "0" * 64, True)):
        write_preferences(tmp_path / "other.parquet", lists, {"made": made, "image_fingerprint": fingerprint})
        other = replace(config, preferences=str(tmp_path / "other.parquet"))
        if taken:
            prepare(other, None, tmp_path / "cache", quiet)
            continue
        with pytest.raises(BeholderError, match=f"000000000000.*expected {mine[:12]}"):
            prepare(other, None, tmp_path / "cache", quiet)
        with pytest.raises(BeholderError, match="000000000000"):
            prepare(replace(config, dev_preferences=other.preferences), None, tmp_path / "cache", quiet)
        prepare(replace(other, any_teacher=True), None, tmp_path / "cache", quiet)


def test_a_folder_of_another_encoder_is_refused(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path, make_other_model: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, base=str(make_other_model))
    with pytest.raises(FormatError, match="Embed the pictures with the encoder"):
        prepare(config, None, tmp_path / "cache", quiet)


def test_shuffled_labels_keep_pictures_and_pairs(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    plain = read_data(config, None, tmp_path / "cache", quiet).train
    mixed = read_data(replace(config, labels="shuffled"), None, tmp_path / "cache", quiet).train
    assert any((a.pictures != b.pictures).any() for a, b in zip(plain, mixed, strict=True))
    for a, b in zip(plain, mixed, strict=True):
        assert sorted(a.pictures) == sorted(b.pictures)
        np.testing.assert_array_equal(a.prefer, b.prefer)


def test_padding_of_shorter_lists_has_no_preference(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, dev_share=0.0)
    lists = read_data(config, None, tmp_path / "cache", quiet).train
    batch = padded(lists)
    short = next(row for row, one in enumerate(lists) if len(one.pictures) == 4)
    assert not batch["prefer"][short, 4].any()
    assert not batch["prefer"][short, :, 4].any()
    assert batch["prefer"][short].sum() == 6
    assert batch["chains"][short, 0].tolist() == [0, 1, 2, 3, -1]


def test_an_index_serves_as_well_as_the_embeddings_it_was_built_from(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    from indexes.building.build import build_index

    config = make_run(tmp_path, tiny_model, tiny_captions)
    build_index(config.pictures[0], tmp_path / "pictures.index")
    plain = prepare(config, None, tmp_path / "cache", quiet)
    indexed = prepare(replace(config, pictures=(str(tmp_path / "pictures.index"),)), None, tmp_path / "cache", quiet)
    for one, other in zip(plain.data.train, indexed.data.train, strict=True):
        np.testing.assert_array_equal(plain.collator.pictures[one.pictures], indexed.collator.pictures[other.pictures])


def test_pictures_that_no_folder_holds_are_encoded_once(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    from tiny import make_pictures

    more = make_pictures(tmp_path / "more", count=14)  # the same generator: the last two are new
    config = replace(make_run(tmp_path, tiny_model, tiny_captions), captions=(str(more),))
    said: list[str] = []
    ready = prepare(config, None, tmp_path / "cache", said.append)
    assert any("2 pictures of captions are in no folder" in line for line in said)
    encoder = load_encoder(str(tiny_model))
    from retrieval.sources.images import decode, fit

    last = fit(decode((more.parent / "13.png").read_bytes()), encoder.preprocessing)
    row = ready.data.gallery.rows_of_files([more.parent / "13.png"])[0]
    wanted = encoder.encode_images(np.stack([last]))[0]
    np.testing.assert_allclose(ready.collator.pictures[row], wanted, atol=1e-3)  # float16
    shutil.rmtree(more.parent)


def test_lists_need_what_their_loss_reads(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, dev_share=0.0)
    bare = [
        PreferenceList(one.query, one.pictures, one.better, one.worse)
        for one in read_preferences(make_lists(tmp_path / "l.parquet", Path(config.pictures[0]))).lists
    ]
    write_preferences(tmp_path / "bare.parquet", bare, {})
    for loss, reason in (("plackett-luce", "no chain of pictures"), ("lipo-lambda", "no levels")):
        with pytest.raises(BeholderError, match=reason):
            read_data(
                replace(config, loss=loss, preferences=str(tmp_path / "bare.parquet")), None, tmp_path / "c", quiet
            )


def test_random_labels_take_pictures_of_any_list(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    """Each picture once, queries and pairs as they were, by the seed."""
    config = make_run(tmp_path, tiny_model, tiny_captions)
    plain = read_data(config, None, tmp_path / "cache", quiet).train
    drawn = read_data(replace(config, labels="random"), None, tmp_path / "cache", quiet).train
    other = read_data(replace(config, labels="random", seed=1), None, tmp_path / "cache", quiet).train
    assert any(set(a.pictures) != set(b.pictures) for a, b in zip(plain, drawn, strict=True))
    assert any((a.pictures != b.pictures).any() for a, b in zip(other, drawn, strict=True))
    pool = {row for one in plain for row in one.pictures}
    for a, b in zip(plain, drawn, strict=True):
        assert len(set(b.pictures)) == len(a.pictures)
        assert set(b.pictures) <= pool
        assert (a.query, a.reference) == (b.query, b.reference)
        np.testing.assert_array_equal(a.prefer, b.prefer)


def test_what_is_kept_may_be_told_by_an_index_s_own_captions(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    """A share of the captioned pictures, on which then nothing is trained; without it the command says what to do."""
    from retrieval.encoding.pipeline import EmbedConfig, embed

    settings = EmbedConfig(model=str(tiny_model), workers=1, captions=str(tiny_captions))
    embed(tiny_captions.parent, tmp_path / "said.emb", settings)
    config = make_run(tmp_path, tiny_model, tiny_captions, dev_source="index", dev_share=0.4)
    config = replace(config, pictures=(str(tmp_path / "said.emb"),), captions=("index",), contrastive_batch=4)
    data = read_data(config, None, tmp_path / "cache", quiet)
    trained = {one.picture for one in data.captioned}
    assert trained
    assert len(data.kept.pictures) >= 2
    assert not trained & set(data.kept.pictures.tolist())
    assert len(trained) + len(data.kept.pictures) == 12
    ready = prepare(config, None, tmp_path / "cache", quiet)
    assert "hit_rate@10" in ready.measured(ready.model)
    with pytest.raises(BeholderError, match="0 captioned pictures to tell what is kept"):
        read_data(replace(config, dev_share=0.0), None, tmp_path / "cache", quiet)


def test_a_list_is_known_by_what_its_reference_is_given(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, dev_share=0.0)
    lists = read_preferences(Path(config.preferences)).lists
    said = [replace(one, reference="a red thing" if number % 2 else "") for number, one in enumerate(lists)]
    write_preferences(tmp_path / "said.parquet", said, {})
    for labels in ("teacher", "shuffled", "random"):
        told = replace(config, labels=labels, preferences=str(tmp_path / "said.parquet"))
        found = read_data(told, None, tmp_path / "cache", quiet)
        assert [found.texts[one.reference] for one in found.train] == [one.reference or one.query for one in said]
