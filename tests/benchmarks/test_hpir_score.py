"""`bench hpir score`: what each kind of system scores is what its own parts say, and mistakes are one line."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.hpir import controls as hpir_controls
from benchmarks.hpir import metric as hpir
from benchmarks.hpir.make import HpirMakeConfig, make
from benchmarks.hpir.score import HpirScoreConfig, measure
from benchmarks.measures.correlation import pair_accuracy
from benchmarks.runs import Number, Run, read_run
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.shards import Embeddings
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.hpir import HpirItem, hpir_lines, item_id
from retrieval.scoring.card import of_pixels
from retrieval.scoring.own_heads import HeadRecord, save_head
from retrieval.scoring.scorers import load_scorer
from retrieval.search.query import combine

QUERY = "a bright picture"


@pytest.fixture(scope="module")
def rated(corpus: Path) -> Path:
    """A table of scores of the corpus's twelve pictures, by chance."""
    scores = np.random.default_rng(3).permutation(12)
    lines = ["file\tscore\tsplit", *(f"images/{n:02d}.png\t{scores[n]}\ttest" for n in range(12))]
    (corpus / "rated.tsv").write_text("\n".join(lines) + "\n")
    return corpus / "rated.tsv"


@pytest.fixture(scope="module")
def pairs(rated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "pairs"
    make(HpirMakeConfig(folder, scores=rated, query=QUERY))
    return folder


@pytest.fixture(scope="module")
def embeddings(tiny_index: Path) -> Path:
    return tiny_index.parent / "embeddings"


@pytest.fixture(scope="module")
def vectors(embeddings: Path) -> dict[str, Any]:
    folder = Embeddings(embeddings)
    every = np.concatenate([block for _, block in folder.blocks()]).astype(np.float32)
    return dict(zip(folder.items().column("sha256").to_pylist(), every, strict=True))


def truth_of(rated: Path) -> dict[str, float]:
    rows = [line.split("\t") for line in rated.read_text().splitlines()[1:]]
    return {hashlib.sha256((rated.parent / name).read_bytes()).hexdigest(): float(score) for name, score, _ in rows}


def item(
    query: str, a: Sequence[str], b: Sequence[str], votes: Sequence[str | None], parts: Any = None, **other: Any
) -> HpirItem:
    """An item voted on for accuracy; `other` holds votes for other aspects."""
    said = {aspect: tuple(other.get(aspect, [None] * len(votes))) for aspect in ("aesthetics", "diversity")}
    parts = parts or {"text": [query]}
    unknown = (None,) * len(votes)
    groups = tuple(a), tuple(b)
    return HpirItem(
        item_id(query, parts, *groups), query, parts, *groups, (), {"accuracy": tuple(votes), **said}, unknown, unknown
    )


def write(path: Path, items: Sequence[HpirItem]) -> Path:
    path.write_bytes(b"".join(hpir_lines(items)))
    return path


def value(run: Run, name: str) -> Number:
    return run.numbers[name]


def test_an_encoder_a_scorer_and_the_ceiling_are_what_pair_accuracy_says(
    pairs: Path, rated: Path, embeddings: Path, tiny_model: Path, vectors: dict[str, Any]
) -> None:
    table = {"scores": (rated,), "score_column": ("score",)}
    run = measure(
        HpirScoreConfig((pairs,), embeddings=(embeddings,), encoder=(str(tiny_model),), scorer=("brightness",), **table)
    )  # type: ignore[arg-type]
    truth = truth_of(rated)
    names = list(truth)
    people = np.array([truth[name] for name in names])
    words = load_encoder(str(tiny_model)).encode_texts([QUERY])[0]
    cosines = np.array([float(vectors[name] @ words) for name in names])
    assert value(run, "tiny").value == pytest.approx(pair_accuracy(cosines, people))
    assert value(run, "ceiling: score of rated.tsv").value == 1
    scorer = of_pixels([load_scorer("brightness")])[0]
    pictures = {
        hashlib.sha256(p.read_bytes()).hexdigest(): np.asarray(Image.open(p)) for p in rated.parent.glob("images/*")
    }
    brightness = np.array([scorer.score_pictures([pictures[name]])[0] for name in names], float)
    assert value(run, "brightness").value == pytest.approx(pair_accuracy(brightness, people))
    difference = run.numbers["brightness less tiny"]
    assert difference.unit == "points"
    assert difference.value == pytest.approx(100 * (value(run, "brightness").value - value(run, "tiny").value))
    assert value(run, "tiny").n == 12  # one query: pictures are resampled
    assert any("One query" in note and "12 pictures" in note for note in run.notes)
    assert value(run, "tiny").chance == 0.5
    assert run.data["test_pictures"] == sorted(truth)
    assert value(run, "control: oracle").value == 1


def test_pictures_themselves_and_stored_vectors_score_alike(
    pairs: Path, embeddings: Path, corpus: Path, tiny_model: Path
) -> None:
    stored = measure(HpirScoreConfig((pairs,), embeddings=(embeddings,)))
    read = measure(HpirScoreConfig((pairs,), pictures=(corpus,), encoder=(str(tiny_model),)))
    assert list(stored.numbers) == list(read.numbers)
    for name, number in stored.numbers.items():
        assert number.value == pytest.approx(read.numbers[name].value)


def test_rewriters_and_rerankers_are_systems_of_their_own(
    pairs: Path, rated: Path, embeddings: Path, tiny_model: Path, vectors: dict[str, Any]
) -> None:
    config = HpirScoreConfig(
        (pairs,),
        embeddings=(embeddings,),
        rewrite=("suffix:in red",),
        rerank=("rank-mix:1@saturation", "mmr:0"),
        scorer=("saturation",),
    )
    run = measure(config)
    systems = [name for name in run.numbers if name.endswith("saturation") and "less" not in name]
    assert "tiny, suffix:in red, rank-mix:1@saturation" in systems
    truth = truth_of(rated)
    names = list(truth)
    people = np.array([truth[name] for name in names])
    words = load_encoder(str(tiny_model)).encode_texts([f"{QUERY}, in red"])[0]
    rewritten = np.array([float(vectors[name] @ words) for name in names])
    assert value(run, "tiny, suffix:in red").value == pytest.approx(pair_accuracy(rewritten, people))
    # All of the mix is the scorer's, none of mmr is diversity: the orders are the scorer's and the encoder's.
    assert value(run, "tiny, rank-mix:1@saturation").value == pytest.approx(value(run, "saturation").value)
    assert value(run, "tiny, mmr:0").value == pytest.approx(value(run, "tiny").value)
    assert any("1 of 1 queries rewritten" in note for note in run.notes)


def test_beauty_weights_go_from_plain_search_to_the_scorer(pairs: Path, rated: Path, embeddings: Path) -> None:
    config = HpirScoreConfig((pairs,), embeddings=(embeddings,), scorer=("saturation",), beauty=(0.0, 1.0, 1e6))
    run = measure(config)
    assert value(run, "tiny, beauty 0").value == pytest.approx(value(run, "tiny").value)
    assert value(run, "tiny, beauty 1e+06").value == pytest.approx(value(run, "saturation").value)
    assert "tiny, beauty 1 less tiny" in run.numbers
    with pytest.raises(BeholderError, match="--beauty needs a --scorer"):
        HpirScoreConfig((pairs,), beauty=(1.0,))


def test_queries_of_the_page_keep_their_weights_and_negatives(
    embeddings: Path, tiny_model: Path, vectors: dict[str, Any], tmp_path: Path
) -> None:
    names = sorted(vectors)
    parts = {"text": [{"text": "red", "weight": 2.0}, "noise"], "not": ["green", {"text": "blue", "weight": 0.7}]}
    encoder = load_encoder(str(tiny_model))
    texts = encoder.encode_texts(["red", "noise", "green", "blue"])
    vector = combine(texts, [2.0, 1.0, -0.5, -0.7])
    a, b = names[:3], names[3:6]
    means = [np.mean([vectors[name] @ vector for name in group]) for group in (a, b)]
    better = "a" if means[0] > means[1] else "b"
    file = write(tmp_path / "page.jsonl", [item("red, noise", a, b, [better], parts)])
    run = measure(HpirScoreConfig((file,), embeddings=(embeddings,)))
    assert value(run, "tiny").value == 1
    assert value(run, "tiny").low is None  # a single item tells nothing of its spread


def test_votes_weigh_as_the_literal_says_and_queries_are_resampled(
    embeddings: Path, vectors: dict[str, Any], rated: Path, tmp_path: Path
) -> None:
    truth = truth_of(rated)
    names = sorted(truth, key=truth.__getitem__)  # the ceiling prefers the later one
    votes = [["a"] * a + ["b"] * b for a, b in ((2, 18), (12, 8), (4, 16), (9, 11))]  # it is right, wrong, right, right
    items = [
        item(f"query {k}", names[2 * k : 2 * k + 1], names[2 * k + 1 : 2 * k + 2], said) for k, said in enumerate(votes)
    ]
    items += [item("a tie", names[:1], names[-1:], ["a", "b", "same"]), item("silence", names[:1], names[-1:], [None])]
    file = write(tmp_path / "votes.jsonl", items)
    table = {"scores": (rated,), "score_column": ("score",)}
    config = HpirScoreConfig((file,), embeddings=(embeddings,), per_item=tmp_path / "items.tsv", **table)  # type: ignore[arg-type]
    run = measure(config)
    name = "ceiling: score of rated.tsv"
    assert value(run, name).value == pytest.approx(0.882353, abs=5e-7)
    assert value(run, f"{name}, unweighted").value == pytest.approx(0.75)
    assert value(run, f"{name}, weighted by confidence").value == pytest.approx(0.789474, abs=5e-7)
    assert value(run, f"{name}, single votes").value == pytest.approx((18 + 8 + 16 + 11 + 1) / 82)
    assert value(run, "mean confidence of the majority").value == pytest.approx((0.9 + 0.6 + 0.8 + 0.55) / 4)
    assert value(run, name).n == 4
    note = next(note for note in run.notes if "ties left out" in note)
    assert "4 pairs of pictures with a majority (accuracy), 82 votes; 1 ties left out; 1 votes for neither" in note
    assert any("Only 5 queries" in note for note in run.notes)
    lines = [line.split("\t") for line in (tmp_path / "items.tsv").read_text().splitlines()]
    assert lines[0][:6] == ["set", "qid", "query", "aspect", "votes_a", "votes_b"]
    assert lines[1][2:9] == ["query 0", "accuracy", "2", "18", "0", "1", "b"]
    assert len(lines) == 6


def test_each_aspect_has_its_own_numbers_and_several_sets_their_names(
    pairs: Path, embeddings: Path, vectors: dict[str, Any], tmp_path: Path
) -> None:
    names = sorted(vectors)
    items = [
        item(f"query {k}", names[k : k + 1], names[k + 1 : k + 2], ["a", "a"], aesthetics=["b", "same"])
        for k in range(4)
    ]
    file = write(tmp_path / "two.jsonl", items)
    run = measure(HpirScoreConfig((pairs, file), embeddings=(embeddings,)))
    assert value(run, "two: tiny (accuracy)").value == pytest.approx(1 - value(run, "two: tiny (aesthetics)").value)
    assert "pairs: tiny" in run.numbers
    assert set(run.data["sets"]) == {"pairs", "two"}
    one = measure(HpirScoreConfig((file,), embeddings=(embeddings,), aspect=("aesthetics",)))
    assert value(one, "tiny").value == value(run, "two: tiny (aesthetics)").value


def test_queries_with_pictures_are_left_out_and_counted_unless_no_system_reads_them(
    embeddings: Path, vectors: dict[str, Any], tmp_path: Path
) -> None:
    names = sorted(vectors)
    asked = [
        item("words", names[:2], names[2:4], ["a"]),
        item("", names[:2], names[4:6], ["b"], {"image": [{"sha256": "0" * 64}]}),
    ]
    file = write(tmp_path / "mixed.jsonl", asked)
    run = measure(HpirScoreConfig((file,), embeddings=(embeddings,)))
    assert any("1 items left out for every system" in note for note in run.notes)
    alone = measure(HpirScoreConfig((file,), embeddings=(embeddings,), scorer=("brightness",)))
    assert value(alone, "mean confidence of the majority").n == 2
    only = write(tmp_path / "pictures.jsonl", asked[1:])
    with pytest.raises(BeholderError, match="all queries of pictures hold pictures"):
        measure(HpirScoreConfig((only,), embeddings=(embeddings,)))


@pytest.mark.parametrize("group", hpir.GROUP_RULES)
def test_the_groups_score_is_an_option(embeddings: Path, rated: Path, tmp_path: Path, group: str) -> None:
    truth = truth_of(rated)
    names = sorted(truth, key=truth.__getitem__)  # scores 0 to 11
    # 11, 0, 1 against 7, 8, 9: the mean picks B, the maximum A, and so do the ranks: 1 + 1/6 + 1/5 > 1/4 + 1/3 + 1/2
    file = write(
        tmp_path / "one.jsonl", [item("x", [names[k] for k in (11, 0, 1)], [names[k] for k in (7, 8, 9)], ["a"])]
    )
    config = HpirScoreConfig((file,), embeddings=(embeddings,), scores=(rated,), score_column=("score",), group=group)
    assert value(measure(config), "ceiling: score of rated.tsv").value == (0 if group == "mean" else 1)


@pytest.fixture
def copied(embeddings: Path, tmp_path: Path) -> Path:
    """The EMBEDDINGS in a folder of its own, to be changed."""
    shutil.copytree(embeddings, tmp_path / "copied")
    return tmp_path / "copied"


def test_a_scorer_of_vectors_reads_them_and_refuses_those_of_another_encoder(
    pairs: Path, rated: Path, copied: Path, vectors: dict[str, Any], tmp_path: Path
) -> None:
    weight = np.random.default_rng(0).standard_normal(32).astype(np.float32)
    encoder = Embeddings(copied).manifest.encoder
    record = HeadRecord("head", "vectors", encoder.name, encoder.image_fingerprint, "", "", "", "", {})
    save_head(tmp_path / "head", record, weight, 0.5)
    run = measure(HpirScoreConfig((pairs,), embeddings=(copied,), scorer=(str(tmp_path / "head"),)))
    truth = truth_of(rated)
    expected = pair_accuracy(np.array([vectors[name] @ weight for name in truth]), np.array(list(truth.values())))
    assert value(run, "head").value == pytest.approx(expected)
    other = replace(record, encoder="beholder-mini", image_fingerprint="0" * 64)
    save_head(tmp_path / "other", other, weight, 0.5)
    with pytest.raises(BeholderError, match="reads vectors of beholder-mini"):
        measure(HpirScoreConfig((pairs,), embeddings=(copied,), scorer=(str(tmp_path / "other"),)))


def test_scores_that_lie_in_the_embeddings_are_used_if_this_very_scorer_made_them(
    pairs: Path, rated: Path, copied: Path
) -> None:
    truth, card = truth_of(rated), load_scorer("brightness").card
    for fingerprint, used in ((card.fingerprint, True), ("0" * 64, False)):
        column = ScoreColumn(
            "brightness", fingerprint, card.to_dict(), list(truth), np.array([*truth.values()], np.float32)
        )
        (copied / "scores").mkdir(exist_ok=True)
        write_scores(scores_path(copied, "brightness"), column)
        run = measure(HpirScoreConfig((pairs,), embeddings=(copied,), scorer=("brightness",)))
        assert (value(run, "brightness").value == 1) == used


def test_embeddings_that_lack_pictures_are_refused_unless_a_folder_has_them(
    pairs: Path, corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(corpus.glob("images/*"))[:5]:
        shutil.copy(path, few)
    embed(few, tmp_path / "few.emb", EmbedConfig(model=str(tiny_model), workers=1))
    with pytest.raises(BeholderError, match="7 of the set's 12 pictures are missing"):
        measure(HpirScoreConfig((pairs,), embeddings=(tmp_path / "few.emb",)))
    both = measure(HpirScoreConfig((pairs,), embeddings=(tmp_path / "few.emb",), pictures=(corpus,)))
    alone = measure(HpirScoreConfig((pairs,), pictures=(corpus,), encoder=(str(tiny_model),)))
    assert both.numbers == alone.numbers


def test_the_same_seed_gives_the_same_run(pairs: Path, embeddings: Path) -> None:
    config = HpirScoreConfig((pairs,), embeddings=(embeddings,), scorer=("brightness",), encoder=(), rerank=("mmr",))
    assert measure(config).to_dict()["numbers"] == measure(config).to_dict()["numbers"]


def test_a_metric_that_is_wrong_ends_the_run(pairs: Path, embeddings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def always_a(scores: hpir.Floats) -> hpir.Floats:
        return np.ones(len(scores))

    monkeypatch.setattr(hpir_controls.hpir, "choices", always_a)
    with pytest.raises(ConditionFailed, match="controls fail: an oracle agrees"):
        measure(HpirScoreConfig((pairs,), embeddings=(embeddings,)))


def test_the_command_writes_a_run_without_paths_of_the_machine(
    pairs: Path, corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hpir-tiny.json"
    words = [
        "hpir",
        "score",
        pairs,
        "--pictures",
        corpus,
        "--encoder",
        tiny_model,
        "--scorer",
        "brightness",
        "--out",
        out,
    ]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.exception
    assert "| brightness less tiny |" in result.stdout
    run = read_run(out)
    assert run.name == "hpir-tiny"
    assert run.command.startswith("beholder bench hpir score pairs --pictures")
    assert str(tmp_path) not in out.read_text()
    assert str(corpus.parent) not in out.read_text()
    assert json.loads(CliRunner().invoke(app, [*map(str, words), "--json"]).stdout)["seed"] == 0
    assert "Example:" in CliRunner().invoke(app, ["hpir", "score", "--help"]).stdout


def wrong_calls(pairs: Path, embeddings: Path, corpus: Path, place: Path) -> dict[str, tuple[dict[str, Any], str]]:
    names = ["1" * 64, "2" * 64]
    ties = [item("x", names[:1], names[1:], ["a", "b"]), item("y", names[:1], names[1:], ["same"])]
    (place / "empty").mkdir()
    (place / "text.jsonl").write_text("hello\n")
    (place / "other.jsonl").write_text('{"kind": "beholder-votes", "format": 1}\n')
    (place / "newer.jsonl").write_text('{"kind": "beholder-hpir", "format": 9}\n')
    (place / "nothing.jsonl").write_bytes(b"")
    sets = {"embeddings": (embeddings,)}
    return {
        "no file": ({"sets": (place / "none.jsonl",), **sets}, "cannot read"),
        "a folder that is no set": ({"sets": (place / "empty",), **sets}, "no manifest.json"),
        "another folder of ours": ({"sets": (embeddings,), **sets}, "beholder-embeddings"),
        "no JSON": ({"sets": (place / "text.jsonl",), **sets}, "line 1 is not JSON"),
        "another kind": ({"sets": (place / "other.jsonl",), **sets}, "holds 'beholder-votes'"),
        "newer": ({"sets": (place / "newer.jsonl",), **sets}, "format 9"),
        "empty": ({"sets": (write(place / "header.jsonl", []),), **sets}, "holds no items"),
        "no bytes": ({"sets": (place / "nothing.jsonl",), **sets}, "holds no items"),
        "all ties": (
            {"sets": (write(place / "ties.jsonl", ties),), **sets},
            "none of the 2 items of ties has a majority",
        ),
        "another aspect": ({"sets": (pairs,), "aspect": ("accuracy",), **sets}, "a majority for accuracy"),
        "an aspect that is none": ({"sets": (pairs,), "aspect": ("beauty",), **sets}, "--aspect beauty"),
        "no pictures": ({"sets": (pairs,)}, "12 of the set's 12 pictures are missing"),
        "other pictures": ({"sets": (pairs,), "pictures": (place,)}, "12 of the set's 12 pictures are missing"),
        "no folder": ({"sets": (pairs,), "pictures": (place / "none",)}, "there is no folder"),
        "no encoder": ({"sets": (pairs,), "encoder": ("clip",), **sets}, "there is no encoder 'clip'"),
        "no scorer": ({"sets": (pairs,), "scorer": ("beauty",), **sets}, "there is no scorer 'beauty'"),
        "no rewriter": ({"sets": (pairs,), "rewrite": ("poem",), **sets}, "there is no rewriter 'poem'"),
        "no re-ranker": ({"sets": (pairs,), "rerank": ("best",), **sets}, "there is no re-ranker 'best'"),
        "no baseline": ({"sets": (pairs,), "baseline": "clip", **sets}, "no system is called 'clip'"),
        "a set twice": ({"sets": (pairs, pairs), **sets}, "two sets are called pairs"),
        "a re-ranker twice": ({"sets": (pairs,), "rerank": ("mmr", "mmr"), **sets}, "two systems are called"),
        "a table without column": (
            {"sets": (pairs,), "scores": (corpus / "rated.tsv",), **sets},
            "--score-column for each",
        ),
        "no split": ({"sets": (pairs,), "split": "train", **sets}, "no split train"),
        "no group rule": ({"sets": (pairs,), "group": "median", **sets}, "--group median"),
        "no weight": ({"sets": (pairs,), "weight": "votes", **sets}, "--weight votes"),
    }


KINDS = [
    "no file", "a folder that is no set", "another folder of ours", "no JSON", "another kind", "newer", "empty",
    "no bytes", "all ties", "another aspect", "an aspect that is none", "no pictures", "other pictures", "no folder",
    "no encoder", "no scorer", "no rewriter", "no re-ranker", "no baseline", "a set twice", "a re-ranker twice",
    "a table without column", "no split", "no group rule", "no weight",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_is_one_clear_line(pairs: Path, embeddings: Path, corpus: Path, tmp_path: Path, kind: str) -> None:
    options, words = wrong_calls(pairs, embeddings, corpus, tmp_path)[kind]
    with pytest.raises(BeholderError) as caught:
        measure(HpirScoreConfig(**options))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_broken_or_has_changed_is_named(
    pairs: Path, corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    place = tmp_path / "copy"
    place.mkdir()
    for path in corpus.glob("images/*"):
        (place / path.name).write_bytes(path.read_bytes())
    (place / "03.png").write_bytes(b"no picture")
    with pytest.raises(BeholderError, match="1 of the set's 12 pictures are missing"):
        measure(HpirScoreConfig((pairs,), pictures=(place,), encoder=(str(tiny_model),)))
    sha256 = hashlib.sha256(b"no picture").hexdigest()
    other = hashlib.sha256((place / "04.png").read_bytes()).hexdigest()
    file = write(tmp_path / "broken.jsonl", [item("x", [sha256], [other], ["a"])])
    with pytest.raises(BeholderError, match=r"03\.png: not a picture"):
        measure(HpirScoreConfig((file,), pictures=(place,), encoder=(str(tiny_model),)))


@pytest.mark.skipif("BEHOLDER_DATA" not in os.environ, reason="BEHOLDER_DATA is not set")
@pytest.mark.parametrize("name", ["hpir-web", "hpir-web-votes"])
def test_the_sets_behind_the_committed_runs_are_made_again_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    """By the very commands that the runs' notes give."""
    run = read_run(Path(__file__).parents[2] / "docs" / "results" / f"{name}.json")
    commands = [note.partition("Made by `beholder bench ")[2] for note in run.notes if "Made by `" in note]
    assert len(commands) == len(run.data["sets"])
    for (set_name, recorded), command in zip(run.data["sets"].items(), commands, strict=True):
        words = shlex.split(command.removesuffix("`.").replace("$BEHOLDER_DATA", os.environ["BEHOLDER_DATA"]))
        words[words.index("SET")] = str(tmp_path / set_name)
        assert CliRunner().invoke(app, words).exit_code == 0
        assert hashlib.sha256((tmp_path / set_name / "test.jsonl").read_bytes()).hexdigest() == recorded["sha256"]
        manifest = json.loads((tmp_path / set_name / "manifest.json").read_text())
        assert set(manifest["test_pictures"]) <= set(run.data["test_pictures"])
