"""Tars: nothing of them is read in part without a word, and a grown one embeds only what is new."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes.errors import BeholderError
from indexes.records.shards import verify
from retrieval.search.gallery import write_gallery
from retrieval.search.results import Result
from retrieval.sources import sources
from retrieval.sources.archives import content_of
from retrieval.sources.sources import find_source
from tests.conftest import ROOT, write_pictures
from tests.retrieval.source_forms import as_packed_tar, embedded, metadata, write_tar
from tests.retrieval.test_pipeline import contents as files_of
from tests.retrieval.test_pipeline import start_child


@pytest.mark.parametrize("ending", ["bz2", "xz"])
def test_every_compression_of_tars_is_read(ending: str, pictures: Path, tmp_path: Path) -> None:
    path = as_packed_tar(ending)(pictures, tmp_path)
    found = find_source(path).listing()  # type: ignore[arg-type]
    assert (len(found.uris), found.rejected) == (20, [])
    some = found.uris[3:9]
    for picture in sources.pictures(tmp_path, some):
        assert content_of(picture) == (pictures / picture.uri.split("#")[1]).read_bytes()


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_cut_tar_is_said_and_what_it_holds_is_used(ending: str, pictures: Path, tmp_path: Path) -> None:
    names = sorted(os.listdir(pictures))
    path = tmp_path / f"cut.{ending}"
    write_tar(path, names, pictures, "w" if ending == "tar" else "w:gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = find_source(path).listing()
    assert 0 < len(found.uris) < 20
    assert [name for name, _ in found.rejected] == [f"cut.{ending}"]
    assert "cannot be read to its end" in found.rejected[0][1] or "no end mark" in found.rejected[0][1]


def test_pictures_of_an_archive_or_folder_that_cannot_be_read_any_more_stay(pictures: Path, tmp_path: Path) -> None:
    path, names = tmp_path / "a.tar", sorted(os.listdir(pictures))
    write_tar(path, names, pictures)
    whole = path.read_bytes()
    embedded(path, tmp_path / "emb")
    path.write_bytes(whole[: len(whole) // 2])
    report = embedded(path, tmp_path / "emb")
    assert (report.count, report.removed, report.rejected) == (20, 0, 1)
    assert "pictures stay as they were" in report.notes[0]
    write_tar(path, names[:5], pictures)  # read to its end again: what is not there is gone
    report = embedded(path, tmp_path / "emb")
    assert (report.count, report.removed, report.rejected, report.notes) == (5, 15, 0, [])


def test_a_tar_damaged_inside_is_not_taken_for_a_short_one(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, sorted(os.listdir(pictures)), pictures)
    with tarfile.open(path) as archive:
        place = archive.getmembers()[10].offset
    content = bytearray(path.read_bytes())
    content[place : place + 100] = b"\xff" * 100  # tarfile itself ends here without a word
    path.write_bytes(content)
    found = find_source(path).listing()
    assert len(found.uris) == 10
    assert found.rejected == [("a.tar", "has no end mark: it was cut, or is damaged inside")]
    report = embedded(path, tmp_path / "emb")
    assert (report.count, report.rejected) == (10, 1)  # all that is whole, and the archive


def test_only_pictures_whose_names_are_new_and_regular_count_in_a_tar(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("p000.jpg", "p001.jpg", "p000.jpg"):
            archive.add(pictures / name, arcname=name)
        archive.add(pictures / "p002.jpg", arcname="._p002.jpg")
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = find_source(path).listing()
    assert found.uris == ["a.tar#p000.jpg", "a.tar#p001.jpg"]
    assert found.rejected == [("a.tar#p000.jpg", "a name that the archive holds already")]


def test_a_range_with_missing_files_is_refused_and_a_gap_is_said(pictures: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in (0, 1, 3):
        write_tar(shards / f"{number:05d}.tar", ["p000.jpg"], pictures)
    with pytest.raises(BeholderError, match=r"1 of the 4 names .* \(first: .*00002.tar\)"):
        find_source(shards / "{00000..00003}.tar")
    assert find_source(shards / "{00000..00001}.tar").archives == ("00000.tar", "00001.tar")
    assert find_source([shards / "00000.tar", shards / "00001.tar"]).archives == ("00000.tar", "00001.tar")
    assert find_source(shards / "*.tar").notes == ("*.tar: 1 of the numbers 0 to 3 are missing (first: 00002)",)
    assert find_source(shards).notes == ("*.tar: 1 of the numbers 0 to 3 are missing (first: 00002)",)
    assert find_source(shards / "{00000,00003}.tar").notes == ()  # says itself which it means
    assert find_source(shards / "*3.tar").notes == (f"{shards / '*3.tar'} matches one file only",)
    with pytest.raises(BeholderError, match="matches no file"):
        find_source(shards / "*.tar.gz")
    with pytest.raises(BeholderError, match="name an archive twice"):
        find_source([shards / "00000.tar", shards / "00000.tar"])


def test_a_grown_or_changed_tar_embeds_only_what_is_new(pictures: Path, tmp_path: Path) -> None:
    shards, names = tmp_path / "shards", sorted(os.listdir(pictures))
    shards.mkdir()
    write_tar(shards / "00000.tar", names[:6], pictures)
    embedded(shards / "*.tar", tmp_path / "emb")
    write_tar(shards / "00001.tar", names[6:9], pictures)
    report = embedded(shards / "*.tar", tmp_path / "emb")
    assert (report.count, report.new, report.embedded) == (9, 3, 3)
    write_pictures(tmp_path / "other", 1, seed=5)
    (tmp_path / "other" / "p000.jpg").replace(pictures / "p002.jpg")
    write_tar(shards / "00000.tar", [*names[:5], names[10]], pictures)  # p002 changed, p005 gone, p010 new
    report = embedded(shards / "*.tar", tmp_path / "emb")
    assert (report.count, report.new, report.changed, report.removed, report.embedded) == (9, 1, 1, 1, 2)
    assert verify(tmp_path / "emb")
    os.utime(shards / "00000.tar", (1, 1))  # touched: looked at once, then known
    assert embedded(shards / "*.tar", tmp_path / "emb").embedded == 0
    seen = pq.read_table(tmp_path / "emb" / "seen.parquet").to_pydict()
    assert dict(zip(seen["uri"], seen["mtime_ns"], strict=True))["00000.tar"] == 10**9


def test_a_kill_within_a_tar_and_a_rerun_give_the_same_bytes(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "pictures", 60)
    write_tar(tmp_path / "a.tar", names, tmp_path / "pictures", json=metadata)
    assert start_child(tmp_path / "a.tar", tmp_path / "straight").wait(timeout=200) == 0
    child = start_child(tmp_path / "a.tar", tmp_path / "killed")
    deadline = time.monotonic() + 120
    while child.poll() is None and len(list((tmp_path / "killed" / "parts").glob("*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert start_child(tmp_path / "a.tar", tmp_path / "killed").wait(timeout=200) == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


PEAK = """
import resource, sys
from pathlib import Path
from tests.retrieval.source_forms import embedded
embedded(Path(sys.argv[1]), Path(sys.argv[2]), shard_size=64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Peak memory in MB of the parent; 256 KiB of pixels and bytes a picture would show as 100 MB more."""
    peaks = []
    for number, count in enumerate((64, 512)):
        names = write_pictures(tmp_path / f"p{number}", count, side=160)
        write_tar(tmp_path / f"{number}.tar.gz", names, tmp_path / f"p{number}", "w:gz", json=metadata)
        command = [sys.executable, "-c", PEAK, str(tmp_path / f"{number}.tar.gz"), str(tmp_path / f"emb{number}")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 24, peaks


def test_a_gallery_shows_pictures_out_of_a_tar(pictures: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ["p000.jpg", "p001.jpg"], pictures)
    results = [
        Result(number, number + 1, f"a.tar#{name}", 0.5, "", 48, 48, None)
        for number, name in enumerate(("p000.jpg", "p001.jpg", "gone.jpg"))
    ]
    write_gallery(tmp_path / "page.html", [("boats", results)], tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "1 picture could not be read" in page
    shown = page.split("base64,")[1].split('"')[0]
    import base64

    assert Image.open(io.BytesIO(base64.b64decode(shown))).size == (48, 48)
