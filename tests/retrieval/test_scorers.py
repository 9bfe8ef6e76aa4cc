"""Scorers by name: cards, published heads against their real weights, refusals, downloads by sha256, self-tests."""

import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import BeholderError, FormatError
from indexes.records.shards import EncoderRecord
from retrieval.encoding.encoders import load_encoder
from retrieval.scoring import scorer_trial, weight_files
from retrieval.scoring.card import PIXELS, VECTORS, ScorerCard, check_encoder
from retrieval.scoring.heads import PUBLISHED, LinearHead, load_downloaded, state_to_map
from retrieval.scoring.own_heads import HeadRecord, load_head, save_head
from retrieval.scoring.scorer_trial import try_scorer
from retrieval.scoring.scorers import BOXED, LOOK, SCORERS, Look, load_scorer
from retrieval.scoring.weight_files import WeightFile

WEIGHTS = os.environ.get("BEHOLDER_WEIGHTS", "")
needs_weights = pytest.mark.skipif(not WEIGHTS, reason="BEHOLDER_WEIGHTS names no folder with the published heads")

# Scores of the ten CLIP vectors that LAION published for ratings 0 to 9, by the published modules themselves in torch
# (Linear; Linear after normalize * sqrt(D); five Linear with Dropout in eval mode).
GOLDEN = {
    "laion-vit-b-32": ("b_32", [-1.47, 0.2728, 1.99, 3.6114, 5.0874, 6.3926, 7.6682, 8.9155, 9.9166, 11.0056]),
    "laion-vit-l-14": ("l_14", [-2.4579, -0.1379, 1.8951, 3.5849, 5.0997, 6.4701, 7.787, 9.048, 10.2264, 11.3044]),
    "simulacra-vit-b-32": ("b_32", [1.1022, 2.0918, 3.0689, 4.0945, 5.0823, 5.838, 6.5253, 7.243, 7.7013, 8.2496]),
    "simulacra-vit-l-14": ("l_14", [-3.4739, -1.8798, -0.2997, 1.0451, 2.428, 3.6085, 4.5172, 5.2299, 5.7958, 6.2497]),
    "improved-vit-l-14": ("l_14", [1.6555, 2.3593, 3.0698, 3.6725, 4.238, 4.701, 5.0731, 5.3654, 5.5767, 5.7468]),
}


def unit(count: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def card(**fields: object) -> ScorerCard:
    plain = {"name": "tried", "kind": VECTORS, "model": "m", "normalisation": "n", "unit": "u", "source": "s"}
    return ScorerCard(**{**plain, "encoder_names": ("an-encoder",), **fields})  # type: ignore[arg-type]


@needs_weights
@pytest.mark.parametrize("name", GOLDEN)
def test_published_heads_give_the_scores_of_their_own_code_on_real_vectors(name: str) -> None:
    size, expected = GOLDEN[name]
    folder = Path(WEIGHTS) / "laion" / f"vit_{size}_embeddings"
    vectors = np.stack([np.load(folder / f"rating{number}.npy").reshape(-1) for number in range(10)])
    scores = load_scorer(name).score_vectors(vectors)  # type: ignore[union-attr]
    np.testing.assert_allclose(scores, expected, atol=1e-3)


@needs_weights
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_head_loads_and_bounds_its_scores(name: str) -> None:
    head = load_downloaded(name)
    width = {"32": 512, "16": 512, "14": 768}[name[-2:]]
    assert head.card.licence in ("MIT", "Apache-2.0")
    scores = head.score_vectors(unit(50, width))
    assert (head.card.low < scores).all()
    assert (scores < head.card.high).all()


def test_layers_without_activations_are_multiplied_out() -> None:
    generator = np.random.default_rng(0)
    shapes = {"layers.0": (6, 8), "layers.2": (5, 6), "layers.10": (1, 5)}  # 10 after 2, not as text would sort
    state = {}
    for name, (out, into) in shapes.items():
        state |= {f"{name}.weight": generator.normal(size=(out, into)), f"{name}.bias": generator.normal(size=out)}
    x = unit(4, 8)
    by_layer = x
    for name in shapes:
        by_layer = by_layer @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    weight, bias = state_to_map(state)
    np.testing.assert_allclose(x @ weight + bias, by_layer[:, 0], rtol=1e-5)


def test_a_head_that_gives_several_numbers_is_refused() -> None:
    with pytest.raises(FormatError, match="one number"):
        state_to_map({"weight": np.zeros((2, 8)), "bias": np.zeros(2)})


def test_the_length_of_vectors_in_training_is_taken_into_the_weight() -> None:
    state, x = {"linear.weight": unit(1, 16), "linear.bias": np.array([0.5])}, unit(3, 16, seed=1)
    weight, bias = state_to_map(state, length=4.0)
    np.testing.assert_allclose(x @ weight + bias, (4 * x) @ state["linear.weight"][0] + 0.5, rtol=1e-6)


def test_scores_do_not_depend_on_the_batch_and_stay_within_the_stated_range() -> None:
    head = LinearHead(card(), 3 * unit(1, 32)[0], 5.0)
    vectors = unit(200, 32, seed=2).astype(np.float16)
    whole = head.score_vectors(vectors)
    assert whole.dtype == np.float32
    assert np.array_equal(whole, np.concatenate([head.score_vectors(vectors[at : at + 1]) for at in range(200)]))
    assert head.card.low == pytest.approx(2.0)
    assert head.card.high == pytest.approx(8.0)
    best = unit(1, 32)
    assert head.score_vectors(best)[0] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (unit(3, 31), "shape"),
        (unit(3, 32)[0], "shape"),
        (2 * unit(3, 32), "length"),
        (np.full((1, 32), np.nan, np.float32), "length"),
        (np.zeros((1, 32), np.float32), "length"),
    ],
)
def test_vectors_of_another_width_or_length_are_refused(vectors: np.ndarray, said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        LinearHead(card(), unit(1, 32)[0], 0.0).score_vectors(vectors)


def record(name: str, fingerprint: str = "f") -> EncoderRecord:
    return EncoderRecord(name, fingerprint, "t", 32, {})


def test_vectors_of_another_model_are_refused_with_the_model_to_embed_with() -> None:
    check_encoder(card(), record("an-encoder"))
    with pytest.raises(BeholderError, match="an-encoder") as caught:
        check_encoder(card(), record("beholder-mini"))
    assert "--model an-encoder" in caught.value.remedy
    known = card(encoder="abc")
    check_encoder(known, record("moved-elsewhere", "abc"))  # the fingerprint decides, not the name
    with pytest.raises(BeholderError):
        check_encoder(known, record("an-encoder", "def"))


def test_fingerprints_follow_what_decides_a_score_and_not_what_describes_it() -> None:
    first = card()
    assert replace(first, unit="other", source="other", licence="other", low=1.0).fingerprint == first.fingerprint
    assert replace(first, checkpoint_sha256="other").fingerprint != first.fingerprint
    assert replace(first, normalisation="other").fingerprint != first.fingerprint
    every = {name: load_scorer(name).card for name in (*LOOK, *BOXED)}
    assert len({one.fingerprint for one in every.values()}) == len(every)
    assert all(one.name == name and one.unit and one.source and one.normalisation for name, one in every.items())


def test_an_unknown_scorer_is_told_the_known_ones() -> None:
    with pytest.raises(BeholderError, match=r"beholder-appeal.*brightness"):
        load_scorer("beauty")
    with pytest.raises(FormatError, match="no folder"):
        load_scorer("scorers/of-mine")


def test_pyiqa_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(BeholderError, match=r"pip install 'beholder\[score\]'"):
        load_scorer("pyiqa:niqe")


def test_pyiqa_metrics_are_scorers() -> None:
    pyiqa = pytest.importorskip("pyiqa", reason="the extra score is not installed")
    scorer = load_scorer("pyiqa:entropy")  # of grey levels: needs no weights
    grey, noise = np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    scores = scorer.score_pictures([grey, noise])  # type: ignore[union-attr]
    assert scores[0] == pytest.approx(0, abs=1e-3)
    assert 7 < scores[1] <= 8  # bits: nearly even over 256 levels
    assert pyiqa.__version__ in scorer.card.model
    assert scorer.card.higher_is_better
    assert not load_scorer("pyiqa:piqe").card.higher_is_better
    with pytest.raises(BeholderError, match="no such metric 'psnr'"):
        load_scorer("pyiqa:psnr")  # compares with a reference


# --- files


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    """A real server of one file: its address and content."""
    content = b"weights " * 100
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "head.pth").write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"), **named)  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/head.pth", content
    server.shutdown()
    server.server_close()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BEHOLDER_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_download_says_its_licence_is_checked_and_happens_once(
    served: tuple[str, bytes], nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, content = served
    file = WeightFile("some/head.pth", url, hashlib.sha256(content).hexdigest(), len(content), "MIT")
    path = weight_files.find(file)
    assert path.read_bytes() == content
    said = capsys.readouterr().err
    assert "MIT" in said
    assert url in said
    monkeypatch.setattr(weight_files, "_download", lambda file: pytest.fail("downloaded twice"))
    assert weight_files.find(file) == path
    assert not capsys.readouterr().err


def test_another_file_than_the_known_one_is_never_used(served: tuple[str, bytes], nowhere: Path) -> None:
    url, content = served
    file = WeightFile("some/head.pth", url, "0" * 64, len(content), "MIT")
    with pytest.raises(FormatError, match="another file"):
        weight_files.find(file)
    assert not list(nowhere.glob("cache/**/*.pth"))
    longer = WeightFile("some/head.pth", url, hashlib.sha256(content[:-1]).hexdigest(), len(content) - 1, "MIT")
    with pytest.raises(FormatError, match="another file"):
        weight_files.find(longer)


def test_a_file_under_the_folder_of_weights_is_used_only_if_it_is_the_known_one(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEHOLDER_WEIGHTS", str(nowhere))
    (nowhere / "head.pth").write_bytes(b"abc")
    file = WeightFile("head.pth", "http://127.0.0.1:9/x", hashlib.sha256(b"abc").hexdigest(), 3, "MIT")
    assert weight_files.find(file) == nowhere / "head.pth"
    (nowhere / "head.pth").write_bytes(b"abd")
    with pytest.raises(FormatError, match="another file"):
        weight_files.find(file)


def test_no_network_is_one_line_with_the_way_out(nowhere: Path) -> None:
    file = WeightFile("laion/head.pth", "http://127.0.0.1:9/head.pth", "0" * 64, 10, "MIT")
    with pytest.raises(BeholderError, match=r"laion/head.pth.*BEHOLDER_WEIGHTS"):
        weight_files.find(file)


# --- heads of our own


def head_record(**fields: object) -> HeadRecord:
    plain = {"name": "mine", "features": VECTORS, "encoder": "an-encoder", "image_fingerprint": "abc", "model": "m"}
    return HeadRecord(**{**plain, "unit": "u", "source": "s", "licence": "l", "trained": {}, **fields})  # type: ignore[arg-type]


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    weight = unit(1, 16)[0]
    save_head(tmp_path / "mine", head_record(), weight, 0.25)
    head = load_head(tmp_path / "mine", "mine")
    x = unit(5, 16, seed=3)
    np.testing.assert_allclose(head.score_vectors(x), x @ weight + 0.25, atol=1e-6)  # type: ignore[union-attr]
    assert head.card.encoder == "abc"
    assert load_scorer(str(tmp_path / "mine")).card == head.card


def test_a_damaged_or_renamed_head_is_refused(tmp_path: Path) -> None:
    save_head(tmp_path / "mine", head_record(), unit(1, 16)[0], 0.25)
    with pytest.raises(FormatError, match="holds the scorer mine"):
        load_head(tmp_path / "mine", "other")
    path = tmp_path / "mine" / "scorer.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FormatError, match="changed or cut"):
        load_head(tmp_path / "mine")
    (tmp_path / "mine" / "manifest.json").write_text('{"kind": "beholder-scorer", "format": 2}')
    with pytest.raises(FormatError, match="newer"):
        load_head(tmp_path / "mine")


def test_a_head_on_a_tower_that_changed_is_refused(tmp_path: Path) -> None:
    save_head(tmp_path / "mine", head_record(features="tower", encoder="beholder-mini"), unit(1, 1152)[0], 0.0)
    with pytest.raises(FormatError, match="another beholder-mini"):
        load_head(tmp_path / "mine").score_pictures([scorer_trial.grey()])  # type: ignore[union-attr]


def test_a_tower_that_cannot_be_looked_into_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    encoder = load_encoder(str(tiny_model))
    fields = {"features": "tower", "encoder": str(tiny_model), "image_fingerprint": encoder.record.image_fingerprint}
    save_head(tmp_path / "mine", head_record(**fields), unit(1, 96)[0], 0.0)
    with pytest.raises(BeholderError, match="cannot be looked into"):
        load_head(tmp_path / "mine").score_pictures([scorer_trial.grey()])  # type: ignore[union-attr]


# --- self-tests


@pytest.mark.parametrize("name", [*LOOK, *BOXED])
def test_every_scorer_in_the_box_passes_its_self_test(name: str) -> None:
    findings = try_scorer(load_scorer(name))
    assert [finding for finding in findings if not finding.ok] == []


class Broken:
    """A scorer of look whose scores go through a fault."""

    def __init__(self, name: str, fault: object) -> None:
        self.inner = load_scorer(name)
        self.card, self.fault = self.inner.card, fault

    def score_pictures(self, pictures: list[np.ndarray]) -> np.ndarray:
        return self.fault(self.inner, pictures)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "fault", "finding"),
    [
        ("sharpness", lambda inner, some: -inner.score_pictures(some), "blur"),
        ("sharpness", lambda inner, some: np.full(len(some), 7, np.float32), "apart"),
        ("brightness", lambda inner, some: np.full(len(some), np.nan, np.float32), "finite"),
        ("brightness", lambda inner, some: inner.score_pictures([one // 2 for one in some]), "grey"),
        ("brightness", lambda inner, some: 255 * inner.score_pictures(some), "range"),
        ("saturation", lambda inner, some: inner.score_pictures([one[:40, :40] for one in some]), "shuffle"),
        (
            "contrast",
            lambda inner, some: inner.score_pictures(some) + np.arange(len(some), dtype=np.float32),
            "repeatable",
        ),
        ("contrast", lambda inner, some: inner.score_pictures(some) - inner.score_pictures(some).mean(), "alone"),
        ("beholder-appeal", lambda inner, some: 10 - inner.score_pictures(some), "shuffle"),
    ],
)
def test_a_broken_scorer_is_caught_by_the_self_test(name: str, fault: object, finding: str) -> None:
    found = {one.name: one.ok for one in try_scorer(Broken(name, fault))}
    assert not found[finding]


def test_a_scorer_of_vectors_is_tried_with_its_encoder(tiny_model: Path) -> None:
    encoder = load_encoder(str(tiny_model))
    head = LinearHead(card(), unit(1, 32)[0], 0.0)
    assert all(finding.ok for finding in try_scorer(head, encoder))


def test_the_table_of_scorers_is_whole() -> None:
    assert set(PUBLISHED) <= set(SCORERS)
    assert all(load_scorer(name).card.kind == PIXELS for name in LOOK)
    assert isinstance(load_scorer("contrast"), Look)
