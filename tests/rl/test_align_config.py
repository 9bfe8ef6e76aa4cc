"""Settings of an alignment run: checked together, the same in options, JSON and code."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexes.errors import BeholderError
from rl.alignment.cli import HELP
from rl.alignment.config import AlignConfig
from rl.cli import app


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(BeholderError) as error:
        AlignConfig(towers="tetx", loss="dpo", smoothing=0.5, steps=0, alphas=(0.0,))
    for name in ("towers 'tetx'", "loss 'dpo'", "smoothing 0.5", "steps 0", "alphas"):
        assert name in str(error.value)


def test_parts_of_a_step_must_come_out_even() -> None:
    with pytest.raises(BeholderError, match="do not come out even"):
        AlignConfig(queries=32, contrastive_batch=100)


def test_json_round_trip_keeps_every_setting(tmp_path: Path) -> None:
    config = AlignConfig(pictures=("a.index", "b.emb"), alphas=(0.5, 1.0), towers="both", beta=2.0)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert AlignConfig.read(path) == config


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="no setting is called betta"):
        AlignConfig.from_dict({"betta": 1})


def test_help_is_about_settings_that_there_are() -> None:
    assert set(HELP) <= {field.name for field in fields(AlignConfig)}


def test_every_setting_is_an_option() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"], terminal_width=200, env={"COLUMNS": "200"}).output
    for field in fields(AlignConfig):
        if field.name != "preferences":
            assert f"--{field.name.replace('_', '-')}" in shown, field.name


def test_lists_without_their_pictures_are_refused_by_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(tmp_path / "lists.parquet"), "--run", str(tmp_path / "run")])
    assert isinstance(result.exception, BeholderError)
    assert "no folder that holds the pictures" in str(result.exception)
    assert not (tmp_path / "run").exists()
