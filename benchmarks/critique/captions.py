"""`bench critique captions`: a critic's captions against people's, beside what a search engine and a person earn.

Each picture's captions are its references. Retrieval: the first caption of the nearest training picture, by the vectors
of EMBEDDINGS; it looks at the picture and cannot write. A person: one caption of each picture against the others (one
reference fewer, so a little low).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.judgements import choose_rows, match_names, read_splits, read_tsv
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.shards import Embeddings
from retrieval.critic.conversation_readers import DESCRIBE
from retrieval.progress import progress_line

from .critics import Asked, AskingConfig, Critic, load_critic, shown_spec, texts_of, unanswered
from .text_metrics import CAPTION_METRICS, measure_texts, signatures
from .texts import Wanted, number_of, numbers_of


@dataclass(frozen=True)
class CaptionsConfig(AskingConfig):
    """Options of `bench critique captions`."""

    table: Path
    critic: str = ""  # "": baselines alone
    text_column: str = "caption"
    image_column: str = "image"
    splits: Path | None = None
    split: str = "val"
    train_split: str = "train"  # that retrieval takes captions from
    pictures: Path | None = None
    embeddings: Path | None = None  # of both splits' pictures
    limit: int = 0
    name: str = field(default="critique-captions", kw_only=True)


def measure_captions(config: CaptionsConfig, *, critic: Critic | None = None) -> Run:
    """The run record. `critic`: one already loaded, instead of config.critic. Raises BeholderError for a table without
    rows of the split, and where there is neither critic nor EMBEDDINGS."""
    if critic is None and config.critic:
        critic = load_critic(config.critic, config.settings)
    if critic is None and config.embeddings is None:
        raise BeholderError("neither --critic nor --embeddings", "one at least", "Name a critic.")
    captions = _captions(config, config.split)
    names = sorted(captions)
    if 0 < config.limit < len(names):
        names = sorted(random.Random(config.seed).sample(names, config.limit))
    folder = config.pictures or config.table.parent
    wanted = [Wanted(Asked(name, DESCRIBE[0], (folder / name,)), tuple(captions[name])) for name in names]
    numbers: dict[str, Number] = {}
    notes: list[str] = []
    if critic is not None:
        with progress_line("captions") as progress:
            said = critic.answer([one.asked for one in wanted], progress)
        numbers |= numbers_of(texts_of(said), wanted, config.seed, CAPTION_METRICS)
        notes.append(unanswered(said))
    if config.embeddings is not None:
        known = _captions(config, config.train_split)
        nearest = nearest_captions(config.embeddings, names, known)
        numbers |= _row("retrieval", nearest, [one.references for one in wanted], config.seed)
        notes.append(f"Retrieval: the first caption of the nearest of {len(known)} pictures of {config.train_split}.")
    several = [one for one in wanted if len(one.references) > 1]
    if several:
        first, rest = [one.references[0] for one in several], [one.references[1:] for one in several]
        numbers |= _row("a person", first, rest, config.seed)
    notes += [f"{metric}: {told}." for metric, told in signatures(CAPTION_METRICS).items()]
    data = {
        "table": portable_path(config.table),
        "table_sha256": sha256_file(config.table),
        "split": config.split,
        "pictures": len(names),
        **(critic.known if critic is not None else {}),
    }
    return Run(
        name=config.name,
        command=command_of("bench critique captions", replace(config, critic=shown_spec(config.critic))),
        machine=describe_machine(),
        seed=config.seed,
        data=data,
        numbers=numbers,
        notes=tuple(note for note in notes if note),
    )


def nearest_captions(folder: Path, names: Sequence[str], captions: dict[str, list[str]]) -> list[str]:
    """For each picture the first caption of the nearest other picture that has captions, by cosine. Raises
    BeholderError where EMBEDDINGS lack a picture."""
    embeddings = Embeddings(folder)
    uris = embeddings.items().column("uri").to_pylist()
    vectors = np.concatenate([np.asarray(block, np.float32) for _, block in embeddings.blocks()])
    known = sorted(captions)
    rows, others = match_names(list(names), uris), match_names(known, uris)
    if (rows < 0).any() or (others < 0).all():
        raise BeholderError(
            f"{int((rows < 0).sum())} of {len(names)} pictures are not in {folder}", "both splits", "Embed them."
        )
    there = others >= 0
    places = np.flatnonzero(there)
    similar = vectors[rows] @ vectors[others[there]].T
    similar[rows[:, None] == others[there][None, :]] = -np.inf  # itself is no neighbour
    return [captions[known[places[column]]][0] for column in similar.argmax(axis=1)]


def _row(name: str, texts: Sequence[str], references: Sequence[Sequence[str]], seed: int) -> dict[str, Number]:
    scored = measure_texts(texts, references, CAPTION_METRICS)
    return {f"{name}: {metric}": number_of(metric, one, seed) for metric, one in scored.items()}


def _captions(config: CaptionsConfig, split: str) -> dict[str, list[str]]:
    rows = read_tsv(config.table, (config.image_column, config.text_column))
    splits = read_splits(config.splits, config.image_column) if config.splits is not None else None
    chosen, _ = choose_rows(rows, config.image_column, split, splits)
    captions: dict[str, list[str]] = {}
    for row in chosen:
        captions.setdefault(row[config.image_column], []).append(row[config.text_column])
    return captions
