"""The small critic: its tower is timm's, a packed text reads as if it stood alone, a run goes on to the bit after a
kill, and what comes out is loaded by transformers and asked like any critic."""

import json
import multiprocessing
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_mini import DEPTH, HEADS, SIDE, die_in_a_checkpoint, make_vit, write_mini_sets

from indexes.errors import BeholderError, FormatError
from retrieval.conversations import ASSISTANT, IMAGE, USER, Conversation, Turn, write_conversations
from retrieval.critic.claims import level_said, side_said
from retrieval.critic.said import checked
from rl.critic.grounded import Facts, Measured, scales_of
from rl.critic.grounded_facts import TRAIN
from rl.critic.mini.asked import UNKNOWN, asked_of, better_of
from rl.critic.mini.config import MiniConfig
from rl.critic.mini.draw import SIDED, Drawer
from rl.critic.mini.facts import read_pictures
from rl.critic.mini.features import FILE, ROWS, keep_features, picture_features
from rl.critic.mini.forward import Reader, answer_losses
from rl.critic.mini.model import make_image_processor, make_model, make_processor, make_tokenizer
from rl.critic.mini.pack import Packer
from rl.critic.mini.texts import Group, Text
from rl.critic.mini.tower import convert_tower, read_tower
from rl.critic.mini.train import CONFIG, LOG, rate_at, tower_of, train_mini

TEXTS = ["It is dark. The first one is brighter.", "Which one is darker: the first or the second?"]


@pytest.mark.parametrize("side", [SIDE, 48])
def test_the_tower_is_timms(side: int) -> None:
    from timm.layers import resample_abs_pos_embed
    from transformers import ViTModel

    theirs = make_vit()
    config, state = convert_tower(theirs.state_dict(), side, HEADS)
    tower = ViTModel(config, add_pooling_layer=False).eval()
    tower.load_state_dict(state)
    bigger = make_vit(side)
    content = theirs.state_dict()
    content["pos_embed"] = resample_abs_pos_embed(content["pos_embed"], [side // 16, side // 16])
    bigger.load_state_dict(content)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = tower(pixels, output_hidden_states=True)
        wanted = bigger.forward_intermediates(
            pixels, norm=False, intermediates_only=True, output_fmt="NLC", return_prefix_tokens=True
        )
        for place, (patches, prefix) in enumerate(wanted, 1):
            found = ours.hidden_states[place]
            torch.testing.assert_close(found, torch.cat([prefix, patches], dim=1), atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.last_hidden_state, bigger.forward_features(pixels), atol=1e-5, rtol=0)
    assert len(wanted) == DEPTH


def tiny_critic(tmp_path: Path) -> tuple[MiniConfig, Any, Any]:
    config = write_mini_sets(tmp_path)
    tokenizer = make_tokenizer(TEXTS * 3, config.vocabulary)
    model = make_model(config, tokenizer).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(30)  # so that another context is another answer
    return config, model, make_processor(tokenizer, config.side)


def test_a_packed_text_is_as_likely_as_when_it_is_asked_alone(tmp_path: Path) -> None:
    config, model, processor = tiny_critic(tmp_path)
    generator = np.random.default_rng(0)
    shown = [Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(3)]
    pixels = processor.image_processor(images=shown, return_tensors="pt")["pixel_values"]
    features = picture_features(model.model.vision_tower, pixels, config.layers).clone()
    texts = [Text("Which one is darker?", "The first one."), Text("Is it dark?", "It is dark, dark."), Text("?", "No.")]
    groups = [Group((0, 1), tuple(texts)), Group((2,), tuple(texts[:2]))]
    packed = Packer(processor.tokenizer, features.shape[1]).pack(groups)
    found = answer_losses(model, packed, features)
    alone = []
    for group in groups:
        for text in group.texts:
            asked = [{"type": "image"} for _ in group.rows] + [{"type": "text", "text": text.question}]
            said = [{"role": "user", "content": asked}]
            whole = [*said, {"role": "assistant", "content": [{"type": "text", "text": text.answer}]}]
            question, full = (processor.apply_chat_template(one, tokenize=False) for one in (said, whole))
            assert full.startswith(question)
            given: dict[str, Any] = {"images": [[shown[row] for row in group.rows]], "return_tensors": "pt"}
            batch = processor(text=[full], add_special_tokens=False, **given)
            start = processor(text=[question], add_special_tokens=False, **given)["input_ids"].shape[1]
            with torch.no_grad():
                logits = model(**batch).logits[0]
            chances = torch.log_softmax(logits[start - 1 : -1], dim=-1)
            alone.append(-float(chances.gather(1, batch["input_ids"][0, start:, None]).sum()))
    assert found.tolist() == pytest.approx(alone, abs=1e-3)
    assert len(set(np.round(alone, 2))) == len(alone)
    other = answer_losses(model, packed, features.flip(0))  # the pictures count
    assert not np.allclose(other.numpy(), found.numpy(), atol=1e-3)


def test_hidden_tokens_of_a_picture_are_seen_by_nobody(tmp_path: Path) -> None:
    _, model, processor = tiny_critic(tmp_path)
    packer = Packer(processor.tokenizer, 5, drop=0.5)
    group = Group((0,), (Text("Is it dark?", "It is dark."),))
    packed = packer.pack([group], np.random.default_rng(1))
    places = torch.nonzero(packed.ids[0] == packer.image)[:, 0]
    after = packed.mask[0, 0, places[-1] + 1 :, places]
    hidden = ~after.any(dim=0)
    assert 0 < int(hidden.sum()) < 5
    assert bool(after[:, ~hidden].all())
    features = torch.randn(1, 5, 2 * 24, generator=torch.Generator().manual_seed(0))
    changed = torch.where(hidden[None, :, None], features + 5, features)
    torch.testing.assert_close(answer_losses(model, packed, features), answer_losses(model, packed, changed))
    whole = packer.pack([group])
    assert not torch.allclose(answer_losses(model, whole, features), answer_losses(model, whole, changed), atol=1e-3)


def test_the_reader_asks_for_values_and_for_what_the_second_has_more(tmp_path: Path) -> None:
    _, _, processor = tiny_critic(tmp_path)
    texts = Text("Which?", "First.", "compare", -0.5), Text("Which?", "First.", "level")
    packed = Packer(processor.tokenizer, 5, emphasis=3.0).pack([Group((7,), texts[1:]), Group((3, 5), texts)])
    assert packed.pairs.tolist() == [[1, 2]]
    assert packed.weights.tolist() == [1.0, 3.0, 1.0]
    reader = Reader(2, 2, 2)
    states = [torch.zeros(*packed.ids.shape, 2) for _ in range(3)]
    wanted = torch.tensor([[0.5, float("nan")], [0.25, -0.5], [-0.25, 0.75]])
    for value, (row, place) in zip(wanted.nan_to_num(), packed.seen, strict=True):
        states[1][row, place] = value
    states[2][tuple(packed.seen[2])] = torch.tensor([-0.5, 1.0])
    with torch.no_grad():
        for linear, bias in ((reader.linear, 0.0), (reader.difference, 0.25), (reader.answer, 0.5)):
            linear.weight.copy_(torch.eye(2)[: linear.out_features])
            linear.bias.fill_(bias)
        errors = reader.errors(tuple(states), packed, wanted)
    assert errors.tolist() == [0, 0, 0, 0, 0, 0.0625, 0, 1.0]


def test_steps_follow_from_the_seed_and_every_picture_is_visited_once_a_turn(tmp_path: Path) -> None:
    config = write_mini_sets(tmp_path)
    pictures = read_pictures(config)
    drawer, again = Drawer(config, pictures), Drawer(config, pictures)
    steps = [drawer.step(number) for number in range(18)]
    assert again.step(17) == steps[17]
    assert steps[0] != Drawer(replace(config, seed=1), pictures).step(0)
    singles = [group for step in steps for group in step if len(group.rows) == 1]
    rows = pictures.rows(TRAIN)
    assert [sorted(group.rows[0] for group in singles[start : start + 18]) for start in (0, 18)] == [rows, rows]
    pairs = [group for step in steps for group in step if len(group.rows) == 2]
    assert all(set(group.rows) <= set(rows) and group.rows[0] != group.rows[1] for group in pairs)
    for group in pairs:  # what is said of two is so
        first, second = (pictures.facts[row].measured["brightness"].value for row in group.rows)
        for text in group.texts:
            if "brighter" in text.question or "luminous" in text.question:
                assert side_said(text.answer) == ("first" if first > second else "second")
                gap = pictures.values[list(group.rows), 0] @ [-1, 1]
                assert text.aim == pytest.approx(gap)
            if "darker" in text.question or "dimmer" in text.question:
                assert text.aim == pytest.approx(pictures.values[list(group.rows), 0] @ [1, -1])
    turned = [group for group in singles if group.mirrored == (True,)]
    assert 0 < len(turned) < len(singles)
    assert not any(SIDED.search(text.answer) for group in turned for text in group.texts)
    assert any(SIDED.search(text.answer) for group in singles for text in group.texts)
    assert pictures.values[rows, pictures.attributes.index("brightness")].tolist() == sorted(
        pictures.values[rows, pictures.attributes.index("brightness")].tolist()
    )


def test_pictures_with_a_label_are_visited_more_often_and_asked_in_other_words(tmp_path: Path) -> None:
    config = write_mini_sets(tmp_path)
    pictures = read_pictures(config)
    labelled = replace(pictures.facts[3], labels={"style": "cubism"})
    facts = (*pictures.facts[:3], labelled, *pictures.facts[4:])
    drawer = Drawer(replace(config, pictures=21, pairs=0), replace(pictures, facts=facts))
    (turn,) = [drawer.step(0)]
    counts = Counter(group.rows[0] for group in turn)
    assert counts == {row: 4 if row == 3 else 1 for row in pictures.rows(TRAIN)}
    asked = [tuple(text.question for text in group.texts) for group in turn if group.rows == (3,)]
    assert len(set(asked)) == 4


def test_conversations_of_a_file_are_learnt_beside_the_rest(tmp_path: Path) -> None:
    config = write_mini_sets(tmp_path)
    Image.new("RGB", (40, 40), (200, 10, 10)).save(tmp_path / "red.png")
    mine, hers = "flickr8k/images/train3.png", "flickr8k/images/dev1.png"
    asked = [
        (("red.png",), TRAIN),
        ((mine,), TRAIN),
        ((mine, "red.png"), TRAIN),
        ((hers,), TRAIN),
        (("red.png",), "val"),
    ]
    asked += [((mine, mine, mine), TRAIN), (("gone.png",), TRAIN)]
    made = [
        Conversation(paths, (Turn(USER, f"{IMAGE * len(paths)}\nWhat now {place}?"), Turn(ASSISTANT, "This.")), "s",
                     split=split)
        for place, (paths, split) in enumerate(asked)
    ]  # fmt: skip
    more = (Turn(USER, f"{IMAGE}\n1?"), Turn(ASSISTANT, "1"), Turn(USER, "2?"), Turn(ASSISTANT, "2"))
    write_conversations(tmp_path / "more.jsonl", [*made, Conversation((mine,), more, "s")], {})
    pictures = read_pictures(replace(config, conversations=(str(tmp_path / "more.jsonl"),)))
    assert pictures.further.left_out == {
        "of the split val": 1, "3 pictures": 1, "more than one question": 1, "missing picture": 1,
        "a picture that is not for training": 1,
    }  # fmt: skip
    assert [(one.picture, one.split) for one in pictures.facts[24:]] == [("red.png", TRAIN)]
    singles = [group for step in range(10) for group in Drawer(config, pictures).step(step) if len(group.rows) == 1]
    questions = {(group.rows, text.question) for group in singles for text in group.texts if "now" in text.question}
    row = next(row for row, one in enumerate(pictures.facts) if one.picture == mine)
    assert questions == {((24,), "What now 0?"), ((row,), "What now 1?")}


def test_aspects_are_answered_by_what_was_measured_and_the_rest_is_refused() -> None:
    facts = [
        Facts(
            f"{n}.jpg", f"{n:064x}", "s", "", "train", labels={"style": "cubism"} if n % 2 else {},
            measured={name: Measured(float(n), name) for name in ("brightness", "complexity", "appeal")},
        )
        for n in range(30)
    ]  # fmt: skip
    scales = scales_of(facts)
    found: dict[str, list[tuple[Facts, str]]] = {}
    for one in facts:
        for visit in range(40):
            for _, question, answer in asked_of(one, scales, random.Random(visit)):
                found.setdefault(question, []).append((one, answer))
    (light,) = [told for question, told in found.items() if "the light" in question]
    levels = ["low"] * 10 + ["middle"] * 10 + ["high"] * 10
    assert {level_said(answer, "brightness") == levels[facts.index(one)] for one, answer in light} == {True}
    for what in ("mood", "emotion", "the colour"):  # no colour was measured
        (told,) = [told for question, told in found.items() if what in question]
        assert {answer for _, answer in told} == {UNKNOWN}
    assert checked(UNKNOWN).fallback == "refused"
    (style,) = [told for question, told in found.items() if "the style" in question]
    assert {answer for _, answer in style} == {"The style is cubism."}
    assert [answer for *_, answer in better_of(facts[3], facts[4])] == ["The second one."]
    assert list(better_of(facts[3], replace(facts[4], measured={}))) == []


def test_features_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    config = write_mini_sets(tmp_path)
    pictures = [(one.picture, one.sha256) for one in read_pictures(config).facts]
    tower, processor = tower_of(config), make_image_processor(config.side)

    def features(folder: Path, identity: str = "a") -> np.ndarray:
        given = (pictures, Path(config.data), tower, processor, config.layers)
        return np.array(keep_features(folder, *given, flips=True, identity=identity))

    whole = features(tmp_path / "whole")
    assert whole.shape == (24, 2, 5, 48)
    patches = whole[:, :, 1:, 24:].reshape(24, 2, 2, 2, 24)  # mirrored: other pixels, other places
    assert not np.array_equal(patches[:, 0], patches[:, 1])
    features(tmp_path / "cut")
    array = np.load(tmp_path / "cut" / FILE, mmap_mode="r+")
    array[10:] = 0
    told = json.loads((tmp_path / "cut" / ROWS).read_text())
    (tmp_path / "cut" / ROWS).write_text(json.dumps({**told, "done": 10}))
    assert np.array_equal(features(tmp_path / "cut"), whole)
    with pytest.raises(FormatError, match="features of others"):
        features(tmp_path / "cut", "b")


def weights(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(run / "model" / "model.safetensors"))


def test_a_killed_run_goes_on_to_the_same_critic(tmp_path: Path) -> None:
    config = write_mini_sets(tmp_path)
    told: list[str] = []
    assert train_mini(config, tmp_path / "straight", say=told.append) == tmp_path / "straight" / "model"
    straight = [line for line in (tmp_path / "straight" / LOG).read_text().splitlines() if "tokens_per_s" not in line]
    assert any("levels brightness" in line for line in straight)
    child = multiprocessing.get_context("spawn").Process(target=die_in_a_checkpoint, args=(config, tmp_path / "cut"))
    child.start()
    child.join()
    assert child.exitcode == -9
    train_mini(config, tmp_path / "cut", say=told.append)
    assert "going on from step 2" in told
    left, right = weights(tmp_path / "straight"), weights(tmp_path / "cut")
    assert set(left) == set(right)
    assert all(torch.equal(left[name], right[name]) for name in left)
    again = [line for line in (tmp_path / "cut" / LOG).read_text().splitlines() if "tokens_per_s" not in line]
    assert again == straight
    train_mini(config, tmp_path / "cut", say=told.append)
    assert told[-1].endswith("is finished")
    with pytest.raises(FormatError, match="another learning_rate"):
        train_mini(replace(config, learning_rate=1e-4), tmp_path / "cut")
    train_mini(replace(config, steps=8), tmp_path / "cut")  # a run may be made longer
    longer = weights(tmp_path / "cut")
    assert any(not torch.equal(longer[name], left[name]) for name in left)


def test_the_tower_stays_and_all_else_learns(tmp_path: Path) -> None:
    config = replace(write_mini_sets(tmp_path), steps=150, learning_rate=5e-3, dev_every=150)
    train_mini(config, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    losses = [one["loss"] for one in log if "loss" in one]
    assert losses[-1] < losses[0] / 2
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "run" / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "run" / "model")
    assert model.dtype == torch.float16
    _, state = convert_tower(read_tower(config.tower), config.side, HEADS)
    for name, value in state.items():
        torch.testing.assert_close(model.model.vision_tower.state_dict()[name], value.half())
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this picture."}]}]
    prompt = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    picture = Image.open(tmp_path / "flickr8k" / "images" / "dev0.png")
    batch = processor(text=[prompt], images=[[picture]], return_tensors="pt", add_special_tokens=False)
    said = model.float().generate(**batch, max_new_tokens=20)
    text = processor.tokenizer.decode(said[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text.startswith(" A dog runs")


def test_rates_rise_stay_and_fall() -> None:
    rates = [rate_at(step, 100, 10, 0.5) for step in range(101)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert set(rates[10:50]) == {1.0}
    assert rates[75] == 0.5
    assert rates[100] == 0
    assert [rate_at(step, 200, 10, 0.5) for step in range(50)] == rates[:50]


def test_the_verb_and_its_mistakes(tmp_path: Path, beholder: Any) -> None:
    config = write_mini_sets(tmp_path)
    given = ["align", "critic", "mini", tmp_path / "run", "--data", tmp_path, "--source", "flickr8k", "--steps", "2"]
    given += ["--scorer", "brightness", "--embeddings", tmp_path / "e.emb", "--tower", config.tower]
    changes = ("tower_heads=2", "side=32", "layers=0,2", "vocabulary=320", "width=16", "depth=1", "heads=2", "inner=8")
    for change in (*changes, "pictures=1", "pairs=1", "precision=fp32", "flips=false", "dev_pictures=0"):
        given += ["--set", change]
    said = beholder(*given)
    assert said.stdout.strip().endswith("model")
    assert (tmp_path / "run" / CONFIG).is_file()
    for change, message in (
        ("heads=3", "no multiple of twice 3 heads"),
        ("side=33", "no multiple of 16"),
        ("fall=1", "fall 1.0 is not in"),
        ("colour=1", "there is no setting 'colour'"),
        ("width=x", "width=x"),
        ("precision=fp8", "neither bf16 nor fp32"),
    ):
        with pytest.raises(BeholderError, match=message):
            MiniConfig.with_settings({"data": ""}, (change,))
    with pytest.raises(BeholderError, match="there is no tower"):
        read_tower(str(tmp_path / "none.safetensors"))
    with pytest.raises(FormatError, match="holds no ViT"):
        read_tower(str(tmp_path / "run" / "model" / "model.safetensors"))
