"""Grounded conversations: every claim stands in the text and agrees with what was measured; nothing of evaluation is
trained on; the same seed gives the same bytes."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.scores import ScoreColumn, write_scores
from retrieval.conversations import Conversation, read_conversations
from retrieval.critic.claims import claims_in, level_said, side_said
from rl.critic.grounded import KINDS, Facts, Measured, Writer, scales_of
from rl.critic.grounded_data import GroundedConfig, make_grounded

SCORERS = "brightness", "contrast"


def many_facts(count: int = 60) -> list[Facts]:
    generator = np.random.default_rng(0)
    return [
        Facts(
            f"set/{n}.jpg",
            f"{n:064x}",
            "set",
            "free",
            "train",
            ("A Dog runs .", "Two dogs in the grass"),
            {"style": "art nouveau", "object": "owl", "depiction": "a photo"},
            {
                name: Measured(float(generator.normal()), name)
                for name in ("brightness", "warmth", "contrast", "appeal")
            },
        )
        for n in range(count)
    ]


def everything(facts: list[Facts]) -> list[Conversation]:
    writer = Writer(scales_of(facts))
    return [one for known in facts for one in writer.about(known, KINDS)]


def test_every_claim_is_in_the_text_and_what_was_measured() -> None:
    facts = many_facts()
    by_picture = {one.picture: one for one in facts}
    scales = scales_of(facts)
    counted: Counter[str] = Counter()
    for one in everything(facts):
        counted[one.kind] += 1
        said = one.turns[1].text
        assert one.turns[1].claims
        for claim in one.turns[1].claims:
            assert claim.phrase in said
            if claim.about in scales.levels:
                value = by_picture[one.pictures[0]].measured[claim.about].value
                low, high = np.quantile([f.measured[claim.about].value for f in facts], [1 / 3, 2 / 3])
                assert claim.says == ("low" if value <= low else "middle" if value <= high else "high")
                assert claim.measured == (pytest.approx(value, rel=1e-3),)
        if one.kind in ("level", "look"):  # a program that sees only the text finds the very same claims
            assert {(c.about, c.says) for c in claims_in(said)} == {(c.about, c.says) for c in one.turns[1].claims}
    assert set(counted) == set(KINDS) - {"compare"}
    assert counted["level"] == 4 * len(facts)
    assert counted["caption"] == 2 * len(facts)


def test_what_stands_out_is_extreme_and_the_number_is_right() -> None:
    facts = many_facts(200)
    found = 0
    for one in everything(facts):
        if one.kind == "critique" and " 100 " in one.turns[1].text:
            found += 1
            claim = one.turns[1].claims[-2]  # the last is what people think
            words = one.turns[1].text.partition(" of 100 ")[0] if " of 100 " in one.turns[1].text else one.turns[1].text
            number = int("".join(c for c in words.rsplit(" ", 1)[-1] if c.isdigit()) or 0)
            values = np.array([f.measured[claim.about].value for f in facts])
            below = float((values < claim.measured[0]).mean())
            share = 100 * (below if claim.says == "high" else 1 - below)
            if number:
                assert min(abs(number - share), abs(100 - number - share)) < 2
            assert share > 80
    assert found > 20


def test_comparisons_say_the_side_that_has_more_or_less() -> None:
    facts = many_facts(40)
    writer = Writer(scales_of(facts))
    sides = []
    for one, other in zip(facts[::2], facts[1::2], strict=True):
        made = writer.compared(one, other, "brightness")
        assert made is not None
        claim = made.turns[1].claims[0]
        more = "first" if one.measured["brightness"].value > other.measured["brightness"].value else "second"
        assert claim.says == more
        asked_less = any(word in made.turns[0].text for word in ("darker", "dimmer"))
        assert side_said(made.turns[1].text) == (("second", "first")[more == "second"] if asked_less else more)
        sides.append(claim.says)
    assert len(set(sides)) == 2
    unlike = Facts("a", "0" * 64, "s", "", "train", measured={"brightness": Measured(1.0, "of another scale")})
    assert writer.compared(facts[0], unlike, "brightness") is None


def test_words_vary_and_depend_on_the_picture_alone() -> None:
    facts = many_facts()
    scales = scales_of(facts)
    alone = list(Writer(scales).about(facts[7], KINDS))
    among = [one for one in everything(facts) if one.pictures == (facts[7].picture,)]
    assert alone == among
    assert alone != list(Writer(scales, seed=1).about(facts[7], KINDS))
    questions = {one.turns[0].text for one in everything(facts) if one.kind == "level"}
    assert len(questions) > 40


def test_a_scale_without_spread_is_not_spoken_of() -> None:
    flat = [
        Facts(f"{n}.jpg", f"{n:064x}", "s", "", "train", measured={"warmth": Measured(0.5, "warmth")}) for n in range(9)
    ]
    assert everything(flat) == []


def write_sets(folder: Path, splits: Mapping[str, int]) -> Path:
    """A `photoart` of flat greys, brighter and brighter, and EMBEDDINGS with scores of them."""
    generator = np.random.default_rng(0)
    rows, hashes = [], []
    (folder / "photoart" / "images").mkdir(parents=True)
    for split, count in splits.items():
        for number in range(count):
            name = f"images/{split}{number}.png"
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photoart" / name)
            rows.append(f"{name}\tteddy bear\t{('photo', 'art')[number % 2]}\t{split}")
            hashes.append(sha256_file(folder / "photoart" / name))
    header = "file\tobject\tdepiction\tsplit"
    (folder / "photoart" / "items.tsv").write_text("\n".join([header, *rows]) + "\n")
    for name in SCORERS:
        values = generator.normal(size=len(hashes)).astype(np.float32)
        write_scores(folder / "e.emb" / "scores" / f"{name}.parquet", ScoreColumn(name, "f" * 64, {}, hashes, values))
    return folder / "e.emb"


def config_of(tmp_path: Path, **changes: object) -> GroundedConfig:
    known = {"data": tmp_path, "embeddings": (tmp_path / "e.emb",), "sources": ("photoart",), "scorers": SCORERS}
    return GroundedConfig(**{**known, **changes})  # type: ignore[arg-type]


def test_a_training_file_and_one_for_evaluation_with_its_levels(tmp_path: Path) -> None:
    write_sets(tmp_path, {"train": 60, "val": 20})
    made = make_grounded(tmp_path / "train.jsonl", config_of(tmp_path))
    assert made.pictures == 60
    assert {key.split()[0] for key in made.counts} == {"train", "dev"}
    first = (tmp_path / "train.jsonl").read_bytes()
    make_grounded(tmp_path / "train.jsonl", config_of(tmp_path))
    assert (tmp_path / "train.jsonl").read_bytes() == first
    assert str(tmp_path).encode() not in first
    made_val = make_grounded(
        tmp_path / "val.jsonl", config_of(tmp_path, split="val", levels_of=tmp_path / "train.jsonl")
    )
    assert made_val.levels == made.levels
    read = read_conversations(tmp_path / "val.jsonl", tmp_path)
    assert read.problems == ()
    assert {one.split for one in read.conversations} == {"val"}
    for one in read.conversations:
        if one.kind == "level":
            claim = one.turns[1].claims[0]
            assert level_said(one.turns[1].text, claim.about) == claim.says


def test_levels_come_from_training_pictures_alone(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="without --levels-of"):
        config_of(tmp_path, split="val")
    with pytest.raises(BeholderError, match="with --levels-of"):
        config_of(tmp_path, levels_of=tmp_path / "x")
    write_sets(tmp_path, {"train": 30})
    make_grounded(tmp_path / "train.jsonl", config_of(tmp_path))
    text = (tmp_path / "train.jsonl").read_text().split("\n")
    header = json.loads(text[0])
    header["origin"]["fingerprints"]["contrast"] = "0" * 64
    (tmp_path / "other.jsonl").write_text("\n".join([json.dumps(header), *text[1:]]))
    with pytest.raises(BeholderError, match="another version of contrast"):
        make_grounded(tmp_path / "v.jsonl", config_of(tmp_path, split="val", levels_of=tmp_path / "other.jsonl"))


def test_what_is_missing_or_mistaken_is_said(tmp_path: Path) -> None:
    write_sets(tmp_path, {"train": 12})
    with pytest.raises(BeholderError, match="no scores of warmth"):
        make_grounded(tmp_path / "o.jsonl", config_of(tmp_path, scorers=("warmth",)))
    with pytest.raises(BeholderError, match="no words for 'ava'"):
        make_grounded(tmp_path / "o.jsonl", config_of(tmp_path, scorers=("ava",)))
    with pytest.raises(BeholderError, match="no source 'photos'"):
        make_grounded(tmp_path / "o.jsonl", config_of(tmp_path, sources=("photos",)))
    with pytest.raises(BeholderError, match="kind 'poem'"):
        config_of(tmp_path, kinds=("poem",))
    (tmp_path / "photoart/images/train0.png").unlink()
    assert make_grounded(tmp_path / "o.jsonl", config_of(tmp_path)).missing == 1


def test_pictures_of_evaluation_are_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(tmp_path, {"train": 12})
    held = frozenset({sha256_file(tmp_path / "photoart/images/train3.png")})
    monkeypatch.setattr("benchmarks.tables.evaluation.evaluation_pictures", lambda: held)
    with pytest.raises(BeholderError, match="train3"):
        make_grounded(tmp_path / "o.jsonl", config_of(tmp_path))
