"""Protects scores at the command line: index build --score, what info, compact and add say of them, refusals."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout

import numpy as np
import pyarrow as pa
import pytest

from indexes import load_index
from indexes.building.growth import add_scores
from indexes.records.critiques import Critique, read_critiques, write_critiques
from indexes.records.manifest import record_file
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.segments import IndexManifest
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, write_shard
from retrieval.__main__ import main
from retrieval.search.generic_queries import generic_queries

COUNT = 300
DIGESTS = [f"{number:064x}" for number in range(2 * COUNT)]


def made(folder, record, width, first=0):
    """Random vectors that pass for pictures of an encoder."""
    folder.mkdir(parents=True)
    rows, ids = np.random.default_rng(first).normal(size=(COUNT, width)), np.arange(COUNT)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    columns = {field.name: pa.nulls(COUNT, field.type) for field in ITEM_COLUMNS}
    columns |= {"id": pa.array(ids), "uri": pa.array([f"{first + i}.jpg" for i in ids])}
    columns |= {"sha256": pa.array(DIGESTS[first : first + COUNT])}
    shard = write_shard(folder, 0, ids, rows, pa.table(columns, schema=ITEM_COLUMNS))
    (folder / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(folder, "rejected.jsonl")
    EmbeddingsManifest(record, "../pictures", COUNT, rejected, (shard,), COUNT, {}).write(folder)
    return folder


def put(folder, name, values, first=0):
    digests = DIGESTS[first : first + COUNT]
    write_scores(scores_path(folder, name), ScoreColumn(name, "f", {}, digests, np.asarray(values, np.float32)))


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """EMBEDDINGS of beholder-mini, whose text tower is in the box, with scores by `calm` and `odd-one`."""
    from retrieval.search.query_encoder import load_text_encoder

    found = load_text_encoder("beholder-mini", 1).record
    record = EncoderRecord(
        "beholder-mini", found.image_fingerprint, found.text_fingerprint, found.width, found.preprocessing
    )
    folder = made(tmp_path_factory.mktemp("scores") / "e", record, found.width)
    for seed, name in enumerate(("calm", "odd-one")):
        put(folder, name, np.random.default_rng(seed).normal(size=COUNT))
    return folder


@pytest.fixture
def stranger(tmp_path):
    """EMBEDDINGS of an encoder that nobody has."""
    folder = made(tmp_path / "s", EncoderRecord("nobody/has-it", "1f", "2f", 16, {}), 16)
    put(folder, "calm", np.arange(COUNT))
    return folder


@pytest.fixture(scope="module")
def built(mini, tmp_path_factory):
    """An INDEX of them, made by the command line; and what that printed."""
    folder, said = tmp_path_factory.mktemp("built") / "i", io.StringIO()
    words = "--factory", "IVF8,Flat", "--score", "calm", "--default-scorer", "calm"
    with redirect_stdout(said):
        assert run("index", "build", mini, folder, *words) == 0
    return folder, said.getvalue()


def run(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["beholder", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code or 0


def test_build_takes_scorers_in_measures_spread_and_says_so(built, capsys):
    folder, out = built
    assert "calm: 300 of 300 pictures, for --beauty, --where and --sort, the default; column calm" in out
    assert "odd-one: 300 of 300 pictures, for --where and --sort; column odd_one" in out
    assert "over 500 generic queries" in out
    assert run("index", "info", folder) == 0
    assert "calm:-4  knn_recall" in capsys.readouterr().out
    assert 0 < IndexManifest.read(folder).spread["value"] < 0.2


def test_compact_takes_later_scores_in_and_tunes(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "i")
    index = load_index(tmp_path / "i")
    add_scores(tmp_path / "i", ScoreColumn("later", "g", {}, DIGESTS[:COUNT], np.arange(COUNT, dtype=np.float32)))
    assert run("index", "compact", tmp_path / "i", "--json") == 0
    after = IndexManifest.read(tmp_path / "i")
    assert [record.name for record in after.in_index] == ["calm", "odd-one", "later"]
    assert all(record.steps for record in after.in_index), "compact chose parameters for the new dimensions"
    assert index.search(index.vectors(np.arange(1)), 3, beauty={"": 1}).ids.shape == (1, 3), "still open as it was"


def test_building_over_an_index_names_the_scores_that_only_it_had(stranger, tmp_path, capsys):
    assert run("index", "build", stranger, tmp_path / "i", "--factory", "Flat") == 0
    assert "built anew" not in capsys.readouterr().err
    add_scores(tmp_path / "i", ScoreColumn("later", "g", {}, DIGESTS[:COUNT], np.arange(COUNT, dtype=np.float32)))
    assert run("index", "build", stranger, tmp_path / "i", "--factory", "IVF8,Flat", "--overwrite") == 0
    assert f"built anew without later; `beholder score {tmp_path / 'i'} --scorer later`" in capsys.readouterr().err


def test_building_over_an_index_names_the_texts_of_critics_that_only_it_had(stranger, tmp_path, capsys):
    assert run("index", "build", stranger, tmp_path / "i", "--factory", "Flat") == 0
    add_scores(tmp_path / "i", ScoreColumn("later", "g", {}, DIGESTS[:COUNT], np.arange(COUNT, dtype=np.float32)))
    write_critiques(tmp_path / "i", [Critique(DIGESTS[0], asked, "x", "1", "How?", "Soft.") for asked in "ba"])
    capsys.readouterr()
    assert run("index", "build", stranger, tmp_path / "i", "--factory", "IVF8,Flat", "--overwrite") == 0
    again = f"`beholder score {tmp_path / 'i'} --scorer later`, `beholder critique --index {tmp_path / 'i'}`"
    assert f"built anew without later, critics' texts (a, b); {again}" in capsys.readouterr().err
    assert read_critiques(tmp_path / "i") == []
    write_critiques(tmp_path / "i", [Critique(DIGESTS[0], "a", "x", "1", "How?", "Soft.")])
    assert run("index", "build", stranger, tmp_path / "i", "--factory", "IVF8,Flat") == 0
    assert "built anew" not in capsys.readouterr().err, "it was there already, and stays"
    assert len(read_critiques(tmp_path / "i")) == 1


def test_search_leans_to_the_default_scorer_and_filters_by_percentile(built, capsys):
    words = "--beauty", "1000", "--json", "-k", "5", "--where", "odd_one_percentile < 0.5"
    assert run("search", built[0], "a boat", *words) == 0
    content = json.loads(capsys.readouterr().out)
    ids = np.array([result["id"] for result in (content[0] if isinstance(content, list) else content)["results"]])
    index = load_index(built[0])
    assert (index.percentiles("odd-one", ids) < 0.5).all()
    assert (index.percentiles("calm", ids) > 0.9).all()


def test_without_the_encoder_an_index_is_built_and_beauty_refused(stranger, tmp_path, capsys):
    assert run("index", "build", stranger, tmp_path / "i", "--score", "calm") == 0
    said = capsys.readouterr()
    assert "not known, so --beauty is refused" in said.out
    assert "spread of relevance is not known" in said.err
    assert IndexManifest.read(tmp_path / "i").spread is None


def test_growth_says_what_has_no_score_and_what_drifted(stranger, tmp_path, capsys):
    assert run("index", "build", stranger, tmp_path / "i", "--score", "calm") == 0
    more = made(tmp_path / "more", EncoderRecord("nobody/has-it", "1f", "2f", 16, {}), 16, first=COUNT)
    put(more, "calm", np.full(COUNT, 1e6), first=COUNT)
    assert run("index", "add", tmp_path / "i", more) == 0
    assert "percentiles of calm drifted 49.9 points" in capsys.readouterr().out
    scores_path(more, "calm").unlink()
    assert run("index", "build", stranger, tmp_path / "j", "--score", "calm") == 0
    capsys.readouterr()
    assert run("index", "add", tmp_path / "j", more) == 0
    assert "300 added pictures have no score of calm" in capsys.readouterr().out


def test_a_scorer_that_was_never_run_is_refused_with_the_way(stranger, tmp_path, capsys):
    assert run("index", "build", stranger, tmp_path / "i", "--score", "sharpness") == 2
    assert "beholder score" in capsys.readouterr().err
    assert run("index", "build", stranger, tmp_path / "i", "--default-scorer", "calm") == 2
    assert "one of the scorers" in capsys.readouterr().err


def test_the_generic_queries_are_five_hundred_different_ones():
    queries = generic_queries()
    assert len(queries) == len(set(queries)) == 500
    assert all(query.strip() == query and query for query in queries)
