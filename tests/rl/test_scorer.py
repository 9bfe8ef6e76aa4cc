"""`align scorer`: the ridge against its normal equations, that only the training split is read, and likely mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.measures.correlation import spearman
from indexes.errors import BeholderError, FormatError
from retrieval.scoring.own_heads import load_head
from retrieval.scoring.scorers import load_scorer
from rl.ridge import choose_penalty, fit_ridge
from rl.scorer import ScorerTraining, standardised, train_scorer


def problem(count: int = 30, width: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(2.0, 3.0, (count, width))
    return inputs, inputs[:, :3] @ np.array([1.0, -2.0, 0.5]) + generator.normal(0, 0.1, count)


@pytest.mark.parametrize("shape", [(30, 50), (50, 5)])
def test_ridge_solves_the_normal_equations_of_standardised_inputs(shape: tuple[int, int]) -> None:
    inputs, targets = problem(*shape)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    for fit in fit_ridge(inputs, targets, [0.1, 10.0, 1000.0]):
        left = standard.T @ standard + fit.penalty * np.eye(shape[1])
        weight = np.linalg.solve(left, standard.T @ (targets - targets.mean()))
        np.testing.assert_allclose(fit(inputs), standard @ weight + targets.mean(), rtol=1e-6, atol=1e-6)


def test_a_large_penalty_predicts_the_mean_and_constant_columns_get_no_weight() -> None:
    inputs, targets = problem()
    inputs[:, 4] = 7.0
    weak, strong = fit_ridge(inputs, targets, [1e-3, 1e12])
    assert weak.weight[4] == strong.weight[4] == 0
    np.testing.assert_allclose(strong(inputs), targets.mean(), atol=1e-4)


def test_scaling_a_column_changes_no_prediction() -> None:
    inputs, targets = problem()
    scaled = inputs * np.linspace(0.1, 40, inputs.shape[1]) + 5
    first, second = (fit_ridge(each, targets, [30.0])[0](each) for each in (inputs, scaled))
    np.testing.assert_allclose(first, second, rtol=1e-8)


def test_held_out_predictions_never_saw_their_target() -> None:
    inputs, targets = problem()
    _, held_out = choose_penalty(inputs, targets, [30.0], lambda row: 0.0, folds=5, seed=1)
    changed = targets.copy()
    changed[7] += 1000.0
    _, after = choose_penalty(inputs, changed, [30.0], lambda row: 0.0, folds=5, seed=1)
    assert after[7] == pytest.approx(held_out[7])
    assert not np.allclose(after, held_out)


def test_the_best_penalty_is_the_one_whose_held_out_predictions_are_best() -> None:
    inputs, targets = problem(200, 300, seed=2)
    penalties = [1.0, 100.0, 1e9]
    best, held_out = choose_penalty(inputs, targets, penalties, lambda row: spearman(row, targets), folds=5, seed=0)
    each = [choose_penalty(inputs, targets, [penalty], lambda row: 0.0, folds=5, seed=0)[1] for penalty in penalties]
    qualities = [spearman(row, targets) for row in each]
    assert best == penalties[int(np.argmax(qualities))]
    np.testing.assert_array_equal(held_out, each[int(np.argmax(qualities))])


def test_scores_are_standardised_within_groups() -> None:
    targets, groups = standardised([1.0, 3.0, 100.0, 300.0], ["a", "a", "b", "b"])
    np.testing.assert_allclose(targets, [-1, 1, -1, 1])
    assert groups is not None
    assert groups.tolist() == [0, 0, 1, 1]
    assert standardised([1.0, 3.0], [])[1] is None
    with pytest.raises(BeholderError, match="a group"):
        standardised([1.0, 1.0, 2.0, 3.0], ["a", "a", "b", "b"])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of train and 6 of test, scored by how red they are; those of test are no pictures at all."""
    folder = tmp_path_factory.mktemp("scored")
    generator = np.random.default_rng(0)
    lines = ["file\tscore\tkind\tsplit"]
    for number in range(46):
        red = int(generator.integers(0, 256))
        pixels = generator.integers(0, 60, (48, 40, 3), dtype=np.uint8)
        pixels[..., 0] = red
        name = f"{number:02d}.png"
        if number < 40:
            Image.fromarray(pixels).save(folder / name)
        else:
            (folder / name).write_bytes(b"training must not read this")
        split = "train" if number < 40 else "test"
        lines.append(f"{name}\t{red / 10}\t{'odd' if number % 2 else 'even'}\t{split}")
    (folder / "items.tsv").write_text("\n".join(lines) + "\n")
    return folder / "items.tsv"


def training(table: Path, out: Path, model: Path, **options: object) -> ScorerTraining:
    plain = {"score_column": "score", "model": str(model), "features": "vectors", "folds": 4}
    return ScorerTraining(table, out, **{**plain, **options})  # type: ignore[arg-type]


def test_a_head_learns_from_the_training_split_alone_and_scores_as_any_scorer(
    table: Path, tmp_path: Path, tiny_model: Path
) -> None:
    trained = train_scorer(training(table, tmp_path / "red", tiny_model))
    assert trained.pictures == 40
    assert trained.spearman > 0.7  # random towers see colour
    assert trained.pair_accuracy > 0.7
    scorer = load_scorer(str(tmp_path / "red"))
    assert (scorer.card.name, scorer.card.unit, scorer.card.kind) == ("red", "score", "vectors")
    manifest = json.loads((tmp_path / "red" / "manifest.json").read_text())
    assert manifest["trained"]["pictures"] == 40
    assert manifest["trained"]["split"] == "train"


def test_training_twice_gives_the_same_bytes(table: Path, tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a", "b"):
        train_scorer(training(table, tmp_path / name, tiny_model, name="same"))
    for file in ("manifest.json", "scorer.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_head_on_the_tower_in_the_box_scores_pixels(table: Path, tmp_path: Path) -> None:
    config = training(table, tmp_path / "red", Path("beholder-mini"), features="tower", group_column="kind")
    trained = train_scorer(config)
    assert trained.spearman > 0.7
    head = load_head(tmp_path / "red")
    pictures = [np.asarray(Image.open(table.parent / f"{number:02d}.png")) for number in range(10)]
    red = np.array([picture[..., 0].mean() for picture in pictures])
    assert spearman(head.score_pictures(pictures).astype(float), red) > 0.7  # type: ignore[union-attr]


def test_likely_mistakes_are_one_line_each(table: Path, tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(FormatError, match="no column 'beauty'"):
        train_scorer(training(table, tmp_path / "x", tiny_model, score_column="beauty"))
    with pytest.raises(BeholderError, match="6 pictures of split test"):
        train_scorer(training(table, tmp_path / "x", tiny_model, split="test"))
    with pytest.raises(FormatError, match="a finite number"):
        train_scorer(training(table, tmp_path / "x", tiny_model, score_column="kind"))
    with pytest.raises(BeholderError, match="features 'both'"):
        training(table, tmp_path / "x", tiny_model, features="both")
    with pytest.raises(BeholderError, match=r"40\.png"):
        train_scorer(training(table, tmp_path / "x", tiny_model, split=""))
    assert not (tmp_path / "x").exists()
