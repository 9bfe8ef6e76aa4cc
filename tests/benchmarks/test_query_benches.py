"""Protects `bench cutoff` and `bench negatives`: over pictures whose vectors are their captions' own, what each of them
measures can be foreseen."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.cut_off import CutOffConfig
from benchmarks.quality.cut_off import measure as measure_cut_off
from benchmarks.quality.negatives import NegativesConfig
from benchmarks.quality.negatives import measure as measure_negatives
from benchmarks.tables.subjects import absent_subjects, short_subjects, stem, word_list
from indexes.building.build import IndexConfig, build_index
from indexes.errors import BeholderError
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard
from tests.retrieval.served import items_of
from tests.retrieval.word_encoder import WordEncoder

ALONE = [f"dog on green lawn {n}" for n in range(80)] + [f"beach by blue sea {n}" for n in range(80)]
CAPTIONS = ALONE + [f"dog beach {n}" for n in range(40)]  # shorter: nearer to either word than where it is alone


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.tsv of 200 pictures, every second one of split val, and their `index`."""
    folder = tmp_path_factory.mktemp("query")
    uris = [f"{number:03d}.jpg" for number in range(len(CAPTIONS))]
    lines = [
        f"{uri}\t{caption}\t{'val' if place % 2 else 'train'}"
        for place, (uri, caption) in enumerate(zip(uris, CAPTIONS, strict=True))
    ]
    (folder / "captions.tsv").write_text("\n".join(["image\tcaption\tsplit", *lines]) + "\n")
    encoder, made = WordEncoder(), folder / "emb"
    made.mkdir()
    vectors = encoder.encode_texts(CAPTIONS).astype(np.float16)
    shard = write_shard(made, 0, np.arange(len(uris)), vectors, items_of(folder, uris))
    (made / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(made, "rejected.jsonl")
    EmbeddingsManifest(encoder.record, str(folder), len(uris), rejected, (shard,), len(uris), {}).write(made)
    build_index(made, folder / "index", IndexConfig(factory="Flat"))
    return folder


def test_the_cut_off_refuses_what_shares_no_word_with_any_picture(table: Path) -> None:
    config = CutOffConfig(table / "index", table / "captions.tsv")
    run = measure_cut_off(config, encoder=WordEncoder())
    assert run.numbers["val captions refused, as kept"].value == 0
    assert run.numbers["val captions refused, as kept"].n == 100
    assert run.numbers["200 gibberish queries refused, as kept"].value > 0.95
    assert run.numbers["200 absent subjects refused, as kept"].value > 0.95
    assert run.numbers["2 one-word subjects refused, as kept"].value == 0
    assert run.numbers["200 gibberish queries refused, at 5 % of train captions"].value == 1
    compared = measure_cut_off(
        CutOffConfig(table / "index", table / "captions.tsv", compare=True), encoder=WordEncoder()
    )
    assert "threshold at 5 % of train captions, the best" in compared.numbers
    with pytest.raises(BeholderError, match="two splits"):
        CutOffConfig(table / "index", table / "captions.tsv", split="train")


def test_half_a_negative_keeps_what_is_wanted_and_drops_what_is_not(table: Path) -> None:
    config = NegativesConfig(table / "index", table / "captions.tsv", leave_out=None)
    run = measure_negatives(config, encoder=WordEncoder())
    assert run.data["pairs"] == 2
    assert run.numbers["show A and not B, without --not"].value == 0
    assert run.numbers["show A, without --not"].value == 1
    assert run.numbers["show A and not B, --not B:0.5"].value == 1
    assert run.numbers["show A, --not B:0.5"].value == 1
    with pytest.raises(BeholderError, match="often shown together"):  # half of the pictures are left out
        measure_negatives(NegativesConfig(table / "index", table / "captions.tsv"), encoder=WordEncoder())


def test_subjects_are_absent_or_common_whatever_their_number() -> None:
    assert [stem(word) for word in ("dogs", "berries", "beaches", "horse", "horses", "bus")] == [
        *("dog", "berry", "beach", "hors", "hors"),
        "bus",
    ]
    absent = absent_subjects(["two lobsters", "Lava!"])
    assert "a lobster" not in absent
    assert "lava" not in absent
    assert "a jellyfish" in absent
    assert len(absent) == 200
    assert short_subjects(["two dogs"] * 20 + ["a cat"] * 19) == ["dog"]
    assert len(set(word_list("absent_subjects.txt"))) == len(word_list("absent_subjects.txt"))
    with pytest.raises(BeholderError, match="no subject of the list"):
        short_subjects(["a zebra"])
