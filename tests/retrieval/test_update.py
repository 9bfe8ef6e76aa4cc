"""`index update`: whatever the source became, the index holds what a new one would, and embeds only what is new."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.errors import BeholderError
from indexes.searching.search import verify_index
from retrieval.encoding.pipeline import EmbedConfig
from retrieval.indexing import update as updates
from retrieval.indexing.update import UpdateReport, update_index
from tests.conftest import ROOT, write_pictures
from tests.retrieval.source_forms import Colours, embedded, write_tar

QUERIES = np.eye(8, dtype=np.float32)


def updated(index: Path, source: object, **options: object) -> UpdateReport:
    config = EmbedConfig(batch_size=4, shard_size=8, workers=1)
    return update_index(index, source, config, encoder=Colours(), **options)  # type: ignore[arg-type]


def answers(index: Path) -> list[list[tuple[str, str, float]]]:
    """(uri, sha256, score) of everything, per query, best first."""
    opened = load_index(index)
    found = opened.search(QUERIES, 1000)
    rows = [opened.items(ids).to_pylist() for ids in found.ids]
    return [
        sorted((row["uri"], row["sha256"], round(float(score), 5)) for row, score in zip(items, scores, strict=True))
        for items, scores in zip(rows, found.scores, strict=True)
    ]


def fresh(source: object, folder: Path) -> list[list[tuple[str, str, float]]]:
    embedded(source, folder / "emb")
    build_index(folder / "emb", folder / "index")
    return answers(folder / "index")


def test_an_index_is_made_grown_and_shrunk_by_the_same_command(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    report = updated(index, pictures)
    assert (report.created, report.added, report.removed, report.count) == (True, 20, 0, 20)
    write_pictures(pictures / "more", 3, seed=9)
    (pictures / "p003.jpg").unlink()
    write_pictures(tmp_path / "other", 1, seed=5)
    (tmp_path / "other" / "p000.jpg").replace(pictures / "p010.jpg")
    before = load_index(index)
    report = updated(index, pictures)
    assert (report.created, report.added, report.removed, report.count) == (False, 4, 2, 22)
    assert report.embedded.embedded == 4
    assert answers(index) == fresh(pictures, tmp_path / "fresh")
    assert verify_index(index)
    assert len(before.search(QUERIES, 1000).ids[0]) == 20  # a reader keeps what it opened
    report = updated(index, pictures)
    assert (report.added, report.removed, report.count, report.embedded.embedded) == (0, 0, 22, 0)


def test_an_index_built_elsewhere_is_not_embedded_again(pictures: Path, tmp_path: Path) -> None:
    embedded(pictures, tmp_path / "emb")
    build_index(tmp_path / "emb", tmp_path / "index")
    write_pictures(pictures / "more", 2, seed=9)
    report = updated(tmp_path / "index", pictures)
    assert (report.added, report.embedded.embedded, report.count) == (2, 2, 22)
    assert answers(tmp_path / "index") == fresh(pictures, tmp_path / "fresh")


def test_an_index_of_tars_grows_with_them(pictures: Path, tmp_path: Path) -> None:
    names = sorted(os.listdir(pictures))
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards" / "0.tar", names[:6], pictures)
    updated(tmp_path / "index", tmp_path / "shards" / "*.tar")
    write_tar(tmp_path / "shards" / "1.tar", names[6:9], pictures)
    report = updated(tmp_path / "index", tmp_path / "shards" / "*.tar")
    assert (report.added, report.count) == (3, 9)
    write_tar(tmp_path / "shards" / "0.tar", names[:1], pictures)
    report = updated(tmp_path / "index", tmp_path / "shards" / "*.tar")
    assert (report.removed, report.count) == (5, 4)
    assert report.compacted  # half of the rows were of no use
    assert answers(tmp_path / "index") == fresh(tmp_path / "shards" / "*.tar", tmp_path / "fresh")


def test_many_small_updates_do_not_leave_many_segments(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "MOST_SEGMENTS", 2)
    for number in range(3):
        write_pictures(pictures / str(number), 1, seed=20 + number)
        report = updated(tmp_path / "index", pictures)
    assert (report.compacted, report.segments, report.count) == (True, 1, 23)
    assert answers(tmp_path / "index") == fresh(pictures, tmp_path / "fresh")


def test_a_killed_update_is_finished_by_the_next(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    updated(index, pictures)
    (pictures / "p003.jpg").unlink()
    write_pictures(pictures / "more", 2, seed=9)
    for step in ("embed", "add", "gone_from", "remove"):

        def stop(*arguments: object, real: object = getattr(updates, step), **options: object) -> None:
            real(*arguments, **options)  # type: ignore[operator]
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(updates, step, stop)
            with pytest.raises(KeyboardInterrupt):
                updated(index, pictures)
        assert {row[0] for row in answers(index)[0]} >= {f"p{n:03d}.jpg" for n in range(20) if n != 3}
        if step == "remove":
            break
        write_pictures(pictures / step, 1, seed=len(step))
    updated(index, pictures)
    assert answers(index) == fresh(pictures, tmp_path / "fresh")


def test_another_source_is_refused_before_anything_leaves(pictures: Path, tmp_path: Path) -> None:
    updated(tmp_path / "index", pictures)
    write_pictures(tmp_path / "others", 2)
    with pytest.raises(BeholderError, match=r"holds the pictures of .* Use `index add`"):
        updated(tmp_path / "index", tmp_path / "others")
    assert len(load_index(tmp_path / "index")) == 20


def test_recall_is_measured_again_when_the_index_has_grown(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    config = IndexConfig(factory="IVF4,Flat", measure=True)
    report = updated(index, pictures, build=lambda embeddings, folder: build_index(embeddings, folder, config))
    assert report.measured is not None
    write_pictures(pictures / "more", 5, seed=9)
    report = updated(index, pictures)
    opened = load_index(index)
    assert report.measured is not None
    assert "stale" not in (opened.manifest.measured or {})
    ids = opened.live_ids()
    queries = opened.vectors(ids)
    exact = exact_search(queries, opened.blocks(), 11).ids
    found = opened.search(queries, 11).ids
    shares = [len({*a[a != own][:10]} & {*b[b != own][:10]}) / 10 for a, b, own in zip(exact, found, ids, strict=True)]
    assert report.measured["knn_recall"] == pytest.approx(np.mean(shares), abs=1e-3)


def test_an_index_that_outgrew_its_kind_is_tuned_as_the_new_one(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    updated(index, pictures)
    assert load_index(index).manifest.factory == "Flat"
    monkeypatch.setattr("indexes.building.growth.FLAT_UP_TO", 20)  # as if 24 pictures were 20,001
    monkeypatch.setattr(updates, "MOST_SEGMENTS", 1)
    write_pictures(pictures / "more", 4, seed=9)
    report = updated(index, pictures)
    manifest = load_index(index).manifest
    assert manifest.factory.startswith("IVF")
    assert report.measured is not None
    assert report.measured["knn_recall"] >= report.measured["target"]
    assert answers(index) == fresh(pictures, tmp_path / "fresh")


CHILD = """
import sys
from pathlib import Path
from tests.retrieval.test_update import updated
print("started", flush=True)
updated(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def start_update(index: Path, pictures: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(index), str(pictures)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_sigkill_at_any_moment_leaves_an_index_that_answers_and_a_rerun_finishes(
    pictures: Path, tmp_path: Path
) -> None:
    drawn = random.Random(time.time())
    started = time.monotonic()
    updated(tmp_path / "straight", pictures)
    spent = time.monotonic() - started
    index = tmp_path / "index"
    updated(index, pictures)
    for number in range(3):
        (pictures / f"p{number:03d}.jpg").unlink()
        write_pictures(pictures / str(number), 2, seed=30 + number)
        child = start_update(index, pictures)
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(drawn.random() * 1.2 * spent)
        child.send_signal(signal.SIGKILL)
        child.wait()
        held = {row[0] for row in answers(index)[0]}
        assert {f"p{n:03d}.jpg" for n in range(number + 1, 20)} <= held  # what stays in the source was never missing
        again = start_update(index, pictures)
        assert again.wait(timeout=200) == 0
        assert answers(index) == fresh(pictures, tmp_path / f"fresh{number}")
        assert verify_index(index)
