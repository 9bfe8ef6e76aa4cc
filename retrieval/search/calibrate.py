"""The relevance cut-off of an index: asks it meaningless and real queries and writes what they reach into its
manifest. `indexes.records.calibration` has the statistics."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, LEAST_QUERIES, Calibration, calibrated
from indexes.records.locks import locked
from indexes.records.segments import IndexManifest
from indexes.searching.safety import remember
from indexes.searching.search import Index, load_index
from retrieval.encoding.encoder import TextEncoder

from .cut_off import calibration_of, statistics
from .generic_queries import generic_queries
from .gibberish import gibberish
from .query_encoder import check_encoder, load_text_encoder

NULL_QUERIES = 500
CAPTIONS = 500  # drawn by seed
LEAST_PICTURES = 10 * DEPTH  # in fewer, the best DEPTH are more than a tenth of all
GROWTH = 0.1  # share of pictures more or fewer with which a calibration still stands: the best ten hardly move
NULL_SEED = 20240  # of the meaningless queries: the same for every index, so that thresholds can be compared


def calibrate(
    index: Index, encoder: TextEncoder, *, captions: Sequence[str] | None = None, seed: int = 0
) -> Calibration:
    """The calibration of an open index. Real queries are `captions`, else the captions that its pictures have, else
    (where fewer than LEAST_QUERIES have one) the generic queries in the box. Raises BeholderError for an index of
    fewer than LEAST_PICTURES."""
    if len(index) < LEAST_PICTURES:
        raise BeholderError(f"{len(index)} pictures", f"at least {LEAST_PICTURES} to calibrate relevance on")
    texts = list(captions) if captions is not None else _captions(index)
    kind = "captions"
    if len(texts) < LEAST_QUERIES:
        texts, kind = list(generic_queries()), "generic"
    else:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:CAPTIONS])
        texts = [texts[place] for place in chosen]
    null = statistics(index, encoder.encode_texts(gibberish(NULL_QUERIES, NULL_SEED)))
    return calibrated(null, statistics(index, encoder.encode_texts(texts)), kind, len(index))


def calibrate_folder(folder: Path, encoder: TextEncoder, *, seed: int = 0) -> IndexManifest:
    """Calibrates an INDEX folder and writes it into its manifest, which is returned. Raises BeholderError for an
    encoder of other pictures, while another run writes the folder, and as `calibrate` does."""
    with locked(folder):
        index = load_index(folder)
        check_encoder(index, encoder)
        found = calibrate(index, encoder, seed=seed)
        manifest = replace(index.manifest, calibration=found.to_dict())
        manifest.write(folder)
        remember(folder)
    return manifest


def _captions(index: Index) -> list[str]:
    """One caption of each picture that has any, in order of id."""
    captions = index.items_table().column("caption").to_pylist()
    return [caption for caption in captions if caption and caption.strip()]


def calibrate_if_possible(
    folder: Path, manifest: IndexManifest, model: str, *, again: bool = False
) -> tuple[IndexManifest, str]:
    """(the manifest, calibrated where that can be done; one line that says so, or why not). again: even where the
    index has been calibrated and has hardly grown since."""
    if manifest.calibration is not None and not again:
        kept = calibration_of(manifest, folder)
        if abs(manifest.count - kept.pictures) <= GROWTH * kept.pictures:
            return manifest, told(kept)
    if manifest.count < LEAST_PICTURES:
        return manifest, f"none: {manifest.count} pictures, and it takes {LEAST_PICTURES}"
    try:
        manifest = calibrate_folder(folder, load_text_encoder(model, NULL_QUERIES))
    except BeholderError as error:  # an index of vectors from elsewhere has no encoder here, and is whole without
        return manifest, f"none: {error}"
    return manifest, told(calibration_of(manifest, folder))


def told(calibration: Calibration) -> str:
    """One line for people."""
    null, real = calibration.null, calibration.real
    kind = "captions" if real.kind == "captions" else "generic queries"
    return (
        f"relevance {calibration.threshold:.3f}: {100 * null.refused:.0f} % of {null.queries} meaningless queries and "
        f"{100 * real.refused:.0f} % of {real.queries} {kind} stay below"
    )
