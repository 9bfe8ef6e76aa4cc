"""The pictures that a benchmark reads: a folder of links to some of them, and their vectors by the real
pipeline.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST
from indexes.records.shards import Embeddings
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.progress import progress_line

from .judgements import match_names


def link_pictures(pictures: Path, names: Sequence[str], place: Path) -> None:
    """Fills `place` with links to `names` under `pictures`, so that any verb can be given just these.

    Raises BeholderError where one is missing, or lies outside.
    """
    require_pictures(pictures, names)
    for name in names:
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise BeholderError(f"the picture {name} lies outside {pictures}", "a name inside it", "Mend the table.")
        link = place / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((pictures / name).resolve())


def require_pictures(pictures: Path, names: Sequence[str]) -> None:
    """Raises BeholderError naming the first picture that is not under `pictures`, and how many are not."""
    missing = [name for name in names if not (pictures / name).is_file()]
    if missing:
        raise BeholderError(
            f"{len(missing)} of {len(names)} pictures are not under {pictures} (first: {missing[0]})",
            "the folder that the table's names are relative to",
            "Give --pictures FOLDER.",
        )


def picture_vectors(
    pictures: Path, names: Sequence[str], encoder: Encoder, config: EmbedConfig, embeddings: Path | None
) -> npt.NDArray[np.float32]:
    """(N, D) float32 of the named pictures, as `embed` stores them (float16).

    `embeddings`: a finished EMBEDDINGS folder is read; an unfinished or absent one is made of all of
    `pictures` and kept. None: only the named pictures are embedded, and nothing is kept.
    """
    if embeddings is None:
        with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
            source, made = Path(place) / "pictures", Path(place) / "embeddings"
            link_pictures(pictures, names, source)
            with progress_line("pictures") as progress:
                embed(source, made, config, encoder=encoder, progress=progress)
            return _rows_of(Embeddings(made), names)
    if not (embeddings / MANIFEST).is_file():
        with progress_line("pictures") as progress:
            embed(pictures, embeddings, config, encoder=encoder, progress=progress)
    found = Embeddings(embeddings)
    if found.manifest.encoder.image_fingerprint != encoder.record.image_fingerprint:
        raise BeholderError(
            f"{embeddings} was made by {found.manifest.encoder.name}, another encoder than {encoder.name}",
            "one encoder for words and pictures",
            "Give its --model, or another --embeddings.",
        )
    return _rows_of(found, names)


def rows_of_names(names: Sequence[str], uris: Sequence[str], where: Path | str) -> npt.NDArray[np.int64]:
    """(names,) rows among `uris`. Raises BeholderError unless every name is there: a missing one would
    count as a miss of the encoder.
    """
    rows = match_names(names, uris)
    if (rows < 0).any():
        first = names[int(np.argmax(rows < 0))]
        raise BeholderError(
            f"{int((rows < 0).sum())} of {len(names)} pictures are not in {where} (first: {first})",
            "all of them",
            "Embed the folder that holds them.",
        )
    return rows


def _rows_of(embeddings: Embeddings, names: Sequence[str]) -> npt.NDArray[np.float32]:
    rows = rows_of_names(names, embeddings.items().column("uri").to_pylist(), embeddings.folder)
    vectors = np.concatenate([block for _, block in embeddings.blocks()])
    return vectors[rows].astype(np.float32)
