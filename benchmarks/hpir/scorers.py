"""Scores of a set's pictures that do not depend on the query: by scorers, and by people, from a table."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.tables.judgements import read_tsv
from benchmarks.tables.values import digests_of, image_column, number
from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.scoring.card import Scorer, ScorerCard, check_encoder, of_pixels, of_vectors, reads_vectors

from .pictures import SetPictures, Vectors

Floats = npt.NDArray[np.float64]


def picture_scores(
    scorers: Mapping[str, Scorer],
    encoders: Mapping[str, Encoder],
    vectors: Mapping[str, Vectors],
    pictures: SetPictures,
) -> dict[str, Floats]:
    """(N,) of all pictures by each scorer, higher is better."""
    found: dict[str, Floats] = {}
    for name, scorer in scorers.items():
        values = pictures.stored_scores(scorer.card)
        for reader in of_vectors([scorer]) if values is None else ():
            values = reader.score_vectors(_vectors_for(reader.card, encoders, vectors, pictures)).astype(np.float64)
        for looker in of_pixels([scorer]) if values is None else ():
            values = np.concatenate([looker.score_pictures(batch) for batch in pictures.batches()]).astype(np.float64)
        if values is None:
            raise BeholderError(f"{name} scores neither vectors nor pixels", "a scorer of one", "Use another scorer.")
        found[name] = values if scorer.card.higher_is_better else -values
    return found


def _vectors_for(
    card: ScorerCard, encoders: Mapping[str, Encoder], vectors: Mapping[str, Vectors], pictures: SetPictures
) -> Vectors:
    """Vectors of the encoder that a scorer reads: one of those that are compared, of EMBEDDINGS, or its own, loaded."""
    for name, encoder in encoders.items():
        if reads_vectors(card, encoder.record):
            return vectors[name]
    for folder in pictures.embeddings:
        record = folder.manifest.encoder
        stored = pictures.stored_vectors(record) if reads_vectors(card, record) else None
        if stored is not None:
            return stored
    encoder = load_encoder(card.encoder_names[0])
    check_encoder(card, encoder.record)
    return pictures.vectors(encoder)


def table_scores(table: Path, column: str, pictures: SetPictures) -> Floats:
    """(N,) of a TSV's column, by the sha256 of the pictures beside it. Raises BeholderError where some have none."""
    rows = read_tsv(table, [column])
    image = image_column("", rows, table)
    digests = digests_of(table.parent, [row[image] for row in rows])
    known = {digests[row[image]]: number(row[column], row[image], column) for row in rows}
    missing = [sha256 for sha256 in pictures.sha256s if sha256 not in known]
    if missing:
        found = f"{len(missing)} of the set's {len(pictures.sha256s)} pictures are not in {table.name}"
        raise BeholderError(found, f"a {column} for each", "Give the table of the set's pictures.")
    return np.array([known[sha256] for sha256 in pictures.sha256s])
