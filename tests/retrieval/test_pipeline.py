"""The pipeline: what ends in the folder, what a second run does, and that kills change nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from indexes import Embeddings
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.shards import verify
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.sources import plan as plans
from retrieval.sources.captions import read_captions
from retrieval.sources.images import decode, fit
from tests.conftest import ROOT, write_pictures


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


def rows(folder: Path) -> dict[str, np.ndarray]:
    embeddings = Embeddings(folder)
    vectors = np.concatenate([vectors for _, vectors in embeddings.blocks()])
    return dict(zip(embeddings.items().column("uri").to_pylist(), vectors, strict=True))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is promised to be the same bytes; log and seen hold times."""
    outside = {"log.jsonl", "seen.parquet", ".lock"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in outside
    }


def config(**options: object) -> EmbedConfig:
    return EmbedConfig(**{"batch_size": 4, "shard_size": 8, "workers": 1, **options})


def test_every_picture_gets_the_vector_it_gets_alone(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    report = embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    assert (report.count, report.new, report.rejected) == (20, 20, 0)
    assert verify(tmp_path / "emb") > 0
    for uri, vector in rows(tmp_path / "emb").items():
        alone = tiny.encode_images(fit(decode((pictures / uri).read_bytes()), tiny.preprocessing)[None])[0]
        np.testing.assert_allclose(vector, alone, atol=1e-3)  # half precision on disk


def test_the_number_of_workers_changes_no_byte(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    embed(pictures, tmp_path / "one", config(workers=1), encoder=tiny)
    embed(pictures, tmp_path / "three", config(workers=3), encoder=tiny)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_a_grown_folder_embeds_only_what_is_new(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    folder = tmp_path / "emb"
    embed(pictures, folder, config(), encoder=tiny)
    before = contents(folder)
    write_pictures(pictures / "more", 3, seed=9)
    report = embed(pictures, folder, config(), encoder=tiny)
    assert (report.count, report.new, report.embedded) == (23, 3, 3)
    after = contents(folder)
    assert all(after[name] == content for name, content in before.items() if name.startswith(("shards", "items")))
    assert verify(folder)
    assert embed(pictures, folder, config(), encoder=tiny).embedded == 0
    assert contents(folder) == after


def test_changed_and_deleted_files_are_noticed(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    folder = tmp_path / "emb"
    embed(pictures, folder, config(), encoder=tiny)
    old = rows(folder)
    ids = set(Embeddings(folder).items().column("id").to_pylist())
    (pictures / "p003.jpg").unlink()
    write_pictures(tmp_path / "other", 1, seed=5)
    (tmp_path / "other" / "p000.jpg").replace(pictures / "p010.jpg")
    os.utime(pictures / "p001.jpg", (1, 1))  # touched, not changed
    report = embed(pictures, folder, config(), encoder=tiny)
    assert (report.count, report.changed, report.removed, report.new, report.embedded) == (19, 1, 1, 0, 1)
    new = rows(folder)
    assert "p003.jpg" not in new
    assert not np.array_equal(new["p010.jpg"], old["p010.jpg"])
    assert all(np.array_equal(new[uri], old[uri]) for uri in new if uri != "p010.jpg")
    items = Embeddings(folder).items().to_pydict()
    assert items["id"][items["uri"].index("p010.jpg")] not in ids  # an id is never given twice
    assert verify(folder)


def spoil(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"bad{number}.jpg").write_bytes(b"no picture" if number % 2 else b"")


def test_bad_pictures_are_listed_with_reasons_and_the_rest_embedded(
    pictures: Path, tmp_path: Path, tiny: Encoder
) -> None:
    spoil(pictures, 10)
    report = embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    assert (report.count, report.rejected) == (20, 10)
    lines = [json.loads(line) for line in (tmp_path / "emb" / "rejected.jsonl").read_text().splitlines()]
    assert [line["uri"] for line in lines] == [f"bad{number}.jpg" for number in range(10)]
    assert {line["reason"] for line in lines} == {"empty file", "not a picture in a known format"}
    assert verify(tmp_path / "emb")


def test_too_many_bad_pictures_fail_and_keep_what_was_done(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    for number in range(11):
        (pictures / f"zbad{number}.jpg").write_bytes(b"")
    with pytest.raises(ConditionFailed, match="11 of 31 pictures are bad") as caught:
        embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    assert caught.value.exit_code == 1
    report = embed(pictures, tmp_path / "emb", config(max_bad_share=0.5), encoder=tiny)
    assert report.resumed_shards >= 2
    assert (report.count, report.rejected) == (20, 11)


def test_another_encoder_is_refused(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    from retrieval.encoding.encoders import random_encoder

    embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    with pytest.raises(BeholderError, match="one encoder per folder"):
        embed(pictures, tmp_path / "emb", config(), encoder=random_encoder("RN50"))


def test_two_writers_at_once_are_refused(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    with plans.locked(tmp_path / "emb"), pytest.raises(BeholderError, match="another run"):
        embed(pictures, tmp_path / "emb", config(), encoder=tiny)


def test_a_folder_of_no_pictures_is_said(tmp_path: Path, tiny: Encoder) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BeholderError, match="no usable picture"):
        embed(tmp_path / "empty", tmp_path / "emb", config(), encoder=tiny)
    with pytest.raises(BeholderError, match="there is no folder"):
        embed(tmp_path / "nowhere", tmp_path / "emb2", config(), encoder=tiny)


def test_a_folder_that_was_empty_for_a_while_is_as_it_was(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    """As a disk that is not mounted looks."""
    spoil(pictures, 1)
    embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    before = contents(tmp_path / "emb")
    pictures.rename(tmp_path / "away")
    pictures.mkdir()
    with pytest.raises(BeholderError, match="no usable picture"):
        embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    assert verify(tmp_path / "emb")
    pictures.rmdir()
    (tmp_path / "away").rename(pictures)
    report = embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    assert (report.count, report.embedded, report.removed, report.rejected) == (20, 0, 0, 1)
    assert contents(tmp_path / "emb") == before
    assert verify(tmp_path / "emb")


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(BeholderError, match=r"batch_size 0, workers -1, max_bad_share 2"):
        EmbedConfig(batch_size=0, workers=-1, max_bad_share=2)


def test_captions_come_from_a_table(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    table = tmp_path / "captions.tsv"
    table.write_text('image\tcaption\np001.jpg\ta "quoted" one\np001.jpg\ta second\n', encoding="utf-8")
    assert read_captions(table) == {"p001.jpg": 'a "quoted" one'}
    embed(pictures, tmp_path / "emb", config(captions=str(table)), encoder=tiny)
    assert Embeddings(tmp_path / "emb").items().column("caption").to_pylist()[:3] == [
        None,
        'a "quoted" one',
        None,
    ]
    (tmp_path / "wrong.tsv").write_text("name\ttext\n")
    with pytest.raises(BeholderError, match="has columns name, text"):
        read_captions(tmp_path / "wrong.tsv")


CHILD = """
import sys
from pathlib import Path
import numpy as np
from indexes.records.shards import EncoderRecord
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.sources.images import Preprocessing

class Colours:  # a projection of the pixels: starts in no time, so that kills fall into the pipeline
    name = "colours"
    preprocessing = Preprocessing(16, (0, 0, 0), (1, 1, 1))
    record = EncoderRecord("colours", "a", "b", 8, preprocessing.to_dict())

    def encode_images(self, pixels):
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        vectors = flat @ np.random.default_rng(0).normal(size=(flat.shape[1], 8)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

source, folder = map(Path, sys.argv[1:])
embed(source, folder, EmbedConfig(batch_size=4, shard_size=8, workers=1), encoder=Colours())
"""


def start_child(source: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(source), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def kill_and_resume(tmp_path: Path, kills: int, seed: int) -> None:
    """Kills embed with SIGKILL when a drawn number of parts is on disk and a drawn moment has passed; then compares."""
    source = tmp_path / "pictures"
    write_pictures(source, 60)
    spoil(source, 3)
    straight = start_child(source, tmp_path / "straight")
    assert straight.wait(timeout=200) == 0
    drawn = random.Random(seed)
    killed = 0
    for number in range(kills):
        folder = tmp_path / f"killed{number}"
        child = start_child(source, folder)
        parts = drawn.randrange(8)
        deadline = time.monotonic() + 120
        while child.poll() is None and len(list((folder / "parts").glob("*.json"))) < parts:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(drawn.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        again = start_child(source, folder)
        assert again.wait(timeout=200) == 0
        assert contents(folder) == contents(tmp_path / "straight")
        assert verify(folder)
    assert killed >= kills // 2, "the kills came too late to test anything"


def test_sigkill_at_any_moment_and_a_rerun_give_the_same_bytes(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=3, seed=int(time.time()))


@pytest.mark.campaign
def test_sigkill_at_ten_moments(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=10, seed=int(time.time()))


def test_an_interrupted_run_refuses_other_settings(pictures: Path, tmp_path: Path, tiny: Encoder) -> None:
    for number in range(11):
        (pictures / f"zbad{number}.jpg").write_bytes(b"")
    with pytest.raises(ConditionFailed):
        embed(pictures, tmp_path / "emb", config(), encoder=tiny)
    with pytest.raises(BeholderError, match="interrupted run with batch_size 4"):
        embed(pictures, tmp_path / "emb", config(batch_size=5), encoder=tiny)
