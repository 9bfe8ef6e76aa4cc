"""Units of an embedding run as tasks for other machines: the same bytes, and what a machine may lack."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import BeholderError
from retrieval.__main__ import with_values
from retrieval.encoding import pipeline
from retrieval.encoding.encode_unit import UnitTask, run_unit
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.sources.images import decode, fit
from tests.retrieval.source_forms import metadata, write_tar
from tests.retrieval.test_pipeline import contents


class InTurn:
    """A cluster of one process: what it is given and gives back goes through pickle, as through Ray."""

    def __init__(self, address: str) -> None:
        self.done: list[Any] = []

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], *, cpus: int = 1, gpus: int = 0
    ) -> Iterator[Any]:
        for task in tasks:
            yield pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(task)))))


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


def config(model: Path, **options: object) -> EmbedConfig:
    return EmbedConfig(**{"model": str(model), "batch_size": 4, "shard_size": 8, "workers": 1, "threads": 1, **options})


def task(folder: Path, encoder: Encoder, model: Path, **changes: object) -> UnitTask:
    names = tuple(sorted(path.name for path in folder.iterdir()))
    fingerprint = encoder.record.image_fingerprint
    whole = UnitTask(str(folder), names, str(model), fingerprint, "cpu", 1, 0, 4, 10**6)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", [False, True])
def test_units_done_elsewhere_give_the_same_bytes(
    packed: bool, pictures: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "p003.jpg").write_bytes(b"no picture")
    source = pictures
    if packed:
        source = tmp_path / "all.tar"
        write_tar(source, sorted(path.name for path in pictures.iterdir()), pictures, json=metadata)
    embed(source, tmp_path / "here", config(tiny_model))
    monkeypatch.setattr(pipeline, "Cluster", InTurn)
    report = embed(source, tmp_path / "there", config(tiny_model, ray="anywhere", workers=0))
    assert (report.count, report.rejected, report.embedded) == (19, 1, 19)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert embed(source, tmp_path / "there", config(tiny_model, ray="anywhere")).embedded == 0


def test_a_run_on_a_cluster_goes_on_where_it_was_stopped(
    pictures: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(pictures, tmp_path / "straight", config(tiny_model))

    class Stopped(InTurn):
        def map(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            whole = super().map(*arguments, **options)
            yield next(whole)
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "Cluster", Stopped)
    with pytest.raises(KeyboardInterrupt):
        embed(pictures, tmp_path / "emb", config(tiny_model, ray="anywhere"))
    monkeypatch.setattr(pipeline, "Cluster", InTurn)
    report = embed(pictures, tmp_path / "emb", config(tiny_model, ray="anywhere"))
    assert (report.resumed_shards, report.embedded) == (1, 12)
    assert contents(tmp_path / "emb") == contents(tmp_path / "straight")


def test_a_unit_gives_what_each_picture_gets_alone(pictures: Path, tiny: Encoder, tiny_model: Path) -> None:
    encoded = run_unit(task(pictures, tiny, tiny_model))
    assert [picture.uri for picture in encoded.good] == sorted(path.name for path in pictures.iterdir())
    for picture, vector in zip(encoded.good, encoded.vectors, strict=True):
        pixels = fit(decode((pictures / picture.uri).read_bytes()), tiny.preprocessing)
        np.testing.assert_allclose(vector, tiny.encode_images(pixels[None])[0], atol=1e-5)
    assert set(encoded.seconds) == {"read", "decode", "encode"}


def test_a_machine_without_the_pictures_or_with_another_encoder_is_said(
    pictures: Path, tiny: Encoder, tiny_model: Path
) -> None:
    with pytest.raises(BeholderError, match="has no folder /nowhere"):
        run_unit(task(pictures, tiny, tiny_model, root="/nowhere"))
    with pytest.raises(BeholderError, match="has another encoder"):
        run_unit(task(pictures, tiny, tiny_model, image_fingerprint="0" * 64))


def test_the_address_of_a_cluster_may_be_left_out() -> None:
    assert with_values(["embed", "a", "b", "--ray"]) == ["embed", "a", "b", "--ray", "auto"]
    assert with_values(["embed", "--ray", "--json", "a", "b"]) == ["embed", "--ray", "auto", "--json", "a", "b"]
    assert with_values(["embed", "a", "b", "--ray", "head:6379"]) == ["embed", "a", "b", "--ray", "head:6379"]
