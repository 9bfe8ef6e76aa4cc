"""Facts of the pictures of known sets, for grounded.py: captions, labels, people's scores, and kept scores of scorers.

Pictures' paths are relative to the folder that holds the sets. Scores come from EMBEDDINGS/scores/, which `beholder
score` wrote, by the sha256 of each picture; people's scores take the place of a scorer's of the same attribute.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.tables.evaluation import refuse_evaluation
from benchmarks.tables.terms import terms_of
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.scores import FOLDER, read_scores
from retrieval.critic.claims import claim_words
from rl.captions import read_tsv, style_name

from .grounded import APPEAL, Facts, Measured

TRAIN, DEV = "train", "dev"
LOOK = "brightness", "contrast", "saturation", "colourfulness", "warmth", "complexity"
DEPICTIONS = {"photo": "a photo", "art": "art"}


@dataclass(frozen=True)
class Scores:
    """Kept scores: name of the scorer -> sha256 -> value, and the scorers' fingerprints: of two versions, one alone."""

    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def read_kept(embeddings: Sequence[Path], names: Sequence[str]) -> Scores:
    """Scores of these scorers in these EMBEDDINGS. Raises BeholderError where a scorer has scores in none of them or of
    two versions, and for a name that there are no words for."""
    values: dict[str, dict[str, float]] = {}
    fingerprints: dict[str, str] = {}
    for name in names:
        if name not in claim_words():
            raise BeholderError(f"there are no words for {name!r}", ", ".join(claim_words()), "Leave it out.")
        files = [file for folder in embeddings if (file := folder / FOLDER / f"{name}.parquet").is_file()]
        if not files:
            raise BeholderError(
                f"there are no scores of {name} in {', '.join(map(str, embeddings)) or 'no folder'}",
                "scores of the pictures",
                f"Run `beholder score EMBEDDINGS --scorer {name}`, and give --embeddings.",
            )
        for file in files:
            column = read_scores(file)
            if fingerprints.setdefault(name, column.fingerprint) != column.fingerprint:
                raise BeholderError(f"{file} is of another version of {name}", "one version", "Score again.")
            values.setdefault(name, {}).update(zip(column.sha256s, column.values.tolist(), strict=True))
    return Scores(values, fingerprints)


def facts_of(data: Path, sources: Sequence[str], splits: Sequence[str], scores: Scores) -> tuple[list[Facts], int]:
    """Facts of the pictures of these splits, and how many pictures were left out as their files are missing.

    Raises BeholderError for an unknown source, for none at all, and where a picture that is kept for evaluation is in a
    split to train on.
    """
    found: list[Facts] = []
    missing = 0
    for source in sources:
        if source not in SOURCES:
            raise BeholderError(f"there is no source {source!r}", ", ".join(SOURCES), "Check the name.")
        for one in SOURCES[source](data / source):
            if one.split not in splits:
                continue
            path = data / one.picture
            if not path.is_file():
                missing += 1
                continue
            sha256 = sha256_file(path)
            measured = {
                name: Measured(values[sha256], name) for name, values in scores.values.items() if sha256 in values
            }
            found.append(replace(one, sha256=sha256, measured={**measured, **one.measured}))
    if not found:
        raise BeholderError(
            f"no picture of {', '.join(sources)} in split {', '.join(splits)}", "one at least", "Check --data."
        )
    refuse_evaluation((one.picture, one.sha256) for one in found if one.split in (TRAIN, DEV))
    return found, missing


def _facts(folder: Path, name: str, split: str, table: str = "items.tsv") -> Facts:
    terms = terms_of(f"{folder.name}/{table}")
    return Facts(f"{folder.name}/{name}", "", folder.name, terms.licence if terms else "", split)


def _flickr8k(folder: Path) -> Iterator[Facts]:
    captions: dict[str, list[str]] = {}
    for row in read_tsv(folder / "captions.tsv", ("image", "caption")):
        captions.setdefault(row["image"], []).append(row["caption"])
    for row in read_tsv(folder / "splits.tsv", ("image", "split")):
        one = _facts(folder, f"images/{row['image']}", row["split"], "captions.tsv")
        yield replace(one, captions=tuple(captions.get(row["image"], ())))


def _peopleart(folder: Path) -> Iterator[Facts]:
    for row in read_tsv(folder / "items.tsv", ("file", "style", "split", "complexity_score")):
        art = row["style"] not in ("photo", "cartoon")
        labels = {"style": style_name(row["style"])} if art else {}
        # Suprematism was scored on a scale of its own.
        scale = f"people's complexity of {'suprematism' if row['style'] == 'Suprematism' else 'art'}"
        one = _facts(folder, row["file"], row["split"])
        yield replace(one, labels=labels, measured=_people("complexity", row["complexity_score"], scale))


def _photoart(folder: Path) -> Iterator[Facts]:
    for row in read_tsv(folder / "items.tsv", ("file", "object", "depiction", "split")):
        labels = {"object": row["object"], "depiction": DEPICTIONS[row["depiction"]]}
        yield replace(_facts(folder, row["file"], row["split"]), labels=labels)


def _website(folder: Path) -> Iterator[Facts]:
    for row in read_tsv(folder / "items.tsv", ("file", "mean_score", "split")):
        measured = _people(APPEAL, row["mean_score"], "people's appeal of web pages")
        yield replace(_facts(folder, row["file"], row["split"]), measured=measured)


def _savoias(folder: Path) -> Iterator[Facts]:
    for row in read_tsv(folder / "items.tsv", ("file", "category", "complexity_score", "split")):
        measured = _people("complexity", row["complexity_score"], f"people's complexity of {row['category']}")
        yield replace(_facts(folder, row["file"], row["split"]), measured=measured)


def _people(about: str, cell: str, scale: str) -> dict[str, Measured]:
    return {about: Measured(float(cell), scale)} if cell else {}


SOURCES: dict[str, Callable[[Path], Iterator[Facts]]] = {
    "flickr8k": _flickr8k,
    "peopleart": _peopleart,
    "photoart": _photoart,
    "website": _website,
    "savoias": _savoias,
}
