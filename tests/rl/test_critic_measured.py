"""From grounded conversations to a trained critic to its measured truth: what `align critic` leaves is what `bench
critique` asks."""

from pathlib import Path

import pytest
import torch
from tiny_critics import write_critic, write_pictures

from benchmarks.critique.claims import measure_claims
from benchmarks.critique.files import CritiqueConfig
from retrieval.conversations import ASSISTANT, USER, Claim, Conversation, Turn, write_conversations
from rl.critic.config import CriticConfig
from rl.critic.recipes import RECIPES
from rl.critic.train import train_critic

SETTINGS = ["steps=100", "batch=8", "learning_rate=0.01", "projector_learning_rate=0.01", "warmup=0"]


def level(number: int, split: str) -> Conversation:
    says, phrase = ("low", "dark") if number < 4 else ("high", "bright")
    claim = Claim("brightness", says, (0,), (float(number),), phrase)
    turns = (Turn(USER, "<image>\nHow is it?"), Turn(ASSISTANT, f"It is {phrase}.", (claim,)))
    return Conversation((f"{number}.png",), turns, "tiny", split=split, kind="level", id=f"{split}{number}")


def test_a_critic_that_was_trained_on_claims_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    write_critic(tmp_path / "base", "llava")
    write_pictures(tmp_path / "pictures")
    made = [level(number, split) for split in ("train", "val") for number in range(8)]
    write_conversations(tmp_path / "levels.jsonl", made, {})
    recipe = RECIPES["gallerygpt"].recipe.with_settings(SETTINGS)
    config = CriticConfig(
        str(tmp_path / "base"), str(tmp_path / "pictures"), recipe=recipe, recipe_name="gallerygpt",
        conversations=str(tmp_path / "levels.jsonl"), threads=1,
    )  # fmt: skip
    model = train_critic(config, tmp_path / "run")
    torch.set_num_threads(threads)
    asked = CritiqueConfig(
        tmp_path / "levels.jsonl", f"hf:{model}", data=tmp_path / "pictures", max_answer_tokens=16, no_blind=True
    )
    run = measure_claims(asked)
    # A model of a few thousand weights: it has learnt the words, which is what joins the two ends.
    assert run.numbers["coverage"].value > 0.2
    assert str(tmp_path) not in run.command
