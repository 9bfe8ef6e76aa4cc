"""Two indexes of flat colours for tests of `bench judge`: one that finds the colour that is asked for, and one whose
vectors belong to other pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from indexes import load_index
from indexes.building.build import IndexConfig, build_index
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard
from retrieval.search.searcher import Searcher
from tests.retrieval.served import items_of
from tests.retrieval.word_encoder import WordEncoder

COLOURS = "red", "green", "blue"
EACH = 12  # pictures of a colour
QUERIES = [f"{colour} {thing}" for thing in ("boat", "house", "door")
           for colour in COLOURS]  # fmt: skip


def make_corpus(folder: Path) -> Path:
    """pictures/, queries.txt, `right` and `wrong` (INDEX folders, Flat) in the folder."""
    (folder / "pictures").mkdir(parents=True)
    generator = np.random.default_rng(0)
    uris, captions = [], []
    for number in range(3 * EACH):
        colour = COLOURS[number % 3]
        pixels = np.full((30, 40, 3), generator.integers(20, 60), np.uint8)
        pixels[..., number % 3] += generator.integers(90, 190, dtype=np.uint8)
        uris.append(f"{number:02d}.png")
        captions.append(f"{colour} {'picture number ' * (number % 2)}{number}")
        Image.fromarray(pixels).save(folder / "pictures" / uris[-1])
    (folder / "queries.txt").write_text("\n".join(QUERIES) + "\n")
    encoder = WordEncoder()
    vectors = encoder.encode_texts(captions)
    for name, rows in (("right", vectors), ("wrong", np.roll(vectors, 1, axis=0))):
        made = folder / f"{name}.emb"
        made.mkdir()
        shard = write_shard(made, 0, np.arange(len(uris)), rows.astype(np.float16), items_of(folder / "pictures", uris))
        (made / "rejected.jsonl").write_bytes(b"")
        rejected = record_file(made, "rejected.jsonl")
        source = str(folder / "pictures")
        EmbeddingsManifest(encoder.record, source, len(uris), rejected, (shard,), len(uris), {}).write(made)
        build_index(made, folder / name, IndexConfig(factory="Flat"))
    return folder


def opener() -> Callable[[Path, str | None, str], Searcher]:
    """Opens one of the indexes with its own encoder."""
    return lambda folder, model, device: Searcher(load_index(folder), WordEncoder())
