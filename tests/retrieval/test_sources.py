"""Sources other than folders: the same pictures give the same vectors, and what is missing is said."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from indexes import Embeddings
from indexes.records.shards import verify
from retrieval.encoding.pipeline import EmbedReport
from retrieval.sources.archives import Misfit, fitted, type_of
from retrieval.sources.images import decode
from retrieval.sources.sources import contents, find_source
from tests.conftest import write_pictures
from tests.retrieval.source_forms import WAYS, Colours, embedded, write_tar


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
    from retrieval.sources.images import fit

    return fit(decode(path.read_bytes()), Colours.preprocessing)


def test_archives_beside_pictures_are_not_left_out_silently(pictures: Path) -> None:
    write_tar(pictures / "more.tar", ["p000.jpg"], pictures)
    source = find_source(pictures)
    assert source.archives is None
    assert source.notes == ("1 archives beside the pictures were left aside; name them to embed them",)


def test_a_hash_in_a_file_name_is_no_archive(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "C#", 1)
    write_pictures(tmp_path / "a.tar#b", 1)  # a folder of such a name
    found = find_source(tmp_path).listing()
    assert found.uris == [f"C#/{names[0]}", f"a.tar#b/{names[0]}"]
    assert all(content for _, content in contents(tmp_path, found.uris))


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


def test_names_that_a_shell_wrote_out_are_all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """clip-retrieval reads only one file where the shell has expanded the pattern."""
    import typer
    from typer.testing import CliRunner

    from retrieval import cli

    called: list[object] = []

    def fake(source: object, embeddings: Path, *_: object, **__: object) -> EmbedReport:
        called.extend([source, embeddings])
        return EmbedReport(count=3, notes=["*.tar: 1 of the numbers 0 to 3 are missing (first: 2)"])

    monkeypatch.setattr("retrieval.encoding.pipeline.embed", fake)
    app = typer.Typer()
    app.command()(cli.embed)
    done = CliRunner().invoke(app, ["0.tar", "1.tar", "3.tar", "out.emb"])
    assert called == [["0.tar", "1.tar", "3.tar"], Path("out.emb")]
    assert done.stdout == "out.emb: 3 pictures (0 new, 0 changed, 0 removed, 0 rejected)\n"
    assert done.stderr == "note: *.tar: 1 of the numbers 0 to 3 are missing (first: 2)\n"
