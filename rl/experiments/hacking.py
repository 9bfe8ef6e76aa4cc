"""Reward hacking: does an aligned encoder fall for cheap changes to a picture more than its base does?

A picture alone is changed (a border, colour pushed up, a word of praise laid over, blur), and its percentile for a
query among the pictures as they are is read before and after. Pages are asked for by the phrasings of the experiment
`people`, photographs by captions of other photographs, which a change cannot make truer. Text-aligned checkpoints: the
pictures' vectors are the base's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.sources.images import decode, fit

from .config import Experiment
from .flickr import NAME, read_gallery
from .hacking_changes import CHANGES, lifted
from .people_data import SCORED, TRAINED, UNSEEN, Pages
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option

BATCH = 32
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class HackingConfig(Experiment):
    """Options of `align experiment hacking`."""

    people: tuple[str, ...] = option((), "Checkpoints of the experiment people, one a seed: text towers.")
    beauty: tuple[str, ...] = option((), "Checkpoints of the experiment beauty, one a seed: text towers.")
    photographs: int = option(200, "Photographs that are changed, drawn from val.")
    captions: int = option(100, "Captions that each photograph is ranked for, none its own.")
    split: str = option("val", "Of the photographs; pages are those held out.")
    name: str = option("experiment-hacking", "Of the run.")


def measure(config: HackingConfig, say: Say = lambda line: None) -> Run:
    """Changes pictures cheaply, and tells how far base and aligned encoders move them up.

    Example: beholder align experiment hacking work/hacking --people work/people/runs/text-seed-0/model
    """
    places = Places(data_folder(config.data), config.embeddings or config.run / "emb", load_encoder(config.model), say)
    own = content_of(config, without=("run", "data", "embeddings", "name"))
    own |= {"base": [places.encoder.record.image_fingerprint, places.encoder.record.text_fingerprint]}
    steps = Steps(config.run, say, 2)
    numbers: dict[str, dict[str, Any]] = {}
    for what, checkpoints, probe in (("pages", config.people, _pages), ("photographs", config.beauty, _photographs)):
        if checkpoints:
            numbers |= steps.do(what, own, partial(probe, config, places))
    if not numbers:
        raise BeholderError("no checkpoint", "--people or --beauty CHECKPOINT", "Run these experiments first.")
    return Run(
        name=config.name,
        command=command_of("align experiment hacking", config),
        machine=describe_machine(),
        seed=0,
        data={
            "encoder": Path(places.encoder.record.name).name,
            "image_fingerprint": places.encoder.record.image_fingerprint,
            "text_fingerprint": places.encoder.record.text_fingerprint,
            "checkpoints": [len(config.people), len(config.beauty)],
        },
        numbers={name: Number(**one) for name, one in numbers.items()},
        notes=(
            "How far a picture moves among the pictures as they are when it alone is changed: the change of its "
            "percentile, 100 % from last to first; means over queries and seeds, intervals over pictures. Below 0: the "
            "change costs. More than the base: paired by picture.",
        ),
    )


def _pages(config: HackingConfig, places: Places) -> dict[str, dict[str, Any]]:
    files = Pages.read(places.data, "test").files
    texts = [*TRAINED, *UNSEEN]
    return _probed(places, SCORED, files, texts, None, config.people, "pages")


def _photographs(config: HackingConfig, places: Places) -> dict[str, dict[str, Any]]:
    gallery = read_gallery(places, config.split, ())
    generator = np.random.default_rng(0)
    drawn = np.sort(generator.permutation(len(gallery.files))[: config.photographs])
    asked = generator.permutation(len(gallery.captions))[: config.captions]
    owners = np.array([gallery.judged.queries[place].relevant[0] for place in asked])
    strange = owners[:, None] != drawn[None, :]
    files = [gallery.files[place] for place in drawn]
    texts = [gallery.captions[place] for place in asked]
    return _probed(places, NAME, files, texts, strange, config.beauty, "photographs")


def _probed(
    places: Places,
    name: str,
    files: Sequence[str],
    texts: Sequence[str],
    counts: NDArray[np.bool_] | None,
    checkpoints: Sequence[str],
    what: str,
) -> dict[str, dict[str, Any]]:
    """Numbers of each change: the base's lift, the aligned encoders', the difference. counts (Q, N): which count."""
    encoders = [load_encoder(one) for one in checkpoints]
    for encoder in encoders:
        if encoder.record.image_fingerprint != places.encoder.record.image_fingerprint:
            raise BeholderError(
                f"{encoder.name} has another image tower", "a tuned text tower", "Give text checkpoints."
            )
    queries = [places.encoder.encode_texts(list(texts)), *(one.encode_texts(list(texts)) for one in encoders)]
    before = _vectors(places.encoder, places.pictures(name), files, None)
    numbers: dict[str, Number] = {}
    for change in CHANGES:
        after = _vectors(places.encoder, places.pictures(name), files, change)
        base, *tuned = (lifts(mine, before, after, counts) for mine in queries)
        numbers |= lift_numbers(f"{what}, {change}", base, np.mean(tuned, axis=0))
        places.say(f"{what}: {change}")
    return {key: asdict(one) for key, one in numbers.items()}


def lifts(queries: Rows, before: Rows, after: Rows, counts: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """(N,) mean lift of each picture over queries (Q, D); counts (Q, N) says which queries count for a picture."""
    rows = np.stack([lifted(mine @ before.T, mine @ after.T) for mine in queries])
    told = np.ones_like(rows) if counts is None else counts.astype(np.float64)
    return np.asarray((rows * told).sum(0) / told.sum(0), np.float64)


def lift_numbers(what: str, base: NDArray[np.float64], tuned: NDArray[np.float64]) -> Mapping[str, Number]:
    return {
        f"{what}: base": Number.of(bootstrap_mean(base)),
        f"{what}: aligned": Number.of(bootstrap_mean(tuned)),
        f"{what}: aligned more than base": Number.of(paired_difference(tuned, base)),
    }


def _vectors(encoder: Encoder, folder: Path, files: Sequence[str], change: str | None) -> Rows:
    """(N, D) of pictures as they are (None) or changed."""
    parts = []
    for at in range(0, len(files), BATCH):
        pictures = [decode((folder / name).read_bytes()) for name in files[at : at + BATCH]]
        changed = pictures if change is None else [CHANGES[change](picture) for picture in pictures]
        parts.append(encoder.encode_images(np.stack([fit(one, encoder.preprocessing) for one in changed])))
    return np.concatenate(parts)
