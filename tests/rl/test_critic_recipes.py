"""Recipes of critics: the published values and their marks, changed by name, checked."""

import pytest
from typer.testing import CliRunner

from indexes.errors import BeholderError
from rl.critic.cli import app
from rl.critic.config import CriticConfig
from rl.critic.recipes import DEFAULT, NAMES, READ, RECIPES, UNVERIFIED, CriticRecipe, PublishedRecipe, told


def test_the_papers_values_and_where_they_come_from() -> None:
    gallery, art, expert = (RECIPES[name] for name in ("gallerygpt", "artgpt4", "aesexpert"))
    assert (gallery.recipe.lora_rank, gallery.recipe.lora_alpha, gallery.recipe.lora_dropout) == (128, 256, 0.05)
    assert (gallery.recipe.epochs, gallery.recipe.batch, gallery.recipe.learning_rate) == (2, 16, 2e-5)
    assert gallery.mark("lora_rank") == gallery.mark("learning_rate") == READ
    assert (art.recipe.steps, art.recipe.batch, art.recipe.adapter_ratio) == (1000, 12, 4)
    assert (art.recipe.first_learning_rate, art.recipe.last_learning_rate) == (1e-6, 1e-5)
    assert art.mark("warmup") == UNVERIFIED
    assert {expert.mark(name) for name in ("learning_rate", "batch", "epochs", "trains")} == {UNVERIFIED}
    assert {one.mark("preference_beta") for one in RECIPES.values()} == {DEFAULT}
    stage = RECIPES["artgpt4-stage1"].recipe
    assert stage.last_learning_rate > stage.learning_rate  # as released


def test_every_value_that_is_used_is_told_once_with_its_mark() -> None:
    for one in RECIPES.values():
        lines = [line.split("\t") for line in told(one)[2:]]
        names = [line[0] for line in lines]
        assert len(set(names)) == len(names)
        assert set(names) <= set(NAMES)
        assert all(line[2] in (READ, DEFAULT, UNVERIFIED) for line in lines)
        assert {"trains", "learning_rate", "batch", "max_length", "precision"} <= set(names)
        assert any(name.startswith("lora") for name in names) == (one.recipe.trains == "lora")
        assert any(name.startswith("adapter") for name in names) == (one.recipe.trains == "adapter")


def test_a_mark_of_no_value_or_two_marks_are_refused() -> None:
    with pytest.raises(BeholderError, match="colour"):
        PublishedRecipe("x", "", "", CriticRecipe(), frozenset({"colour"}))
    with pytest.raises(BeholderError, match="batch"):
        PublishedRecipe("x", "", "", CriticRecipe(), frozenset({"batch"}), frozenset({"batch"}))


def test_values_are_changed_by_name_and_keep_their_type() -> None:
    changed = CriticRecipe().with_settings(["epochs=3", "projector=false", "trains=adapter"])
    assert (changed.epochs, changed.projector, changed.trains) == (3.0, False, "adapter")
    for wrong, found in (("colour=1", "colour"), ("batch", "batch"), ("batch=x", "a value like 16"),
                         ("projector=yes", "true or false"), ("batch=0", "batch 0 is not above 0"),
                         ("trains=half", "none of"), ("epochs=0", "epochs 0"), ("lora_dropout=1", "outside"),
                         ("precision=fp16", "fp16")):  # fmt: skip
        with pytest.raises(BeholderError, match=found):
            CriticRecipe().with_settings([wrong])


def test_settings_that_make_no_sense_are_refused_all_at_once() -> None:
    with pytest.raises(BeholderError, match=r"neither conversations.*precision 'half'"):
        CriticConfig("b", "p", precision="half")
    with pytest.raises(BeholderError, match="no multiple of micro_batch 5"):
        CriticConfig("b", "p", "c", micro_batch=5)


def test_precision_and_checkpointing_follow_the_recipe_on_a_gpu_alone() -> None:
    gpu, cpu = CriticConfig("b", "p", "c", device="cuda"), CriticConfig("b", "p", "c")
    assert (gpu.used_precision, gpu.used_checkpointing) == ("bf16", True)
    assert (cpu.used_precision, cpu.used_checkpointing) == ("fp32", False)
    asked = CriticConfig("b", "p", "c", precision="bf16", checkpointing="on")
    assert (asked.used_precision, asked.used_checkpointing) == ("bf16", True)


def test_the_verb_prints_them_and_the_likeliest_mistakes_are_one_line() -> None:
    runner = CliRunner()
    lines = runner.invoke(app, ["recipes", "gallerygpt"]).output.splitlines()
    assert "lora_rank\t128\tread\ton every linear layer of the language model but its head" in lines
    assert runner.invoke(app, ["recipes"]).output.count("base\t") == len(RECIPES)
    assert "there is no recipe" in str(runner.invoke(app, ["recipes", "gallery"]).exception)
    assert "Example" in runner.invoke(app, ["train", "--help"]).output
    missing = runner.invoke(app, ["train", "--base", "b", "--pictures", "p", "--run", "r"])
    assert "neither CONVERSATIONS" in str(missing.exception)
