"""CHECKPOINT folders: an open_clip folder that search takes at once; a partial one gives the same vectors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from align_tiny import make_run
from safetensors.torch import load_file, save_file

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import record_file
from indexes.records.shards import Embeddings
from retrieval.encoding.checkpoints import is_partial, read_checkpoint_manifest
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import AlignReport, align
from rl.alignment.interpolate import between, choose, sweep
from rl.alignment.retention import Budget, over_budget

SAID = ["a red square", "something dark", "a"]
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_captions: Path) -> dict[str, AlignReport]:
    """A text tower tuned twice alike, written whole and partial."""
    folder = tmp_path_factory.mktemp("checkpoints")
    config = make_run(folder, tiny_model, tiny_captions, alphas=(1.0,))
    return {
        name: align(replace(config, partial=name == "partial"), folder / name, cache=folder / "cache")
        for name in ("whole", "partial")
    }


def test_a_checkpoint_says_what_it_is(runs: dict[str, AlignReport], tiny_model: Path) -> None:
    content = read_checkpoint_manifest(runs["whole"].model)
    base = load_encoder(str(tiny_model)).record
    assert content is not None
    assert content["kind"] == "beholder-checkpoint"
    assert content["base"]["text_fingerprint"] == base.text_fingerprint
    assert content["towers"] == ["text"]
    assert content["recipe"]["beta"] == 0.5
    assert content["metrics"]["after"] == pytest.approx(runs["whole"].tuned)
    assert str(tiny_model.parent) not in json.dumps(content)  # no path of this machine
    made = load_encoder(str(runs["whole"].model)).record
    assert (made.text_fingerprint, made.image_fingerprint) == (content["text_fingerprint"], base.image_fingerprint)


def test_whoever_may_read_the_manifest_may_read_the_weights(runs: dict[str, AlignReport]) -> None:
    for report in runs.values():
        assert (report.model / WEIGHTS).stat().st_mode == (report.model / "manifest.json").stat().st_mode


def test_a_tuned_text_tower_needs_no_new_embeddings(runs: dict[str, AlignReport]) -> None:
    from retrieval.search.query_encoder import load_text_encoder

    pictures = Embeddings(runs["whole"].model.parent.parent / "pictures.emb").manifest.encoder
    for report in runs.values():
        assert load_text_encoder(str(report.model), 1).record.image_fingerprint == pictures.image_fingerprint


def test_a_partial_checkpoint_gives_the_vectors_of_the_whole_one(runs: dict[str, AlignReport]) -> None:
    whole, partial = runs["whole"].model, runs["partial"].model
    assert is_partial(partial)
    assert not is_partial(whole)
    stored = load_file(partial / WEIGHTS)
    assert not any(name.startswith("visual.") for name in stored)
    assert (partial / WEIGHTS).stat().st_size < (whole / WEIGHTS).stat().st_size
    one, other = load_encoder(str(whole)), load_encoder(str(partial))
    np.testing.assert_array_equal(one.encode_texts(SAID), other.encode_texts(SAID))
    assert one.record.text_fingerprint == other.record.text_fingerprint


def test_a_partial_checkpoint_without_its_base_is_refused(runs: dict[str, AlignReport], tmp_path: Path) -> None:
    copy = tmp_path / "alone"
    shutil.copytree(runs["partial"].model, copy)
    with pytest.raises(BeholderError, match="is not here; expected the encoder that it was tuned from"):
        load_encoder(str(copy))


def test_a_partial_checkpoint_finds_its_base_beside_it(
    runs: dict[str, AlignReport], tmp_path: Path, tiny_model: Path
) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(runs["partial"].model, copy)
    shutil.copytree(tiny_model, tmp_path / tiny_model.name)
    assert load_encoder(str(copy)).record.text_fingerprint != load_encoder(str(tiny_model)).record.text_fingerprint
    other = load_file(tmp_path / tiny_model.name / WEIGHTS)
    save_file({name: value + 1 for name, value in other.items()}, tmp_path / tiny_model.name / WEIGHTS)
    with pytest.raises(BeholderError, match="is not here"):  # the name alone does not make it the base
        load_encoder(str(copy))


def test_damaged_and_strange_weights_are_refused(
    runs: dict[str, AlignReport], tmp_path: Path, tiny_model: Path
) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(runs["partial"].model, copy)
    shutil.copytree(tiny_model, tmp_path / tiny_model.name)
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[:-7])
    with pytest.raises(FormatError, match="was changed or cut"):
        load_encoder(str(copy))
    save_file({"text.none.weight": torch.zeros(2)}, copy / WEIGHTS)
    content = json.loads((copy / "manifest.json").read_text())
    content["weights"] = record_file(copy, WEIGHTS).__dict__
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"holds text\.none\.weight"):
        load_encoder(str(copy))


def test_a_newer_checkpoint_is_refused(runs: dict[str, AlignReport], tmp_path: Path) -> None:
    copy = tmp_path / "newer"
    shutil.copytree(runs["whole"].model, copy)
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(FormatError, match="format 99"):
        load_encoder(str(copy))


def test_weights_between_base_and_tuned() -> None:
    """.25 of the way from 1 to 3 is 1.5; what is the same stays as it is, to the bit; 1 is the tuned one rounded."""
    base = {"a": torch.tensor([1.0, 1.0]), "same": torch.tensor([0.1]), "n": torch.tensor([3])}
    tuned = {"a": torch.tensor([3.0, 1.1]), "same": torch.tensor([0.1]), "n": torch.tensor([3])}
    quarter = between(base, tuned, 0.25)
    assert quarter["a"].tolist() == [1.5, float(torch.tensor(1.025).half())]
    assert quarter["same"].equal(base["same"])
    assert between(base, tuned, 1.0)["a"].equal(tuned["a"].half().float())


def test_the_sweep_chooses_inside_the_budget() -> None:
    budget = Budget({"hit_rate@10": 70.0}, 1.0)
    figures = {0.25: (70.0, 55.0), 0.5: (69.0, 60.0), 1.0: (68.9, 70.0)}

    def measure(state: dict[str, torch.Tensor]) -> dict[str, float]:
        kept, pairs = figures[float(state["w"])]
        return {"hit_rate@10": kept, "pair_accuracy": pairs}

    swept = sweep({"w": torch.tensor(0.0)}, {"w": torch.tensor(1.0)}, (1.0, 0.25, 0.5), measure)  # type: ignore[arg-type]
    assert [alpha for alpha, _ in swept] == [0.25, 0.5, 1.0]
    found = choose(swept, budget, "pair_accuracy")
    assert found is not None
    assert found[0] == 0.5  # a loss of exactly the budget is inside it
    without_lists = [(alpha, {"hit_rate@10": one["hit_rate@10"]}) for alpha, one in swept]
    larger = choose(without_lists, budget, "pair_accuracy")
    assert larger is not None
    assert larger[0] == 0.5
    assert choose(swept[2:], budget, "pair_accuracy") is None


def test_evaluations_in_a_row_over_the_budget_are_counted_from_the_end() -> None:
    budget = Budget({"hit_rate@10": 70.0}, 1.0)
    history = [{"hit_rate@10": value} for value in (60.0, 69.5, 68.0, 68.9)]
    assert over_budget(history, budget) == 2
    assert over_budget(history[:2], budget) == 0
    assert over_budget([], budget) == 0


@pytest.fixture(scope="module")
def index(runs: dict[str, AlignReport]) -> Path:
    """Of the base's own pictures: nothing in it knows of the checkpoints."""
    from indexes.building.build import build_index

    folder = runs["whole"].model.parent.parent
    build_index(folder / "pictures.emb", folder / "pictures.index")
    return folder / "pictures.index"


def found(*arguments: object) -> list[dict[str, object]]:
    from typer.testing import CliRunner

    from retrieval.__main__ import app

    done = CliRunner().invoke(app, ["search", *map(str, arguments), "-k", "5", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["results"]  # type: ignore[no-any-return]


def test_search_takes_a_partial_checkpoint_over_an_index_of_the_base(
    runs: dict[str, AlignReport], index: Path, tiny_model: Path
) -> None:
    plain, whole, partial = (
        found(index, SAID[0], *given)
        for given in ([], ["--model", runs["whole"].model], ["--model", runs["partial"].model])
    )
    assert partial == whole
    assert [one["relevance"] for one in partial] != [one["relevance"] for one in plain]
    vectors, query = Embeddings(index.parent / "pictures.emb"), load_encoder(str(runs["whole"].model))
    stored = np.concatenate([np.array(rows, np.float32) for _, rows in vectors.blocks()])
    uris = vectors.items().column("uri").to_pylist()
    order = np.argsort(-(stored @ query.encode_texts(SAID[:1])[0]), kind="stable")[:5]
    assert [one["uri"] for one in partial] == [uris[place] for place in order]


def test_a_tuned_image_tower_is_refused_over_an_index_of_the_base(
    runs: dict[str, AlignReport], index: Path, tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    from retrieval.search.searcher import open_searcher

    config = make_run(index.parent, tiny_model, tiny_captions, towers="image", partial=True, alphas=(1.0,))
    tuned = align(config, tmp_path / "image")
    with pytest.raises(BeholderError):
        open_searcher(index, str(tuned.model)).encoder.encode_texts(SAID)
