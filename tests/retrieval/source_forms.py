"""The same pictures in every form that a source may have, and an encoder that starts in no time."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexes.records.shards import EncoderRecord
from retrieval.encoding.pipeline import EmbedConfig, EmbedReport, embed
from retrieval.sources.images import Preprocessing


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
