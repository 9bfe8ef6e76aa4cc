"""Training ends with the same weights however it was interrupted, and data parallel changes no gradient."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from indexes.errors import BeholderError
from retrieval.encoding.encoders import load_encoder
from rl.cli import app
from rl.losses import contrastive_loss
from rl.pretraining.config import PretrainConfig
from rl.pretraining.gradient import backward
from rl.pretraining.last_heads import pretrain_all
from rl.pretraining.pretrain import pretrain
from rl.towers import Towers, head_dropout

WEIGHTS = Path("model") / "open_clip_model.safetensors"


def settings(captions: Path) -> PretrainConfig:
    return PretrainConfig(
        sources=(str(captions),), dev_source=str(captions), head_epochs=2, head_batch=8, head_captions=2,
        tune_epochs=3, tune_batch=6, chunk=3, checkpoint_every=1, threads=1,
    )  # fmt: skip


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("frozen_blocks", [0, 2])
def test_an_interrupted_run_resumed_has_the_weights_of_a_straight_run(
    tiny_model: Path, tiny_captions: Path, tmp_path: Path, frozen_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(settings(tiny_captions), image_frozen_blocks=frozen_blocks)
    pretrain(tiny_model, tmp_path, tmp_path / "straight", config)
    from rl.pretraining import pretrain as module

    write = module.write_checkpoint
    for stop_at in (0, 2, 5):

        def stopping(folder: Path, state: dict[str, object], stop_at: int = stop_at) -> None:
            write(folder, state)
            if state["step"] == stop_at:
                raise Killed

        monkeypatch.setattr(module, "write_checkpoint", stopping)
        with pytest.raises(Killed):
            pretrain(tiny_model, tmp_path, tmp_path / "resumed", config)
    monkeypatch.setattr(module, "write_checkpoint", write)
    pretrain(tiny_model, tmp_path, tmp_path / "resumed", config)
    straight = (tmp_path / "straight" / WEIGHTS).read_bytes()
    assert straight == (tmp_path / "resumed" / WEIGHTS).read_bytes()
    assert straight != (tiny_model / WEIGHTS.name).read_bytes()
    assert load_encoder(str(tmp_path / "straight" / "model")).width == 8


def test_a_third_stage_is_the_heads_alone_over_whole_sources(
    tiny_model: Path, tiny_captions: Path, tmp_path: Path
) -> None:
    config = replace(settings(tiny_captions), sources=(f"{tiny_captions}*0.5",), tune_epochs=1, last_head_epochs=2)
    config = replace(config, last_head_within=(f"{tiny_captions}*0.2",))
    report, model = pretrain_all(tiny_model, tmp_path, tmp_path / "run", config)
    assert model == tmp_path / "run" / "last" / "model"
    tuned, last = (load_file(folder / WEIGHTS.name) for folder in (tmp_path / "run" / "model", model))
    moved = {name for name in tuned if not torch.equal(tuned[name], last[name])}
    assert moved
    assert all(name.startswith(("visual.head.", "text.proj.", "logit_")) for name in moved)
    again = replace(settings(tiny_captions), head_epochs=2, tune_epochs=0, head_within=(f"{tiny_captions}*0.2",))
    pretrain(tmp_path / "run" / "model", tmp_path, tmp_path / "by-hand", again)
    assert (tmp_path / "by-hand" / WEIGHTS).read_bytes() == (model / WEIGHTS.name).read_bytes()
    assert pretrain_all(tiny_model, tmp_path, tmp_path / "run", config)[0].tuned == report.tuned


def test_other_settings_do_not_continue_a_run(tiny_model: Path, tiny_captions: Path, tmp_path: Path) -> None:
    config = replace(settings(tiny_captions), tune_epochs=1)
    pretrain(tiny_model, tmp_path, tmp_path / "run", config)
    with pytest.raises(BeholderError, match="another image_lr"):
        pretrain(tiny_model, tmp_path, tmp_path / "run", replace(config, image_lr=1e-3))


def test_frozen_blocks_and_word_vectors_stay_and_the_rest_moves(
    tiny_model: Path, tiny_captions: Path, tmp_path: Path
) -> None:
    config = replace(settings(tiny_captions), image_frozen_blocks=2, image_lr=1e-2, text_lr=1e-2, patch_drop=0.0)
    pretrain(tiny_model, tmp_path, tmp_path / "run", config)
    before, after = load_file(tiny_model / WEIGHTS.name), load_file(tmp_path / "run" / WEIGHTS)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert "text.transformer.embeddings.word_embeddings.weight" in still
    assert "visual.trunk.patch_embed.proj.weight" in still
    assert {name for name in before if ".blocks.0." in name or ".blocks.1." in name} <= still
    assert not {name for name in still if ".blocks.5." in name and name.endswith("weight") and "norm" not in name}
    assert "visual.head.mlp.fc1.weight" not in still


@pytest.mark.parametrize("frozen_blocks", [0, 3])
def test_the_towers_in_parts_are_open_clips_own_encoder(tiny_model: Path, frozen_blocks: int) -> None:
    encoder = load_encoder(str(tiny_model))
    towers = Towers(encoder, frozen_blocks, patch_drop=0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)
    words = ["red square", "a picture of something bright"]
    with torch.inference_mode(), head_dropout(towers, 0.5, 0.5):
        images = towers.image_head(towers.image_features(towers.image_states(torch.from_numpy(pixels))))
        texts = towers.text_head(towers.text_features(encoder.tokenize(words)))
    for ours, theirs in ((images, encoder.encode_images(pixels)), (texts, encoder.encode_texts(words))):
        unit = torch.nn.functional.normalize(ours, dim=-1).numpy()
        np.testing.assert_allclose(unit, theirs, atol=2e-6)  # float32 rounding of another order of sums


def linear_step(chunks: list[torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of a linear model on pairs (x, 2x + 1) given in chunks, over all processes."""
    generator = torch.Generator().manual_seed(3)
    weights = [torch.nn.Parameter(torch.randn(4, 5, generator=generator)) for _ in range(2)]
    scale = torch.nn.Parameter(torch.tensor(2.0))

    def encode(chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = chunks[chunk]
        return (
            torch.nn.functional.normalize(x @ weights[0], dim=-1),
            torch.nn.functional.normalize((2 * x + 1) @ weights[1], dim=-1),
        )

    def loss(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(images, texts, scale.exp(), None, 0.1)

    value = backward(encode, list(range(len(chunks))), loss, [scale], [*weights, scale])
    return value, [parameter.grad for parameter in [*weights, scale] if parameter.grad is not None]


def rows() -> torch.Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(4))


def test_chunks_give_the_gradient_of_the_whole_batch() -> None:
    whole_value, whole = linear_step([rows()])
    value, chunked = linear_step(list(rows().split(3)))
    assert value == pytest.approx(whole_value, rel=1e-6)
    for ours, theirs in zip(chunked, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


PROCESS = """
import sys, torch
sys.path[:0] = [sys.argv[1], sys.argv[4]]
from torch import distributed
import test_pretrain
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.save(test_pretrain.linear_step(list(test_pretrain.rows()[rank * 4 : rank * 4 + 4].split(int(sys.argv[3])))),
           f"{sys.argv[2]}/{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("chunk", [4, 2])
def test_two_processes_give_the_loss_and_gradient_of_one_on_the_doubled_batch(tmp_path: Path, chunk: int) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
    command += [str(Path(__file__).parent), str(tmp_path), str(chunk), str(Path(__file__).parents[2])]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    value, gradients = linear_step([rows()])
    for rank in (0, 1):
        other_value, others = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert other_value == pytest.approx(value, rel=1e-6)
        for ours, theirs in zip(others, gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_settings_are_checked_together_and_survive_json() -> None:
    config = PretrainConfig(sources=("flickr8k",), smoothing=0.2)
    assert PretrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(BeholderError, match=r"smoothing 1\.5.*image_lr -1"):
        PretrainConfig(smoothing=1.5, image_lr=-1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "beholder-maxi"], "no recipe"),
        (["--set", "smoothng=.1"], "--set smoothng"),
        (["--set", "tune_epochs=many"], "tune_epochs=many"),
        ([], "no model to train"),
        (["--recipe", "beholder-mini"], "--weights"),
    ],
)
def test_likely_mistakes_get_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["pretrain", str(tmp_path / "run"), "--data", str(tmp_path), *arguments])
    assert isinstance(result.exception, BeholderError)
    assert told in str(result.exception)


def test_the_command_trains_and_says_where(tiny_model: Path, tiny_captions: Path, tmp_path: Path) -> None:
    arguments = ["pretrain", str(tmp_path / "run"), "--data", str(tmp_path), "--start", str(tiny_model)]
    for setting in (f"sources={tiny_captions}", f"dev_source={tiny_captions}", "head_epochs=1", "tune_epochs=0"):
        arguments += ["--set", setting]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / WEIGHTS).is_file()
    assert "dev hit_rate@10" in result.stdout
