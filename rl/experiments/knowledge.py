"""Knowledge: the text tower learns what a language model's rewrites say of a description.

Descriptions of painting styles that never name them are asked as typed; the teacher is the base given the recorded
rewrite of each. Trained on some phrasings and on queries of two glossaries, measured on paintings that nothing was
trained on, on trained and on unseen phrasings. Settings are chosen with two of the trained phrasings held out, on
training paintings that no list holds; `val` is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align
from rl.alignment.config import AlignConfig

from .config import Anchored
from .kept import OBJECTS
from .knowledge_data import GLOSSARIES, PAINTINGS, Descriptions, DevFigures, paintings, write_lists
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option
from .tiers import Tiers

KINDS = {  # of runs: what differs from the one that is reported
    "aligned": "everything",
    "own": "without the glossaries",
    "shuffled": "lists in random order",
}
ALPHAS = (0.25, 0.5, 0.75, 1.0)
HELD_OUT = 2  # phrasings before the last trained one that choices take for unseen
NO_BUDGET = 100.0  # points
PLACES = (
    "run",
    "data",
    "embeddings",
    "dev_embeddings",
    "dev_model",
    "cache",
    "texts",
    "seeds",
    "control_seeds",
    "anchor_weights",
    "dev_only",
    "name",
)
TRAINED, UNSEEN = "precision@8 trained", "precision@8 unseen"


@dataclass(frozen=True)
class KnowledgeExperiment(Anchored):
    """Options of `align experiment knowledge`."""

    texts: Path = option(Path("docs/experiments/knowledge"), "Folder of the queries, rewrites and glossaries.")
    dev_model: str = option("", "The base of choices: one that was not trained on their paintings; default: the base.")
    dev_embeddings: Path | None = option(None, "As --embeddings, of --dev-model; default: RUN/dev-emb.")
    trained: int = option(6, "Phrasings up to this one are trained on.")
    draws: int = option(16, "Lists of a trained phrasing.")
    glossary_draws: int = option(2, "Lists of a query of the glossaries.")
    name: str = option("experiment-knowledge", "Of the run.")

    def __post_init__(self) -> None:
        if not self.seeds or not self.anchor_weights or self.trained <= HELD_OUT:
            raise BeholderError(
                f"{len(self.seeds)} seeds, {len(self.anchor_weights)} anchor weights, {self.trained} phrasings",
                f"a seed, a weight, and more than {HELD_OUT} phrasings",
            )


def settings(config: KnowledgeExperiment) -> AlignConfig:
    """Of all runs, but for tables, pictures, seed, anchor and labels."""
    return config.settings(captions=("flickr8k", "photoart"))


def measure(config: KnowledgeExperiment, say: Say = lambda line: None) -> Run:
    """Teaches the text tower what recorded rewrites say of descriptions, and measures it on unseen paintings.

    Example: beholder align experiment knowledge work/knowledge --data ../shared/data
    """
    data = data_folder(config.data)
    places = Places(data, config.embeddings or config.run / "emb", load_encoder(config.model), say)
    record = places.encoder.record
    texts = Descriptions.read(config.texts, data / PAINTINGS / "items.tsv")
    steps = Steps(config.run, say, len(config.anchor_weights) + 2 + sum(len(config.seeds_of(kind)) for kind in KINDS))
    own = content_of(config, without=PLACES)
    own |= {"base": [record.image_fingerprint, record.text_fingerprint], "texts": _digests(config.texts)}
    dev = places
    if config.dev_model:
        dev = Places(data, config.dev_embeddings or config.run / "dev-emb", load_encoder(config.dev_model), say)
    own |= {"dev_base": [dev.encoder.record.image_fingerprint, dev.encoder.record.text_fingerprint]}
    tried = [
        steps.do(f"dev-anchor-{weight:g}", own, partial(_chosen_by, config, dev, texts, weight))
        for weight in config.anchor_weights
    ]
    choice = chosen(tried, config.max_retention_loss)
    say(f"chosen: anchor {choice['anchor']:g}, alpha {choice['alpha']:g}")
    from .knowledge_val import best_shift, tested

    shift = steps.do(
        "shift", own, partial(best_shift, dev, texts, config.trained, config.max_retention_loss, config.run)
    )
    choices = {**own, "choice": choice, "lam": shift["lam"], "seeds": [config.seeds_of(kind) for kind in KINDS]}
    if config.dev_only:
        numbers = dev_numbers(tried, choice, shift)
    else:
        for kind in KINDS:
            for seed in config.seeds_of(kind):
                make = partial(_reported, config, places, texts, kind, seed, choice)
                steps.do(f"{kind}-seed-{seed}", {**own, "choice": choice}, make)
        make = partial(
            tested,
            config.run,
            places,
            texts,
            config.trained,
            {kind: config.seeds_of(kind) for kind in KINDS},
            shift["lam"],
        )
        numbers = steps.once("val", choices, make)
    return Run(
        name=config.name,
        command=command_of("align experiment knowledge", config),
        machine=describe_machine(),
        seed=0,
        data={
            "table_sha256": sha256_file(data / PAINTINGS / "items.tsv"),
            "texts_sha256": _digests(config.texts),
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            "seeds": list(config.seeds),
        },
        numbers={name: Number(**one) for name, one in numbers.items()},
        notes=(_protocol(config, choice, shift),),
    )


def chosen(tried: Sequence[Mapping[str, Any]], most: float) -> dict[str, float]:
    """Anchor and alpha with the best mean precision@8 of trained and held-out phrasings, of those that lose at most
    `most` points of hit_rate@10 and of mAP. Raises ConditionFailed where none is inside."""
    inside = [
        {"anchor": one["anchor"], "alpha": row["alpha"], "value": (row[TRAINED] + row[UNSEEN]) / 2}
        for one in tried
        for row in one["sweep"]
        if max(one["base"][name] - row[name] for name in ("hit_rate@10", OBJECTS)) <= most + 1e-9
    ]
    if not inside:
        raise ConditionFailed(
            f"every anchor and alpha loses more than {most:g} points", "one inside the budget", "Add --anchor-weights."
        )
    best: dict[str, float] = max(inside, key=lambda one: one["value"])
    return best


def _chosen_by(config: KnowledgeExperiment, places: Places, texts: Descriptions, weight: float) -> dict[str, Any]:
    """A run that leaves out what choices are made by: the figures of the base, of its teacher and at every alpha."""
    last = config.trained - HELD_OUT
    figures = DevFigures(places, texts, last, range(last + 1, config.trained + 1))
    told = Told(texts, last, dev=True)
    folder = config.run / "runs" / f"dev-anchor-{weight:g}"
    found = _align(config, places, told, folder, figures, anchor=weight, alphas=ALPHAS, budget=NO_BUDGET)
    teacher = figures.of(places.encoder, [one.rewrite for one in figures.asked])
    return {"anchor": weight, "teacher": teacher, **found}


def _reported(
    config: KnowledgeExperiment, places: Places, texts: Descriptions, kind: str, seed: int, choice: Mapping[str, float]
) -> dict[str, Any]:
    return _align(
        config,
        places,
        Told(replace(texts, glossary=()) if kind == "own" else texts, config.trained, dev=False),
        config.run / "runs" / f"{kind}-seed-{seed}",
        DevFigures(places, texts, config.trained, ()),
        anchor=choice["anchor"],
        alphas=tuple(one for one in ALPHAS if one <= choice["alpha"]),
        budget=config.max_retention_loss,
        seed=seed,
        labels="shuffled" if kind == "shuffled" else "teacher",
    )


@dataclass(frozen=True)
class Told:
    """What a run learns from: phrasings up to `last` and the glossary, of all training paintings, or (dev) of those
    that choices are not made by."""

    texts: Descriptions
    last: int
    dev: bool

    def name(self, part: str, seed: int) -> str:
        return f"{'dev-' if self.dev else ''}{part}-{self.last}-{seed}.parquet"


def _align(
    config: KnowledgeExperiment,
    places: Places,
    told: Told,
    folder: Path,
    figures: DevFigures,
    *,
    anchor: float,
    alphas: tuple[float, ...],
    budget: float,
    seed: int = 0,
    labels: str = "teacher",
) -> dict[str, Any]:
    """The report of a run; its checkpoint is `folder`/model."""
    import json

    lists, own = config.run / "lists", [(one.query, one.rewrite) for one in told.texts.up_to(told.last)]
    shown = paintings(places, "train", dev=False if told.dev else None)
    parts = []
    for part, pairs, draws in (
        ("own", own, config.draws),
        ("glossary", told.texts.glossary, config.glossary_draws),
    ):
        path = lists / told.name(part, seed)
        if pairs and not path.is_file():
            write_lists(path, places.encoder, pairs, shown, Tiers(gap=config.gap), draws=draws, seed=seed)
        parts += [path] if pairs else []
    align_config = replace(
        settings(config),
        base=config.dev_model if told.dev and config.dev_model else config.model,
        preferences=str(_joined(lists / told.name(f"train{len(parts)}", seed), parts)),
        dev_preferences=str(_dev_lists(lists, places, told, figures)),
        pictures=tuple(str(places.embeddings(name)) for name in (PAINTINGS, "flickr8k", "photoart")),
        anchor_weight=anchor,
        alphas=alphas,
        max_retention_loss=budget,
        seed=seed,
        labels=labels,
    )
    cache, select = config.cache or config.run / "cache", UNSEEN if told.dev else TRAINED
    report = align(align_config, folder, places.data, cache=cache, say=places.say, extra=figures, select=select)
    found: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return {**found, "seconds": report.seconds}


def _joined(path: Path, parts: Sequence[Path]) -> Path:
    """One table of several."""
    from rl.preferences import read_preferences, write_preferences

    if not path.is_file():
        read = [read_preferences(part) for part in parts]
        write_preferences(path, (one for table in read for one in table.lists), read[0].origin)
    return path


def _dev_lists(lists: Path, places: Places, told: Told, figures: DevFigures) -> Path:
    """Lists over the paintings that figures are of: of the phrasings that are held out, or of all where none is."""
    held = [one for one, seen in zip(figures.asked, figures.seen, strict=True) if not seen] or figures.asked
    path = lists / told.name("figures", 0)
    if not path.is_file():
        tiers = Tiers(ends=(24, 120), gap=24)  # they may be few
        pairs = [(one.query, one.rewrite) for one in held]
        write_lists(path, places.encoder, pairs, figures.shown, tiers, draws=1, seed=0)
    return path


def dev_numbers(
    tried: Sequence[Mapping[str, Any]], choice: Mapping[str, float], shift: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The dev figures of base, teacher, shift and what was chosen, as a run's numbers."""
    from dataclasses import asdict

    one = next(found for found in tried if found["anchor"] == choice["anchor"])
    row = next(found for found in one["sweep"] if found["alpha"] == choice["alpha"])
    names = (TRAINED, UNSEEN, OBJECTS, "hit_rate@10")
    sides = {"base": one["base"], "base, rewritten": one["teacher"], "aligned": row}
    numbers = {
        f"dev {name}: {side}": asdict(Number(found[name] / 100))
        for name in names
        for side, found in sides.items()
        if name in found
    }
    for name in (TRAINED, UNSEEN):
        there = one["teacher"][name] - one["base"][name]
        numbers[f"dev share of the teacher's gain, {name}"] = asdict(Number((row[name] - one["base"][name]) / there))
        numbers[f"dev {name}: constant shift"] = asdict(Number(shift[name] / 100))
    return numbers


def _digests(folder: Path) -> list[str]:
    return [sha256_file(folder / name) for name in ("queries.tsv", "rewrites.tsv", *GLOSSARIES)]


def _protocol(config: KnowledgeExperiment, choice: Mapping[str, float], shift: Mapping[str, Any]) -> str:
    read = (
        "dev only: two trained phrasings held out, over a fifth of the training paintings"
        if config.dev_only
        else (
            f"val, read once; aligned: the mean of {len(config.seeds)} seeds, query by query (controls: of "
            f"{len(config.control_seeds)}); intervals over queries, gains paired with the base"
        )
    )
    return (
        f"Phrasings 1 to {config.trained} are trained on, later ones never; {read}. Chosen on dev: anchor weight "
        f"{choice['anchor']:g}, alpha {choice['alpha']:g}, shift {shift['lam']:g}. Rewrites are recorded ones."
    )
