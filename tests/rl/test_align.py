"""A run of alignment: what moves and what does not, the same however it is split or interrupted, inside its budget."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from align_tiny import make_run
from safetensors.torch import load_file
from typer.testing import CliRunner

from benchmarks.runs import read_run
from indexes.errors import BeholderError, ConditionFailed, FormatError
from retrieval.encoding.encoders import load_encoder
from retrieval.sources.images import decode, fit
from rl.alignment import trainer as align_trainer
from rl.alignment.align import align, prepare
from rl.alignment.config import LOSSES, AlignConfig
from rl.alignment.speed import Speed
from rl.alignment.trainer import last_checkpoint, reward_sums
from rl.cli import app
from rl.preferences import read_preferences, write_preferences


def final(run: Path) -> dict[str, torch.Tensor]:
    """The trained weights after the last step."""
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None
    return load_file(checkpoint / "trained.safetensors")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "open_clip_model.safetensors")


def logged(run: Path) -> list[dict[str, float]]:
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None
    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [line for line in history if "loss" in line]


@pytest.fixture
def tiny_run(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> AlignConfig:
    return make_run(tmp_path, tiny_model, tiny_captions)


@pytest.mark.parametrize(("towers", "still"), [("text", "visual."), ("image", "text."), ("both", "logit_")])
def test_only_the_chosen_towers_move(
    tmp_path: Path, tiny_run: AlignConfig, tiny_model: Path, towers: str, still: str
) -> None:
    report = align(replace(tiny_run, towers=towers), tmp_path / "run")
    before, after = weights(tiny_model), weights(report.model)
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved
    assert not any(name.startswith((still, "logit_")) or "word_embeddings" in name for name in moved)
    if towers == "both":
        assert {name.partition(".")[0] for name in moved} == {"visual", "text"}


def test_the_first_step_starts_at_the_reference(tmp_path: Path, tiny_run: AlignConfig) -> None:
    """Policy = reference: log 2 for DPO whatever the smoothing, 1 / (4 beta^2) for IPO, 1 for the hinge."""
    for loss, value in (("ranked-dpo", math.log(2)), ("ipo", 1.0), ("hinge", 1.0)):
        align(replace(tiny_run, loss=loss, beta=0.5), tmp_path / loss)
        first = logged(tmp_path / loss)[0]
        assert first["step"] == 1
        assert first["loss/preference"] == pytest.approx(value, abs=1e-4)
        assert first["loss"] == pytest.approx(first["loss/preference"] + first["loss/contrastive"], rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_a_list_by_heart(tmp_path: Path, tiny_run: AlignConfig, loss: str) -> None:
    """The list to learn is the one to choose by: a random order of pictures turns into the preferred one."""
    one = tmp_path / "one.parquet"
    write_preferences(one, read_preferences(Path(tiny_run.preferences)).lists[:1], {})
    heart = replace(tiny_run, loss=loss, preferences=str(one), dev_preferences=str(one), beta=0.1, smoothing=0.0)
    heart = replace(heart, contrastive_weight=0.0, captions=(), queries=1, contrastive_batch=1, towers="both")
    report = align(replace(heart, steps=40, evaluate_every=40, alphas=(1.0,)), tmp_path / "run")
    assert report.tuned["pair_accuracy"] >= max(90, report.base["pair_accuracy"] + 10)


def test_micro_batches_add_up_to_the_step(tmp_path: Path, tiny_run: AlignConfig) -> None:
    plain = replace(tiny_run, contrastive_weight=0.0, anchor_weight=1.0)  # an anchor holds each row by itself
    align(plain, tmp_path / "one")
    align(replace(plain, accumulate=4), tmp_path / "four")
    one, four = final(tmp_path / "one"), final(tmp_path / "four")
    for name in one:
        torch.testing.assert_close(four[name], one[name], atol=1e-4, rtol=0)
    for a, b in zip(logged(tmp_path / "one"), logged(tmp_path / "four"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)


def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path, tiny_run: AlignConfig) -> None:
    """Contrastive features are gathered, queries are counted over both: the same curve and the same weights."""
    tiny_run = replace(tiny_run, anchor_weight=1.0)
    (tmp_path / "run.json").write_text(json.dumps(tiny_run.to_dict()))
    align(tiny_run, tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--"]
    command += ["retrieval", "align", "train", "--config", str(tmp_path / "run.json"), "--run", str(tmp_path / "two")]
    command += ["--out", str(tmp_path / "two.json")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("dev hit_rate@10") == 1
    assert "dev hit_rate@10: aligned" in read_run(tmp_path / "two.json").numbers
    for a, b in zip(logged(tmp_path / "one"), logged(tmp_path / "two"), strict=True):
        for name in ("loss", "loss/preference", "loss/contrastive", "loss/anchor", "rewards/margins"):
            assert b[name] == pytest.approx(a[name], abs=2e-4), (name, a["step"])
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)
    assert (tmp_path / "two" / "model" / "manifest.json").is_file()


class Interrupted(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, tiny_run: AlignConfig) -> None:
    longer = replace(tiny_run, steps=9, tower_dropout=True, lora_rank=2, logit_anchor_weight=0.1)
    whole = align(longer, tmp_path / "whole")

    def stop(line: str) -> None:
        if line.startswith("step 5/9: loss"):
            raise Interrupted

    with pytest.raises(Interrupted):
        align(longer, tmp_path / "cut", say=stop)
    again = align(longer, tmp_path / "cut")
    one, other = final(tmp_path / "whole"), final(tmp_path / "cut")
    assert all(other[name].equal(one[name]) for name in one)
    assert (tmp_path / "whole/evaluations.json").read_bytes() == (tmp_path / "cut/evaluations.json").read_bytes()
    names = sorted(file.name for file in whole.model.iterdir())
    assert names == sorted(file.name for file in again.model.iterdir())
    assert all((whole.model / name).read_bytes() == (again.model / name).read_bytes() for name in names)


def test_a_checkpoint_cut_short_is_not_resumed(tmp_path: Path, tiny_run: AlignConfig) -> None:
    align(tiny_run, tmp_path / "run")
    (tmp_path / "run/checkpoint-6/complete").unlink()
    found = last_checkpoint(tmp_path / "run")
    assert found is not None
    assert found.name == "checkpoint-3"


def test_a_finished_run_is_not_trained_again(tmp_path: Path, tiny_run: AlignConfig) -> None:
    first = align(tiny_run, tmp_path / "run")
    said: list[str] = []
    second = align(tiny_run, tmp_path / "run", say=said.append)
    assert second.tuned == first.tuned
    assert not any("loss" in line for line in said)


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, tiny_run: AlignConfig) -> None:
    align(tiny_run, tmp_path / "run")
    with pytest.raises(FormatError, match="begun with another beta"):
        align(replace(tiny_run, beta=2.0), tmp_path / "run")


def test_a_full_disk_loses_nothing(tmp_path: Path, tiny_run: AlignConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = align(tiny_run, tmp_path / "whole")
    write = align_trainer.write_tensors

    def full(path: Path, state: dict[str, torch.Tensor]) -> None:
        if path.parent.name == "checkpoint-6":
            raise OSError(28, "No space left on device")
        write(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(align_trainer, "write_tensors", full)
        with pytest.raises(BeholderError, match=r"No space left.*goes on from checkpoint-3"):
            align(tiny_run, tmp_path / "run")
    assert not (tmp_path / "run/checkpoint-6").exists()
    again = align(tiny_run, tmp_path / "run")
    assert all(a.equal(weights(whole.model)[name]) for name, a in weights(again.model).items())


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, tiny_run: AlignConfig) -> None:
    with pytest.raises(BeholderError, match=r"the loss is nan after step|the loss is inf after step"):
        align(replace(tiny_run, head_lr=1e30, max_gradient=1e30, warmup=0.0), tmp_path / "run")


def test_a_run_over_its_budget_stops_early_and_fails(tmp_path: Path, tiny_run: AlignConfig) -> None:
    """A budget that asks for a gain of 100 points is never met."""
    strict = replace(tiny_run, max_retention_loss=-100.0, steps=12, patience=2)
    said: list[str] = []
    with pytest.raises(ConditionFailed, match="every weight tried loses more"):
        align(strict, tmp_path / "run", say=said.append)
    assert any(line.startswith("stopped") for line in said)
    assert [one["step"] for one in json.loads((tmp_path / "run/evaluations.json").read_text())["steps"]] == [3, 6]
    assert json.loads((tmp_path / "run/report.json").read_text())["chosen"] is None
    with pytest.raises(ConditionFailed):  # again: it has stopped, and trains no further
        align(strict, tmp_path / "run")
    assert last_checkpoint(tmp_path / "run") == tmp_path / "run/checkpoint-6"


def test_the_best_weights_inside_the_budget_are_kept(tmp_path: Path, tiny_run: AlignConfig) -> None:
    """Chosen by a figure of one's own that is highest at the first evaluation."""
    calls: list[int] = []

    def falling(encoder: object) -> dict[str, float]:
        calls.append(len(calls))
        return {"mine": -float(len(calls))}

    report = align(replace(tiny_run, alphas=(1.0,)), tmp_path / "run", extra=falling, select="mine")
    assert report.step == 3
    kept, at_three = load_file(tmp_path / "run/best.safetensors"), tmp_path / "run/checkpoint-3/trained.safetensors"
    assert all(value.equal(load_file(at_three)[name]) for name, value in kept.items())


def test_rewards_by_hand() -> None:
    """Rewards (.3, -.1, -.1) of a chain 1 > 2 > 3: chosen .3 + .3 - .1, rejected -.1 - .1 - .1 over three pairs."""
    policy, reference = torch.tensor([[6.0, 5.6, 5.0]]), torch.tensor([[5.4, 5.8, 5.2]])
    prefer = torch.tensor([[[False, True, True], [False, False, True], [False, False, False]]])
    found = {name: value.item() for name, value in reward_sums(0.5, policy, reference, prefer).items()}
    wanted = {"rewards/chosen": 0.5, "rewards/rejected": -0.3, "rewards/margins": 0.8}
    wanted |= {"rewards/accuracies": 2, "pairs": 3}
    assert found == pytest.approx(wanted)


def test_adapters_alone_move_and_are_added_into_plain_weights(tmp_path: Path, tiny_run: AlignConfig) -> None:
    config = replace(tiny_run, lora_rank=2, head_lr=0.0, text_lr=1e-2, alphas=(1.0,))
    report = align(config, tmp_path / "run")
    assert all(".lora_" in name for name in final(tmp_path / "run"))
    ready = prepare(config, None, tmp_path / "run/cache", lambda line: None)
    ready.model.load_trained(load_file(tmp_path / "run/best.safetensors"))
    said = ["a red square", "something dark"]
    with torch.no_grad():
        adapted = ready.model.eval().text_vectors(ready.encoder.tokenize(said)).numpy()
    plain = load_encoder(str(report.model)).encode_texts(said)
    base = load_encoder(config.base).encode_texts(said)
    np.testing.assert_allclose(plain, adapted, atol=2e-3)  # stored in float16
    assert np.abs(plain - base).max() > 0.01


def test_a_frozen_text_tower_trains_its_head_alone(tmp_path: Path, tiny_run: AlignConfig) -> None:
    align(replace(tiny_run, text_lr=0.0), tmp_path / "run")
    assert all(name.startswith("clip.text.proj.") for name in final(tmp_path / "run"))


def test_nothing_to_train_is_said(tmp_path: Path, tiny_run: AlignConfig) -> None:
    with pytest.raises(BeholderError, match="nothing is trained"):
        align(replace(tiny_run, text_lr=0.0, head_lr=0.0), tmp_path / "run")


def test_the_command_repeats_a_run_from_its_file(tmp_path: Path, tiny_run: AlignConfig) -> None:
    first = align(tiny_run, tmp_path / "first")
    arguments = ["train", "--config", str(tmp_path / "first/config.json"), "--run", str(tmp_path / "second")]
    arguments += ["--out", str(tmp_path / "second.json")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "dev pair_accuracy" in result.stdout
    found = read_run(tmp_path / "second.json")
    assert found.numbers["dev hit_rate@10: aligned"].value == pytest.approx(first.tuned["hit_rate@10"] / 100)
    assert found.numbers["dev kendall_tau: base"].value == pytest.approx(first.base["kendall_tau"])
    assert "--queries 4 " in found.command + " "
    assert str(tmp_path) not in found.command  # names of the machine stay here
    again = tmp_path / "second/model"
    assert all(value.equal(weights(again)[name]) for name, value in weights(first.model).items())


def test_seeds_are_runs_of_their_own_with_mean_and_interval(tmp_path: Path, tiny_run: AlignConfig) -> None:
    (tmp_path / "run.json").write_text(json.dumps(tiny_run.to_dict()))
    arguments = ["train", "--config", str(tmp_path / "run.json"), "--run", str(tmp_path / "runs"), "--seeds", "0,1"]
    arguments += ["--out", str(tmp_path / "seeds.json")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "2 seeds" in result.stdout
    figures = json.loads((tmp_path / "runs/seeds.json").read_text())["figures"]
    reports = [json.loads((tmp_path / f"runs/seed-{seed}/report.json").read_text())["chosen"] for seed in (0, 1)]
    values = [report["hit_rate@10"] for report in reports]
    assert figures["hit_rate@10"]["mean"] == pytest.approx(sum(values) / 2)
    # Student's t of one degree of freedom: 12.706 * s / sqrt(2), s = |a - b| / sqrt(2)
    number = read_run(tmp_path / "seeds.json").numbers["dev hit_rate@10: aligned"]
    assert number.value == pytest.approx(sum(values) / 200)
    assert number.n == 2
    assert figures["hit_rate@10"]["half"] == pytest.approx(12.706 * abs(values[0] - values[1]) / 2, rel=1e-3)


def test_speed_of_a_step_is_printed(tmp_path: Path, tiny_run: AlignConfig) -> None:
    arguments = ["speed", tiny_run.preferences, "--cache", str(tmp_path / "speed"), "--repeats", "3", "--queries", "4"]
    for name in ("base", "pictures", "captions", "dev_source"):
        value = getattr(tiny_run, name)
        arguments += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else value[0]]
    result = CliRunner().invoke(app, [*arguments, "--contrastive-batch", "8", "--out", str(tmp_path / "s.json")])
    assert result.exit_code == 0, result.output
    share = read_run(tmp_path / "s.json").numbers["collation, losses and log, of a step"]
    assert share.value < 1  # below 0 where the noise is larger: not cut
    assert share.n == 3
    assert share.low is not None
    assert share.low <= share.value
    assert "% of a step (" in result.stdout


def test_the_share_of_a_step_is_paired_and_may_be_below_0() -> None:
    share = Speed(whole=(2.0, 4.0, 1.0), towers=(1.5, 3.0, 1.1)).overhead
    assert share.mean == 0.25  # the middle of 1/4, 1/4 and -1/10
    assert share.low == pytest.approx(-0.1)
    assert share.high == 0.25


def test_curves_are_written_for_tensorboard(tmp_path: Path, tiny_run: AlignConfig) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is the extra train")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    align(replace(tiny_run, tensorboard=True), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    found = set(events.Tags()["scalars"])
    assert {"train/loss", "train/rewards/margins", "eval/pair_accuracy", "eval/base_hit_rate@10"} <= found


@pytest.mark.campaign
def test_runs_killed_at_any_moment_end_with_the_same_bytes(tmp_path: Path, tiny_run: AlignConfig) -> None:
    """SIGKILL, not an exception: between steps, in the middle of an evaluation, while a checkpoint is written."""
    config = replace(tiny_run, steps=12, tower_dropout=True)
    (tmp_path / "run.json").write_text(json.dumps(config.to_dict()))
    whole = align(config, tmp_path / "whole")
    command = [sys.executable, "-m", "retrieval", "align", "train", "--config", str(tmp_path / "run.json")]
    command += ["--run", str(tmp_path / "killed")]
    seconds, kills = 1.0, 0
    for _ in range(40):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)  # kills on time
            assert done.returncode == 0, done.stderr[-2000:]
            break
        except subprocess.TimeoutExpired:
            kills, seconds = kills + 1, seconds * 1.3
    assert kills >= 3
    assert all(a.equal(weights(whole.model)[name]) for name, a in weights(tmp_path / "killed/model").items())
    one, other = tmp_path / "whole/evaluations.json", tmp_path / "killed/evaluations.json"
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("towers", ["text", "image", "both"])
def test_a_strong_anchor_holds_captions_where_the_base_has_them(
    tmp_path: Path, tiny_run: AlignConfig, towers: str
) -> None:
    """The logged value is 0 at first; a heavy one keeps captions' vectors, which free training moves."""
    free = replace(tiny_run, towers=towers, contrastive_weight=0.0, alphas=(1.0,), steps=12, dev_share=0.0)
    held = replace(free, anchor_weight=1000.0)
    said = [line.split("\t")[1] for line in Path(tiny_run.captions[0]).read_text().splitlines()[1:]]
    base = load_encoder(tiny_run.base)
    files = sorted(Path(tiny_run.captions[0]).parent.glob("*.png"))
    pixels = np.stack([fit(decode(file.read_bytes()), base.preprocessing) for file in files])
    moved = {}
    for name, config in (("free", free), ("held", held)):
        tuned = load_encoder(str(align(config, tmp_path / name).model))
        texts = np.square(tuned.encode_texts(said) - base.encode_texts(said)).sum(1).mean()
        pictures = np.square(tuned.encode_images(pixels) - base.encode_images(pixels)).sum(1).mean()
        moved[name] = texts if towers == "text" else pictures if towers == "image" else texts + pictures
    assert moved["held"] < moved["free"] / 2
    first = logged(tmp_path / "held")[0]
    assert first["loss/anchor"] == pytest.approx(0, abs=1e-5)
    assert first["loss"] == pytest.approx(first["loss/preference"] + 1000 * first["loss/anchor"], rel=1e-3)


@pytest.mark.parametrize("towers", ["text", "image", "both"])
def test_a_strong_logit_anchor_orders_the_gallery_for_a_query_as_the_base_does_for_its_reference(
    tmp_path: Path, tiny_run: AlignConfig, towers: str
) -> None:
    """Beside free training the logits of queries vary less around those of the base, given the list's reference."""
    lists = read_preferences(Path(tiny_run.preferences)).lists
    referred = [replace(one, reference=lists[number - 1].query) for number, one in enumerate(lists)]
    write_preferences(tmp_path / "referred.parquet", referred, {"made": "at random"})
    tiny_run = replace(tiny_run, preferences=str(tmp_path / "referred.parquet"), dev_share=0.0)
    free = replace(tiny_run, towers=towers, contrastive_weight=0.0, alphas=(1.0,), steps=12)
    held = replace(free, logit_anchor_weight=1000.0)
    base = load_encoder(tiny_run.base)
    scale = float(base.model.logit_scale.detach().exp())
    files = sorted(Path(tiny_run.captions[0]).parent.glob("*.png"))
    pixels = np.stack([fit(decode(file.read_bytes()), base.preprocessing) for file in files])
    wanted = scale * base.encode_texts([one.reference for one in referred]) @ base.encode_images(pixels).T
    spread = {}
    for name, config in (("free", free), ("held", held)):
        tuned = load_encoder(str(align(config, tmp_path / name).model))
        found = scale * tuned.encode_texts([one.query for one in referred]) @ tuned.encode_images(pixels).T
        spread[name] = float((found - wanted).var(axis=1).mean())
    assert spread["held"] < 0.8 * spread["free"]
    first = logged(tmp_path / "held")[0]
    assert first["loss/logit_anchor"] > 0  # the query is not its reference
    assert first["loss"] == pytest.approx(first["loss/preference"] + 1000 * first["loss/logit_anchor"], rel=1e-3)


def test_a_list_whose_reference_is_its_query_trains_as_one_without(tmp_path: Path, tiny_run: AlignConfig) -> None:
    lists = read_preferences(Path(tiny_run.preferences)).lists
    said = [replace(one, reference=one.query) for one in lists]
    write_preferences(tmp_path / "said.parquet", said, {"made": "at random"})
    align(tiny_run, tmp_path / "one")
    align(replace(tiny_run, preferences=str(tmp_path / "said.parquet")), tmp_path / "other")
    one, other = final(tmp_path / "one"), final(tmp_path / "other")
    assert all(other[name].equal(one[name]) for name in one)
