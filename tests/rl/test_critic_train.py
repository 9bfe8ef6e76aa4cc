"""Training critics on vision-language models of a few thousand weights: what is trained, on which tokens, resumed to
the same bytes, and loaded again."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_critics import FAMILIES, TEMPLATE, talk, write_critic, write_pictures, write_talks
from torch import nn
from typer.testing import CliRunner

from indexes.errors import BeholderError, FormatError
from retrieval.language.trained import load_vision_model, load_whole, read_trained
from rl.critic import trainer as trainers
from rl.critic.cli import app
from rl.critic.config import CriticConfig
from rl.critic.model import linear_layers, load_for_training, open_up, pad_to_square, projector_parameters
from rl.critic.recipes import RECIPES, CriticRecipe
from rl.critic.rows import as_dataset, make_rows, picture_sizes
from rl.critic.train import train_critic
from rl.rewriting.train import last_checkpoint, read_log

FAST = ["learning_rate=0.005", "projector_learning_rate=0", "first_learning_rate=0", "last_learning_rate=0"]
FAST += ["warmup=0", "batch=4", "preference_learning_rate=0.005", "adapter_init=zero"]
LN2 = math.log(2)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each family, pictures/, talks.jsonl and pairs.jsonl."""
    folder = tmp_path_factory.mktemp("critics")
    for family in FAMILIES:
        write_critic(folder / family, family)
    write_pictures(folder / "pictures")
    talks = [talk(number, turns=1 + number % 2) for number in range(8)]
    write_talks(folder / "talks.jsonl", [*talks, talk(2, split="dev")])
    pairs = [talk(number, rejected="It is round.") for number in range(8)]
    write_talks(folder / "pairs.jsonl", pairs)
    return folder


def settings(place: Path, recipe: str, *changed: str, family: str = "llava", **given: Any) -> CriticConfig:
    given = {"conversations": str(place / "talks.jsonl"), "threads": 1, "log_every": 1, "save_every": 4, **given}
    values = RECIPES[recipe].recipe.with_settings([*FAST, *changed])
    return CriticConfig(str(place / family), str(place / "pictures"), recipe=values, recipe_name=recipe, **given)


def answers_of(model: Any, processor: Any, place: Path) -> torch.Tensor:
    """The model's logits after the question about 1.png."""
    from PIL import Image

    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How is it?"}]}],
        add_generation_prompt=True,
    )
    batch = processor(text=[prompt], images=[[Image.open(place / "pictures/1.png")]], return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits[0, -1].float()


@pytest.mark.parametrize("recipe", ["aesexpert", "gallerygpt", "artgpt4"])
def test_each_recipe_runs_from_conversations_and_pairs_to_a_critic_that_loads(
    recipe: str, place: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    config = settings(place, recipe, "steps=12", "preference_epochs=4", preferences=str(place / "pairs.jsonl"))
    model = train_critic(config, tmp_path / "run", say=said.append)
    losses = [line["loss"] for line in read_log(tmp_path / "run/sft") if "loss" in line]
    assert losses[-1] < losses[0] - 0.3
    preferred = read_log(tmp_path / "run/dpo")
    # The policy begins as its own reference: were they one model, the loss would stay here.
    assert preferred[0]["loss"] == pytest.approx(LN2, abs=1e-3)
    assert preferred[-1]["loss"] < LN2 - 0.05
    assert preferred[-1]["rewards/accuracies"] > 0.7
    record = read_trained(model)
    assert record is not None
    assert (record.trains, record.stage, record.recipe) == (config.recipe.trains, "dpo", recipe)
    base, taught = load_whole(config.base, "float32"), load_vision_model(str(model), "float32")
    assert not torch.allclose(answers_of(*base, place), answers_of(*taught, place), atol=0.1)
    vision = {name: one for name, one in base[0].named_parameters() if "vision" in name}
    mine = {name.replace("base_model.model.", ""): one for name, one in taught[0].named_parameters()}
    assert all(torch.equal(one, mine[name]) for name, one in vision.items())
    assert any(line.startswith("sft: 12 rows; ") for line in said)
    assert train_critic(config, tmp_path / "run", say=said.append) == model
    assert "finished" in said[-1]
    with pytest.raises(FormatError, match="another seed"):
        train_critic(replace(config, seed=1), tmp_path / "run")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls_on_answers_and_what_closes_them_alone(family: str, place: Path, tmp_path: Path) -> None:
    """Oracle: labels read back as words."""
    model, processor = load_for_training(str(place / family), "", CriticRecipe(), "fp32")
    talks = [talk(0, turns=2), talk(5)]
    sizes = {f"{number}.png": (50, 30) for number in range(8)}
    rows = as_dataset(make_rows(talks, place / "pictures", sizes, processor).rows)
    config = settings(place, "gallerygpt", family=family)
    made = trainers.make_trainer("sft", config, tmp_path, model, processor, rows, None, say=print)
    batch = made.data_collator([rows[number] for number in range(3)])
    kept = [
        processor.tokenizer.decode(ids[labels != -100])
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    ]
    assert kept == ["It is dark.</s>", "It is dark.</s>", "It is light.</s>"]
    assert torch.equal(batch["labels"][batch["labels"] != -100], batch["input_ids"][batch["labels"] != -100])
    text = processor.tokenizer.decode(batch["input_ids"][1][batch["attention_mask"][1] == 1])
    assert text.count("It is dark.") == 2  # what was said before is read, not learnt


@pytest.mark.parametrize("family", FAMILIES[1:])
@pytest.mark.parametrize("trains", ["lora", "adapter", "full"])
def test_every_family_is_trained_in_every_way(family: str, trains: str, place: Path, tmp_path: Path) -> None:
    config = settings(place, "gallerygpt", f"trains={trains}", "steps=8", "pad_to_square=false", family=family)
    model = train_critic(config, tmp_path / "run")
    losses = [line["loss"] for line in read_log(tmp_path / "run/sft") if "loss" in line]
    assert losses[-1] < losses[0]
    taught = load_vision_model(str(model), "float32")
    assert torch.isfinite(answers_of(*taught, place)).all()


@pytest.mark.parametrize("trains", ["lora", "adapter", "full"])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(
    trains: str, stage: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"conversations": "", "preferences": str(place / "pairs.jsonl")} if stage == "dpo" else {}
    config = settings(place, "gallerygpt", f"trains={trains}", "steps=6", "preference_epochs=3", **given)
    whole = train_critic(config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def cut(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:  # after the checkpoint of step 4, with a step of its own that is lost
            raise Killed

    monkeypatch.setattr(trainers.CriticLog, "on_step_end", cut, raising=False)
    with pytest.raises(Killed):
        train_critic(config, tmp_path / "cut")
    monkeypatch.undo()
    newest = last_checkpoint(tmp_path / "cut" / stage)
    assert newest is not None
    assert newest.name == "checkpoint-4"
    resumed = train_critic(config, tmp_path / "cut")
    (weights,) = [one.name for one in whole.glob("*.safetensors")]
    assert (resumed / weights).read_bytes() == (whole / weights).read_bytes()
    logs = [[line.get("loss") for line in read_log(tmp_path / run / stage)] for run in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_lora_is_on_every_linear_layer_of_the_language_model_but_its_head(place: Path) -> None:
    base, _ = load_whole(str(place / "llava"), "float32")
    named = {name: one for name, one in base.named_modules() if isinstance(one, nn.Linear)}
    wanted = {name for name in named if "language_model" in name}
    assert len(wanted) == 14
    recipe = CriticRecipe(lora_rank=3)
    model = open_up(base, recipe)
    changed = {name.partition(".lora_A")[0].replace("base_model.model.", "")
               for name, _ in model.named_parameters() if "lora_A" in name}  # fmt: skip
    assert changed == wanted
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    lora = sum(3 * (named[name].in_features + named[name].out_features) for name in wanted)
    projector = sum(one.numel() for one in projector_parameters(model))
    assert projector == 16 * 32 + 32 + 32 * 32 + 32
    assert trained == lora + projector


def test_a_model_without_a_language_model_inside_is_refused() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(BeholderError, match="projector"):
        open_up(LlamaForCausalLM(LlamaConfig(vocab_size=9, **sizes)), CriticRecipe())
    assert "model" in linear_layers(LlamaForCausalLM(LlamaConfig(vocab_size=9, **sizes)))


def test_the_projector_learns_at_its_own_rate_and_schedules_scale_both(place: Path, tmp_path: Path) -> None:
    config = settings(place, "gallerygpt", "learning_rate=0.001", "projector_learning_rate=0.0001", "steps=4")
    model, processor = load_for_training(config.base, "", config.recipe, "fp32")
    sizes = {f"{number}.png": (50, 30) for number in range(8)}
    rows = as_dataset(make_rows([talk(0)], place / "pictures", sizes, processor).rows)
    made = trainers.make_trainer("sft", config, tmp_path, model, processor, rows, None, say=print)
    made.create_optimizer_and_scheduler(4)
    slow = {id(one) for group in made.optimizer.param_groups if group["initial_lr"] == 1e-4 for one in group["params"]}
    assert slow == {id(one) for one in projector_parameters(made.model)}
    whole = [one for group in made.optimizer.param_groups for one in group["params"]]
    assert len(whole) == len({id(one) for one in whole}) == sum(one.requires_grad for one in made.model.parameters())


def test_artgpts_rate_rises_from_its_first_and_ends_at_its_last(place: Path, tmp_path: Path) -> None:
    changed = ("learning_rate=0.003", "first_learning_rate=0.0001", "last_learning_rate=0.001", "warmup=3", "steps=9")
    config = settings(place, "artgpt4", *changed)
    train_critic(config, tmp_path / "run")
    rates = [line["learning_rate"] for line in read_log(tmp_path / "run/sft") if "loss" in line]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[2] == pytest.approx(3e-3)
    assert rates[-1] == pytest.approx(1e-3)


def test_in_bf16_what_is_frozen_is_bf16_and_what_is_trained_float32(place: Path, tmp_path: Path) -> None:
    for trains in ("lora", "adapter", "full"):
        recipe = CriticRecipe(trains=trains)
        model, _ = load_for_training(str(place / "llava"), "", recipe, "bf16")
        kinds = {(one.requires_grad, one.dtype) for one in model.parameters()}
        frozen = torch.float32 if trains == "full" else torch.bfloat16
        assert kinds == {(True, torch.float32), (False, frozen)}
        config = settings(place, "gallerygpt", f"trains={trains}", "steps=3", precision="bf16", checkpointing="on")
        train_critic(config, tmp_path / trains)
        assert all(math.isfinite(line["loss"]) for line in read_log(tmp_path / trains / "sft") if "loss" in line)


@pytest.mark.parametrize("trains", ["lora", "adapter", "full"])
def test_checkpointing_changes_memory_not_what_is_learnt(trains: str, place: Path, tmp_path: Path) -> None:
    losses = []
    for checkpointing in ("off", "on"):
        config = settings(place, "gallerygpt", f"trains={trains}", "steps=4", checkpointing=checkpointing)
        train_critic(config, tmp_path / checkpointing)
        losses.append([line["loss"] for line in read_log(tmp_path / checkpointing / "sft") if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("trains", ["lora", "adapter", "full"])
def test_on_a_gpu_it_trains_in_bf16_with_checkpointing(trains: str, place: Path, tmp_path: Path) -> None:
    config = settings(place, "gallerygpt", f"trains={trains}", "steps=8", device="cuda")
    train_critic(config, tmp_path / "run")
    losses = [line["loss"] for line in read_log(tmp_path / "run/sft") if "loss" in line]
    assert losses[-1] < losses[0]


def test_pictures_are_padded_to_squares_of_the_mean_colour_and_the_processor_keeps_that(
    place: Path, tmp_path: Path
) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    _, processor = load_whole(str(place / "llava"), "float32")
    wide = Image.new("RGB", (56, 28), "white")
    cropped = processor.image_processor(wide, return_tensors="pt")["pixel_values"][0]
    assert pad_to_square(processor)
    processor.save_pretrained(tmp_path)
    for one in (processor, AutoProcessor.from_pretrained(tmp_path)):
        padded = one.image_processor(wide, return_tensors="pt")["pixel_values"][0]
        assert padded.shape == cropped.shape
        assert padded[:, 0].abs().max() < 0.05  # a strip of the mean, which is 0 once normalised
        assert torch.allclose(padded[:, 14], cropped[:, 14], atol=1e-3)
    _, other = load_whole(str(place / "qwen2_vl"), "float32")
    assert not pad_to_square(other)


def test_what_cannot_be_trained_on_is_counted(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "pictures", tmp_path / "p")
    (tmp_path / "p/7.png").write_bytes((tmp_path / "p/7.png").read_bytes()[:60])
    asked: list[int] = []
    names = [f"{number}.png" for number in range(8)]
    sizes = picture_sizes(names, tmp_path / "p", tmp_path / "sizes.json", lambda done, all: asked.append(done))
    assert sizes["0.png"] == (50, 30)
    assert isinstance(sizes["7.png"], str)
    assert picture_sizes(names, tmp_path / "p", tmp_path / "sizes.json", lambda done, all: asked.append(0)) == sizes
    assert 0 not in asked
    _, processor = load_whole(str(place / "llava"), "float32")
    from retrieval.conversations import Conversation, Turn

    wordy = Conversation(("1.png",), (Turn("user", "<image>\nHow?"), Turn("assistant", "It is so " * 20)), "tiny")
    blind = Conversation((), (Turn("user", "How?"), Turn("assistant", "So.")), "tiny")
    many = [talk(0), talk(7), wordy, blind]
    found = make_rows(many, tmp_path / "p", sizes, processor, answer_tokens=20)
    assert (len(found.rows), dict(found.left_out)) == (1, {
        "a picture that cannot be read": 1, "no picture": 1, "an answer of more than 20 tokens": 1})  # fmt: skip
    assert "left out: 1 (no picture)" in found.told()
    length = len("user: How is it?assistant: It is dark.") + 4 + 1  # bytes, patches of the picture, </s>
    assert len(make_rows([talk(0)], tmp_path / "p", sizes, processor, max_length=length).rows) == 1
    with pytest.raises(BeholderError, match=f"nothing to train on; left out: 1 .more than {length - 1} tokens"):
        make_rows([talk(0)], tmp_path / "p", sizes, processor, max_length=length - 1)
    pairs = make_rows([talk(0), talk(1, rejected="No.")], tmp_path / "p", sizes, processor, pairs=True)
    assert dict(pairs.left_out) == {"no rejected answer": 1}
    (tmp_path / "p/0.png").unlink()
    with pytest.raises(BeholderError, match="a picture is gone"):
        as_dataset(found.rows)[0]


def test_a_template_that_rewrites_the_past_is_refused(place: Path, tmp_path: Path) -> None:
    forgetful = TEMPLATE.replace("{{ part.text }}", "{{ part.text if loop.last and m == messages[-1] else '' }}")
    write_critic(tmp_path / "m", "llava", forgetful)
    config = replace(settings(place, "gallerygpt"), base=str(tmp_path / "m"))
    with pytest.raises(BeholderError, match="rewrites what was said before"):
        train_critic(config, tmp_path / "run")


def test_a_base_in_the_box_is_kept_by_name_and_found_where_the_box_is(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.language import local_model
    from retrieval.language.chat_exchange import Question
    from retrieval.language.local_vision import LocalVisionModel

    monkeypatch.setattr(local_model, "BOX", place)
    config = replace(settings(place, "gallerygpt", "steps=2"), base="llava")
    model = train_critic(config, tmp_path / "run")
    record = read_trained(model)
    assert record is not None
    assert record.base == "llava"
    shutil.copytree(place / "llava", tmp_path / "box/llava")
    monkeypatch.setattr(local_model, "BOX", tmp_path / "box")
    answers = answers_of(*load_vision_model(str(model), "float32"), place)
    by_path = answers_of(*load_vision_model(str(model), "float32", base=str(place / "llava")), place)
    assert torch.equal(answers, by_path)
    picture = (place / "pictures/1.png").read_bytes()
    assert LocalVisionModel("llava").log_chances(Question("", "Dark?", (picture,)), "", ("yes", "no")) is not None
    (tmp_path / "box/llava/config.json").unlink()
    with pytest.raises(FormatError, match="trained over another llava"):
        load_vision_model(str(model))


def test_a_trained_critic_is_trained_further_in_its_own_way(place: Path, tmp_path: Path) -> None:
    first = train_critic(settings(place, "artgpt4", "steps=6"), tmp_path / "first")
    config = settings(place, "artgpt4", "steps=2", start=str(first))
    before = read_log(tmp_path / "first/sft")
    train_critic(config, tmp_path / "second")
    assert read_log(tmp_path / "second/sft")[0]["loss"] < before[0]["loss"] - 0.5
    with pytest.raises(BeholderError, match="trained by adapter"):
        train_critic(settings(place, "gallerygpt", start=str(first)), tmp_path / "third")
    with pytest.raises(BeholderError, match="nothing that we trained"):
        train_critic(settings(place, "gallerygpt", start=str(place / "llava")), tmp_path / "fourth")


def test_mistakes_get_one_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(place, "gallerygpt")
    for changed, found in (
        ({"conversations": "nowhere.jsonl"}, "there is no file"),
        ({"pictures": str(tmp_path / "nowhere")}, "there is no folder"),
        ({"split": "val"}, "no conversation is in the split val"),
        ({"base": "/nowhere/model"}, "no folder"),
    ):
        with pytest.raises(BeholderError, match=found):
            train_critic(replace(config, **changed), tmp_path / found.replace(" ", "-"))
    shutil.copytree(place / "llava", tmp_path / "plain")
    (tmp_path / "plain/chat_template.jinja").unlink()
    with pytest.raises(BeholderError, match="no chat template"):
        load_whole(str(tmp_path / "plain"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BeholderError, match="more than one process"):
        train_critic(config, tmp_path / "many")


def test_weights_that_a_folder_lacks_are_not_made_up(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(place / "llava", tmp_path / "m")
    state = load_file(tmp_path / "m/model.safetensors")
    gone = next(name for name in sorted(state) if "mlp" in name)
    del state[gone]
    save_file(state, tmp_path / "m/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BeholderError, match=r"lacks weights .*1 in all"):
        load_whole(str(tmp_path / "m"))


def test_a_critic_over_another_base_is_refused_and_a_base_that_moved_can_be_named(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "llava", tmp_path / "base")
    config = replace(settings(place, "gallerygpt", "steps=2"), base=str(tmp_path / "base"))
    model = train_critic(config, tmp_path / "run")
    with pytest.raises(FormatError, match="over another"):
        load_vision_model(str(model), base=str(place / "qwen2_vl"))
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(BeholderError):
        load_vision_model(str(model))
    load_vision_model(str(model), base=str(tmp_path / "moved"))
    record = json.loads((model / "critic.json").read_bytes())
    (model / "critic.json").write_text(json.dumps({**record, "format": 9}))
    with pytest.raises(FormatError, match="format 9"):
        load_vision_model(str(model))


def test_the_verb_trains_and_tells(place: Path, tmp_path: Path) -> None:
    words = ["train", place / "talks.jsonl", "--base", place / "llava", "--pictures", place / "pictures"]
    words += ["--recipe", "gallerygpt", "--set", "steps=2", "--set", "batch=4", "--run", tmp_path / "run"]
    words += ["--threads", 1, "--save-every", 2, "--micro-batch", 2]
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(tmp_path / "run/model")
    assert any("eval_loss" in line for line in read_log(tmp_path / "run/sft"))
