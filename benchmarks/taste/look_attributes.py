"""The attributes of a gallery's pictures, twice over: by the second formulas, which `bench look` measures with, and by
the scorers that the teacher ranks with. Both are kept by the sha256 of a picture's file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.tables.values import digests_of
from indexes.records.manifest import sha256_bytes
from retrieval.encoding.encoder import Encoder
from retrieval.progress import progress_line
from retrieval.scoring.card import of_pixels, of_vectors, reads_vectors
from retrieval.scoring.scorers import load_scorer

from .aesthetics import picture_scores, read_picture
from .look_measures import MEASURES, measures
from .score_cache import ScoreCache

AT_ONCE = 8  # pictures held at once
SECOND = "second-"  # before an attribute's name: no scorer is named so
PROBE_SIDE = 64  # px
Floats = npt.NDArray[np.float64]
Columns = dict[tuple[str, str], dict[str, float]]  # (name, fingerprint) -> sha256 -> score


def attributes(
    folder: Path, names: Sequence[str], base: Encoder, vectors: npt.NDArray[np.float32], cache: ScoreCache
) -> tuple[Floats, Floats]:
    """The second formulas (N, 6), and the scorers that the teacher applies (N, 6), both in MEASURES' order, of float32.

    Raises BeholderError for pictures that are missing or cannot be read.
    """
    found = digests_of(folder, names)
    digests = [found[name] for name in names]
    scorers = {name: load_scorer(name) for name in MEASURES}
    looked = {scorer.card.name: scorer for scorer in of_pixels(list(scorers.values()))}
    version = second_fingerprint()
    keys = {**{SECOND + name: version for name in MEASURES}, **{n: s.card.fingerprint for n, s in looked.items()}}
    held: Columns = {(name, print_): cache.known(name, print_) for name, print_ in keys.items()}
    new = [place for place, sha256 in enumerate(digests) if any(sha256 not in column for column in held.values())]
    fresh: dict[str, dict[str, float]] = {name: {} for name in keys}
    with progress_line("pictures") as progress:
        for at in range(0, len(new), AT_ONCE):
            places = new[at : at + AT_ONCE]
            pictures = [read_picture(folder / names[place]) for place in places]
            values = {name: scorer.score_pictures(pictures) for name, scorer in looked.items()}
            measured = np.array([measures(one) for one in pictures], np.float32)
            values |= {SECOND + name: measured[:, column] for column, name in enumerate(MEASURES)}
            for name, row in values.items():
                fresh[name].update(zip((digests[place] for place in places), row.tolist(), strict=True))
            progress(at + len(places), len(new))
    for name, print_ in keys.items():
        card = (
            looked[name].card.to_dict() if name in looked else {"name": name, "model": MEASURES[name[len(SECOND) :]][1]}
        )
        cache.keep(name, print_, card, fresh[name])
        held[name, print_].update(fresh[name])

    def column(name: str) -> Floats:
        return np.array([held[name, keys[name]][sha256] for sha256 in digests])

    first = {name: column(name) for name in looked}
    for reader in of_vectors(list(scorers.values())):
        own = reads_vectors(reader.card, base.record)
        scores = reader.score_vectors(vectors) if own else picture_scores(reader, folder, list(names))
        first[reader.card.name] = np.asarray(scores, np.float64)
    second = np.stack([column(SECOND + name) for name in MEASURES], axis=1)
    return second, np.stack([first[name] for name in MEASURES], axis=1)


def second_fingerprint() -> str:
    """sha256 of what the second formulas say of a picture that is drawn by a seed: another formula, another decoder of
    colours or another JPEG encoder gives another one."""
    probe = np.random.default_rng(0).integers(0, 256, (PROBE_SIDE, PROBE_SIDE, 3), dtype=np.uint8)
    probe[: PROBE_SIDE // 2] //= 4  # a dark half, so that averages over the picture differ from those of a plain one
    return sha256_bytes(measures(probe).astype(np.float32).tobytes())
