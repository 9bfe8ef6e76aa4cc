"""Sources other than folders: the same pictures give the same vectors, and nothing is read in part without a word."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes import Embeddings
from indexes.errors import BeholderError
from indexes.shards import EncoderRecord, verify
from retrieval import sources
from retrieval.archives import Misfit, Picture, content_of, fitted, type_of
from retrieval.gallery import write_gallery
from retrieval.images import Preprocessing, decode
from retrieval.pipeline import EmbedConfig, EmbedReport, embed
from retrieval.results import Result
from retrieval.sources import contents, find_source, pictures
from tests.conftest import ROOT, write_pictures
from tests.retrieval.test_pipeline import contents as files_of
from tests.retrieval.test_pipeline import start_child


class Colours:
    """A projection of the pixels: an encoder that starts in no time."""

    name = "colours"
    preprocessing = Preprocessing(16, (0, 0, 0), (1, 1, 1))
    record = EncoderRecord("colours", "a", "b", 8, preprocessing.to_dict())

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        vectors = flat @ np.random.default_rng(0).normal(size=(flat.shape[1], 8)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embedded(source: object, folder: Path, **options: object) -> EmbedReport:
    config = EmbedConfig(**{"batch_size": 4, "shard_size": 8, "workers": 1, **options})
    return embed(source, folder, config, encoder=Colours())  # type: ignore[arg-type]


def write_tar(path: Path, names: list[str], folder: Path, mode: str = "w", **side: Callable[[str], bytes]) -> None:
    """`name.jpg` and the texts beside it: side = {"txt": of a name, "json": of a name}."""
    with tarfile.open(path, mode) as archive:
        for name in names:
            archive.add(folder / name, arcname=name)
            for ending, text in side.items():
                content = text(name)
                header = tarfile.TarInfo(f"{Path(name).stem}.{ending}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))


def caption(name: str) -> str:
    return f"picture {name}"


def metadata(name: str) -> bytes:
    return json.dumps({"caption": caption(name), "similarity": len(name) / 3, "year": 1900, "width": 5}).encode()


def as_tar(folder: Path, out: Path) -> object:
    names = sorted(os.listdir(folder))
    write_tar(out / "00000.tar", names[:12], folder, txt=lambda name: caption(name).encode(), json=metadata)
    write_tar(out / "00001.tar", names[12:], folder, txt=lambda name: caption(name).encode(), json=metadata)
    (out / "00000.parquet").write_bytes(b"img2dataset writes one, without pictures")
    return out


def as_packed_tar(ending: str) -> Callable[[Path, Path], object]:
    def write(folder: Path, out: Path) -> object:
        plain = out / "plain"
        write_tar(plain, sorted(os.listdir(folder)), folder, json=metadata)
        path = out / f"all.tar.{ending}"
        if ending == "zst":
            with pa.output_stream(str(path), compression="zstd") as stream:
                stream.write(plain.read_bytes())
        else:
            opened = {"gz": __import__("gzip"), "bz2": __import__("bz2"), "xz": __import__("lzma")}[ending].open
            with opened(path, "wb") as stream:
                stream.write(plain.read_bytes())
        plain.unlink()
        return path

    return write


def columns_of(names: list[str]) -> dict[str, object]:
    return {"caption": [caption(name) for name in names], "similarity": [len(name) / 3 for name in names]}


def as_img2dataset_parquet(folder: Path, out: Path) -> object:
    names = sorted(os.listdir(folder))
    held = [(folder / name).read_bytes() for name in names]
    more = columns_of(names) | {"status": ["success"] * len(names), "year": [1900] * len(names), "key": names}
    pq.write_table(pa.table({"jpg": held, **more}), out / "00000.parquet", row_group_size=7)
    return out / "*.parquet"


def as_hugging_face_parquet(folder: Path, out: Path) -> object:
    names = sorted(os.listdir(folder))
    held = [{"bytes": (folder / name).read_bytes(), "path": name} for name in names]
    table = pa.table({"image": held, **columns_of(names), "label": [0] * len(names)})
    features = {"info": {"features": {"label": {"names": ["art"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), out / "data.parquet")
    return out / "data.parquet"


def as_parquet_of_paths(folder: Path, out: Path) -> object:
    names = sorted(os.listdir(folder))
    paths = [
        str(folder / name) if number % 2 else os.path.relpath(folder / name, out) for number, name in enumerate(names)
    ]
    pq.write_table(pa.table({"path": paths, **columns_of(names)}), out / "list.parquet")
    return out / "list.parquet"


def as_dataset(folder: Path, out: Path) -> object:
    import datasets

    names = sorted(os.listdir(folder))
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string"), "similarity": datasets.Value("float64")}
    )
    table = {"image": [str(folder / name) for name in names], **columns_of(names)}
    whole = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict({"train": whole.select(range(15)), "test": whole.select(range(15, 20))}).save_to_disk(
        out / "d"
    )
    return out / "d"


WAYS = {
    "tar": as_tar,
    "tar.gz": as_packed_tar("gz"),
    "tar.zst": as_packed_tar("zst"),
    "img2dataset's Parquet": as_img2dataset_parquet,
    "Hugging Face's Parquet": as_hugging_face_parquet,
    "Parquet of paths": as_parquet_of_paths,
    "dataset on disk": as_dataset,
}


def by_digest(folder: Path) -> dict[str, bytes]:
    embeddings = Embeddings(folder)
    vectors = np.concatenate([vectors for _, vectors in embeddings.blocks()])
    digests = embeddings.items().column("sha256").to_pylist()
    return {digest: vector.tobytes() for digest, vector in zip(digests, vectors, strict=True)}


@pytest.mark.parametrize("way", WAYS)
def test_pictures_in_an_archive_get_what_they_get_in_a_folder(way: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    source = WAYS[way](pictures, tmp_path / "out")
    report = embedded(source, tmp_path / "emb")
    assert (report.count, report.rejected) == (20, 0)
    assert verify(tmp_path / "emb")
    expected = {
        hashlib.sha256((pictures / name).read_bytes()).hexdigest(): Colours().encode_images(
            np.asarray(fit_16(pictures / name))[None]
        )[0]
        for name in os.listdir(pictures)
    }
    found = by_digest(tmp_path / "emb")
    assert found.keys() == expected.keys()
    for digest, vector in expected.items():
        np.testing.assert_allclose(np.frombuffer(found[digest], np.float16), vector, atol=1e-3)
    items = Embeddings(tmp_path / "emb").items()
    held = dict(zip(items.column("sha256").to_pylist(), items.to_pylist(), strict=True))
    one = held[hashlib.sha256((pictures / "p007.jpg").read_bytes()).hexdigest()]
    assert one["caption"] == "picture p007.jpg"
    assert one["similarity"] == pytest.approx(8 / 3)
    assert one["width"] == 48  # of the picture, not what the source says
    again = embedded(source, tmp_path / "emb")
    assert (again.new, again.changed, again.removed, again.embedded) == (0, 0, 0, 0)
    root = (tmp_path / "emb" / Embeddings(tmp_path / "emb").manifest.source).resolve()
    for uri, content in contents(root, items.column("uri").to_pylist()):
        assert content is not None
        assert hashlib.sha256(content).hexdigest() in expected, uri


def fit_16(path: Path) -> np.ndarray:
    from retrieval.images import fit

    return fit(decode(path.read_bytes()), Colours.preprocessing)


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


def test_archives_beside_pictures_are_not_left_out_silently(pictures: Path) -> None:
    write_tar(pictures / "more.tar", ["p000.jpg"], pictures)
    source = find_source(pictures)
    assert source.archives is None
    assert source.notes == ("1 archives beside the pictures were left aside; name them to embed them",)


def test_rows_without_a_picture_are_counted_not_embedded(pictures: Path, tmp_path: Path) -> None:
    held = [(pictures / "p000.jpg").read_bytes(), None, (pictures / "p001.jpg").read_bytes(), None]
    pq.write_table(pa.table({"jpg": pa.array(held, pa.binary()), "url": ["a", "b", "c", "d"]}), tmp_path / "a.parquet")
    found = find_source(tmp_path / "a.parquet").listing()
    assert found.uris == ["a.parquet#0", "a.parquet#2"]
    assert found.notes == ["a.parquet: 2 rows hold no picture"]
    assert found.columns == {"url": "string"}


def test_a_table_without_pictures_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://a"], "text": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(BeholderError, match="has columns url, text"):
        find_source(tmp_path / "a.parquet")


def test_rows_that_lead_out_of_the_root_or_to_the_network_are_rejected(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    paths = ["../secret.jpg", "http://example.org/a.jpg", "list.parquet", None]
    write_pictures(tmp_path, 1)
    pq.write_table(pa.table({"path": paths}), tmp_path / "out" / "list.parquet")
    found = list(pictures_of(tmp_path / "out", "list.parquet", 4))
    assert [bool(picture.reason) for picture in found] == [True] * 4
    assert "leads out of" in found[0].reason
    assert "web address" in found[1].reason
    assert dict(contents(tmp_path / "out", ["../p000.jpg", "/etc/hostname", "nothing.jpg"])) == {"nothing.jpg": None}


def pictures_of(root: Path, name: str, count: int) -> list[Picture]:
    return list(pictures(root, [f"{name}#{row}" for row in range(count)]))


def test_a_hash_in_a_file_name_is_no_archive(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "C#", 1)
    write_pictures(tmp_path / "a.tar#b", 1)  # a folder of such a name
    found = find_source(tmp_path).listing()
    assert found.uris == [f"C#/{names[0]}", f"a.tar#b/{names[0]}"]
    assert all(content for _, content in contents(tmp_path, found.uris))


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


def test_values_keep_their_columns_type_and_misfits_are_counted(pictures: Path, tmp_path: Path) -> None:
    def odd(name: str) -> bytes:
        values: dict[str, object] = {"year": 1900, "tags": ["a", "b"]}
        if name == "p003.jpg":
            values = {"year": "MDCCC"}
        return json.dumps(values).encode()

    write_tar(tmp_path / "00000.tar", ["p000.jpg", "p001.jpg"], pictures, json=odd)
    write_tar(tmp_path / "00001.tar", ["p002.jpg", "p003.jpg"], pictures, json=odd)
    report = embedded(tmp_path / "{00000,00001}.tar", tmp_path / "emb")
    items = Embeddings(tmp_path / "emb").items()
    assert items.column("year").to_pylist() == [1900, 1900, 1900, None]
    assert items.column("tags").to_pylist() == ['["a", "b"]'] * 3 + [None]
    assert report.notes == ["column year: 1 values of another type, or not in the first pictures, were left out"]


PEAK = """
import resource, sys
from pathlib import Path
from tests.retrieval.test_sources import embedded
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


def test_types_of_columns() -> None:
    assert [type_of(values) for values in ([1, None], [1, 2.5], [True], ["a", 1], [None], [[1]])] == [
        "int64",
        "double",
        "bool",
        "string",
        "string",
        "string",
    ]
    assert (fitted(3.0, "int64"), fitted(3, "double"), fitted({"a": 1}, "string")) == (3, 3.0, '{"a": 1}')
    for value, kind in ((3.5, "int64"), ("3", "double"), (True, "int64"), (1, "bool"), (2**63, "int64")):
        with pytest.raises(Misfit):
            fitted(value, kind)


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


def test_names_that_a_shell_wrote_out_are_all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """clip-retrieval reads only one file where the shell has expanded the pattern."""
    import typer
    from typer.testing import CliRunner

    from retrieval import cli

    called: list[object] = []

    def fake(source: object, embeddings: Path, *_: object, **__: object) -> EmbedReport:
        called.extend([source, embeddings])
        return EmbedReport(count=3, notes=["*.tar: 1 of the numbers 0 to 3 are missing (first: 2)"])

    monkeypatch.setattr("retrieval.pipeline.embed", fake)
    app = typer.Typer()
    app.command()(cli.embed)
    done = CliRunner().invoke(app, ["0.tar", "1.tar", "3.tar", "out.emb"])
    assert called == [["0.tar", "1.tar", "3.tar"], Path("out.emb")]
    assert done.stdout == "out.emb: 3 pictures (0 new, 0 changed, 0 removed, 0 rejected)\n"
    assert done.stderr == "note: *.tar: 1 of the numbers 0 to 3 are missing (first: 2)\n"
