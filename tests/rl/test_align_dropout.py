"""Dropout before the heads: there in training, and nowhere else."""

from dataclasses import replace
from pathlib import Path

from align_tiny import make_run

from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align


def test_dropout_before_the_heads_changes_what_is_learnt_and_no_measurement(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    plain = make_run(tmp_path, tiny_model, tiny_captions, text_lr=0.0, alphas=(1.0,), max_retention_loss=100.0)
    runs = [replace(plain, drop_input=0.5), replace(plain, drop_hidden=0.5), plain, plain]
    made = [align(config, tmp_path / f"run-{number}", None) for number, config in enumerate(runs)]
    weights = [load_encoder(str(one.model)).model.state_dict()["text.proj.0.weight"] for one in made]
    assert weights[2].equal(weights[3])
    assert not weights[0].equal(weights[2])
    assert not weights[1].equal(weights[2])
    assert made[0].base == made[2].base
