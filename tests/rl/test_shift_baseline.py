"""`align shift`: the best constant shift inside the budget, and what of a tuned encoder is such a shift."""

from pathlib import Path

import numpy as np
import pytest
from align_tiny import make_run
from typer.testing import CliRunner

from indexes.errors import BeholderError
from indexes.records.shards import Embeddings
from rl.alignment.align import align, prepare
from rl.alignment.shift import direction_of_pairs, shifted
from rl.alignment.shift_baseline import measure_shift
from rl.cli import app
from rl.grids import level_chain, level_prefer, pairs_of
from rl.preferences import PreferenceList, write_preferences


def quiet(line: str) -> None:
    pass


def lists_of_one_taste(path: Path, embeddings: Path) -> Path:
    """Whatever is asked, pictures are liked by their first coordinate: a constant shift knows all there is to know."""
    held = Embeddings(embeddings)
    vectors = np.concatenate([np.array(rows, np.float32) for _, rows in held.blocks()])
    sha256s, generator, lists = held.items().column("sha256").to_pylist(), np.random.default_rng(0), []
    for number in range(40):
        drawn = generator.choice(len(sha256s), 5, replace=False)
        levels = vectors[drawn, 0].astype(float)
        better, worse = pairs_of(level_prefer(levels))
        chains = tuple(tuple(chain) for chain in level_chain(levels))
        names = tuple(sha256s[place] for place in drawn)
        lists.append(PreferenceList(f"a red thing {number}", names, tuple(better), tuple(worse), chains))
    write_preferences(path, lists, {})
    return path


def test_a_taste_that_is_one_direction_is_found(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    lists = lists_of_one_taste(tmp_path / "taste.parquet", Path(config.pictures[0]))
    config = make_run(tmp_path, tiny_model, tiny_captions, preferences=str(lists))
    report = measure_shift(config, None, tmp_path / "cache", quiet, lams=(0.0, 1.0, 50.0))
    assert report.tried[0].figures == pytest.approx(report.base, abs=1e-4)  # lam 0 is the base
    assert report.chosen is not None
    assert report.chosen.lam > 0
    assert report.chosen.figures["pair_accuracy"] > 85
    # By hand: the shift's figures are those of its vectors
    ready = prepare(config, None, tmp_path / "cache", quiet)
    rows = [ready.measured.picture_vectors(ready.model, one.pictures) for one in ready.data.train]
    pairs = [(vectors, one.prefer) for vectors, one in zip(rows, ready.data.train, strict=True)]
    direction = direction_of_pairs(pairs, report.chosen.ridge)
    right = []
    for one in ready.data.dev:
        query = shifted(ready.encoder.encode_texts([ready.data.texts[one.query]]), direction, report.chosen.lam)[0]
        scores = ready.measured.picture_vectors(ready.model, one.pictures) @ query
        right.append(np.mean([scores[i] > scores[j] for i, j in np.argwhere(one.prefer)]))
    assert report.chosen.figures["pair_accuracy"] == pytest.approx(100 * np.mean(right), abs=0.5)


def test_a_budget_that_no_shift_keeps(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, max_retention_loss=-100.0)
    assert measure_shift(config, None, tmp_path / "cache", quiet).chosen is None


def test_the_command_tells_the_share_of_a_tuned_encoder(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, alphas=(1.0,), dev_share=0.5)
    tuned = align(config, tmp_path / "run").model
    arguments = ["shift", config.preferences, "--pictures", config.pictures[0], "--base", config.base]
    arguments += ["--dev-source", config.dev_source, "--cache", str(tmp_path / "cache"), "--aligned", str(tuned)]
    done = CliRunner().invoke(app, [*arguments, "--max-retention-loss", "100"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "dev pair_accuracy" in done.stdout
    assert "one shared vector explains" in done.stdout
    with pytest.raises(BeholderError, match="is not there"):
        CliRunner().invoke(app, ["shift", "none.parquet", *arguments[2:]], catch_exceptions=False)
