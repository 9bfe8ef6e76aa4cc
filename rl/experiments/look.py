"""Look: the text tower, or both, learn what words like "moody" ask of a picture.

The teacher takes the word out of the query and adds its signed attributes by look scorers; the student is asked the
query as typed. Trained on some words and a glossary, with everyday subjects, over training photographs; measured by
second formulas on other photographs, on trained and on unseen words. Settings are chosen on dev photographs with one
trained word of each attribute and direction held out; `val` is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import Number, Run, command_of, describe_machine
from benchmarks.taste.look import Look
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align
from rl.alignment.config import AlignConfig
from rl.alignment.shift import direction_of_pairs, shifted
from rl.dev import hit_rates
from rl.preferences import read_preferences, write_preferences

from .config import Anchored
from .flickr import NAME
from .kept import OBJECT_SET, OBJECTS, Floats, Kept, Objects
from .look_data import Measured, Shown, Words, in_words, look_lists, shown_to_learn
from .look_val import tested
from .parts import Parts
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option
from .tiers import Tiers

Anchor = tuple[float, float]  # weights of the captions' and of the queries' anchor
ALPHAS = (0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
BS = tuple(0.25 * step for step in range(2, 9))  # 0.5 to 2, of which the teacher's is chosen
LAMS = (0.05, 0.1, 0.2, 0.4, 0.8)
MOST_LOST = 5.0  # points of the subject's share, as `bench look` has it
NO_BUDGET = 100.0
KINDS = {"aligned": "aligned", "own": "aligned without the glossary", "shuffled": "aligned to shuffled lists"}
NOT_SETTINGS = (
    "run",
    "data",
    "embeddings",
    "cache",
    "glossary",
    "seeds",
    "control_seeds",
    "anchor_weights",
    "logit_anchor_weights",
    "dev_only",
    "name",
)


@dataclass(frozen=True)
class LookExperiment(Anchored):
    """Options of `align experiment look`."""

    glossary: Path = option(Path("docs/experiments/look/glossary.tsv"), "More words, and what they ask for.")
    logit_anchor_weights: tuple[float, ...] = option(
        (0.02, 0.025), "Of the spread of queries' logits around those of their subjects, tried on dev."
    )
    b: float = option(0.0, "Of each attribute of the teacher; 0: chosen on dev (decision 0022).")
    list_b: float = option(100.0, "As --b, of lists: so large that the look alone decides.")
    subjects: int = option(20, "Drawn for each word.")
    reference: str = option("subject", "What the reference is given: the subject alone, or the query as typed.")
    draws: int = option(3, "Lists of a word with a subject.")
    depth: int = option(0, "Pictures nearest to the subject, among which a list tells the look; 0: all.")
    top: int = option(670, "Places of the list's order that its best come from.")
    rest: int = option(0, "Pictures of a list that are farther from the subject: pairs that tell the subject.")
    towers: str = option("both", "Which towers are tuned: text or both.")
    picture_lr: float = option(0.0, "Of the image tower's upper blocks, with --towers both; 0: its head alone.")
    frozen_blocks: int = option(12, "Lowest blocks of the image tower that stay, with --towers both.")
    smoothing: float = option(0.0, "Of the preference labels.")
    steps: int = option(1000, "Of a run.")
    captions_batch: int = option(256, "Captioned pictures beside them, which are held in place.")
    anchored: tuple[str, ...] = option((NAME, OBJECT_SET), "Sets that the captioned pictures are drawn from.")
    gap: int = option(536, "Places of the teacher's order that a pair is apart, at least.")
    name: str = option("experiment-look", "Of the run.")

    def __post_init__(self) -> None:
        if not self.seeds or not self.anchors or not self.b >= 0:
            raise BeholderError(
                f"{len(self.seeds)} seeds, {len(self.anchors)} weights of anchors, b = {self.b:g}",
                "a seed, a weight of each anchor, and b of 0 or more",
            )
        if self.rest and not self.depth:
            raise BeholderError(f"--rest {self.rest} where all pictures tell the look", "a depth", "Set --depth.")
        if self.reference not in ("subject", "query"):
            raise BeholderError(f"reference {self.reference}", "subject or query")
        if self.towers not in ("text", "both"):
            raise BeholderError(f"towers {self.towers}", "text or both")

    @property
    def anchors(self) -> list[Anchor]:
        """Tried on dev."""
        return list(product(self.anchor_weights, self.logit_anchor_weights))


def settings(config: LookExperiment, places: Places) -> AlignConfig:
    """Of all runs, but for tables, seed, anchors and labels."""
    return config.settings(
        pictures=tuple(str(places.embeddings(name)) for name in dict.fromkeys((NAME, *config.anchored))),
        captions=config.anchored,
        towers=config.towers,
        image_lr=config.picture_lr,
        frozen_blocks=config.frozen_blocks if config.towers == "both" else 0,
        dev_share=0.02,
    )


def measure(config: LookExperiment, say: Say = lambda line: None) -> Run:
    """Teaches the towers what words ask of a picture's look, and measures it by formulas that nothing ranks by.

    Example: beholder align experiment look work/look --data ../shared/data
    """
    if not config.glossary.is_file():
        raise BeholderError(f"{config.glossary} is not there", "a table of words", "Name it with --glossary.")
    places = Places(data_folder(config.data), config.embeddings or config.run / "emb", load_encoder(config.model), say)
    record = places.encoder.record
    steps = Steps(config.run, say, len(config.anchors) + 3 + sum(len(config.seeds_of(kind)) for kind in KINDS))
    own = content_of(config, without=NOT_SETTINGS)
    own |= {"base": [record.image_fingerprint, record.text_fingerprint], "glossary": sha256_file(config.glossary)}
    teacher = steps.do("teacher", own, partial(_teacher, config, places))
    asked, config = config, replace(config, b=teacher["b"])
    tried = [steps.do(_dev_name(anchor), own, partial(_chosen_by, config, places, anchor)) for anchor in config.anchors]
    choice = chosen(tried, config.max_retention_loss)
    say(f"chosen: anchor {choice['anchor']:g}, of logits {choice['logit anchor']:g}, alpha {choice['alpha']:g}")
    shift = steps.do("shift", own, partial(_best_shift, config, places))
    choices = {**own, "choice": choice, "lam": shift["lam"], "seeds": [config.seeds_of(kind) for kind in KINDS]}
    if config.dev_only:
        numbers = dev_numbers(tried, choice, shift)
    else:
        for kind in KINDS:
            for seed in config.seeds_of(kind):
                make = partial(_reported, config, places, kind, seed, choice)
                steps.do(f"{kind}-seed-{seed}", {**own, "choice": choice}, make)
        numbers = steps.once("val", choices, partial(_tested, config, places, shift["lam"]))
    return Run(
        name=config.name,
        command=command_of("align experiment look", asked),
        machine=describe_machine(),
        seed=0,
        data={
            "captions_sha256": sha256_file(places.data / NAME / "captions.tsv"),
            "glossary_sha256": sha256_file(config.glossary),
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            "seeds": list(config.seeds),
        },
        numbers={name: Number(**one) for name, one in numbers.items()},
        notes=(_protocol(config, choice, shift["lam"]),),
    )


def chosen(tried: Sequence[Mapping[str, Any]], most: float) -> dict[str, float]:
    """Anchors and alpha with the best mean percentile of trained and held-out words, of those that keep hit_rate@10 and
    the mAP of objects within `most` points and the subject within MOST_LOST. Raises ConditionFailed where none is
    inside."""
    inside = [
        {name: one[name] for name in ("anchor", "logit anchor")}
        | {"alpha": row["alpha"], "value": (row["look trained"] + row["look unseen"]) / 2}
        for one in tried
        for row in one["sweep"]
        if max(one["base"][name] - row[name] for name in ("hit_rate@10", OBJECTS)) <= most + 1e-9
        and one["base"]["subject"] - row["subject"] <= MOST_LOST + 1e-9
    ]
    if not inside:
        raise ConditionFailed(
            f"all anchors and alphas lose more than {most:g} points of captions or objects, or the subject",
            "one inside all budgets",
            "Add --logit-anchor-weights.",
        )
    best: dict[str, float] = max(inside, key=lambda one: one["value"])
    return best


def _teacher(config: LookExperiment, places: Places) -> dict[str, Any]:
    """The teacher's b: the largest at which the trained words keep their subject on dev."""
    measured = Measured(places, "dev", Words.read(None, dev=True))
    base = measured.figures(measured.asked(places.encoder))
    bs = (config.b,) if config.b else BS
    tried = [{"b": b, **measured.figures(measured.teacher(places.encoder, b))} for b in bs]
    inside = [one["b"] for one in tried if base["subject"] - one["subject"] <= MOST_LOST + 1e-9]
    if not inside:
        raise ConditionFailed(
            f"every b loses more than {MOST_LOST:g} points of the subject", "a smaller one", "Add --b."
        )
    return {"b": max(inside), "base": base, "tried": tried}


def _dev_name(anchor: Anchor) -> str:
    return f"dev-anchor-{anchor[0]:g}-{anchor[1]:g}"


def _chosen_by(config: LookExperiment, places: Places, anchor: Anchor) -> dict[str, Any]:
    words = Words.read(config.glossary, dev=True)
    measured = Measured(places, "dev", words, _parts(config))
    found = _align(config, places, words, measured, _dev_name(anchor), anchor=anchor, alphas=ALPHAS, budget=NO_BUDGET)
    teacher = measured.figures(measured.teacher(places.encoder, config.b))
    rewritten = measured.figures(_rewritten(places.encoder, measured))
    told = {"anchor": anchor[0], "logit anchor": anchor[1]}
    return {**told, "teacher": teacher, "rewritten": rewritten, **found}


def _reported(
    config: LookExperiment, places: Places, kind: str, seed: int, choice: Mapping[str, float]
) -> dict[str, Any]:
    words = Words.read(None if kind == "own" else config.glossary, dev=False)
    own = Words.read(None, dev=True)  # those that were held out are now trained on, like the others
    seen = Measured(places, "dev", own, _parts(config))
    return _align(
        config,
        places,
        words,
        seen,
        f"{kind}-seed-{seed}",
        anchor=(choice["anchor"], choice["logit anchor"]),
        alphas=tuple(one for one in ALPHAS if one <= choice["alpha"]),
        budget=config.max_retention_loss,
        seed=seed,
        labels="shuffled" if kind == "shuffled" else "teacher",
    )


def _align(
    config: LookExperiment,
    places: Places,
    words: Words,
    measured: Measured,
    name: str,
    *,
    anchor: Anchor,
    alphas: tuple[float, ...],
    budget: float,
    seed: int = 0,
    labels: str = "teacher",
) -> dict[str, Any]:
    """The report of a run; its checkpoint is run/runs/NAME/model."""
    import json

    lists = config.run / "lists" / f"{len(words.learnt)}-words-{seed}.parquet"
    if not lists.is_file():
        _write_lists(config, places.encoder, words, shown_to_learn(places), lists, seed)
    align_config = replace(
        settings(config, places),
        preferences=str(lists),
        anchor_weight=anchor[0],
        logit_anchor_weight=anchor[1],
        alphas=alphas,
        max_retention_loss=budget,
        seed=seed,
        labels=labels,
    )
    folder = config.run / "runs" / name
    objects = Objects(places, measured.parts)
    report = align(
        align_config,
        folder,
        places.data,
        cache=_cache(config),
        say=places.say,
        extra=lambda encoder: {**measured.figures(measured.asked(encoder)), OBJECTS: objects.of(encoder)},
        select="look unseen",
    )
    found: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return {**found, "seconds": report.seconds}


def _cache(config: LookExperiment) -> Path:
    return config.cache or config.run / "cache"


def _parts(config: LookExperiment) -> Parts | None:
    """Of the base, where its pictures move."""
    both = config.towers == "both"
    return Parts(load_encoder(config.model), config.frozen_blocks, _cache(config)) if both else None


def _write_lists(config: LookExperiment, base: Encoder, words: Words, shown: Shown, path: Path, seed: int) -> None:
    last = config.depth or len(set(shown.sha256s)) - config.rest
    tiers = Tiers(taken=(12, 12, config.rest), ends=(config.top, last), gap=config.gap)
    made = look_lists(
        base,
        words,
        shown,
        subjects=config.subjects,
        depth=config.depth,
        b=config.list_b,
        tiers=tiers,
        draws=config.draws,
        seed=seed,
    )
    if config.reference == "query":
        made = (replace(one, reference="") for one in made)
    write_preferences(path, made, {"experiment": "look", "encoder": base.record.text_fingerprint})


def _rewritten(base: Encoder, measured: Measured) -> Look:
    return measured.of(base.encode_texts([in_words(one) for one in measured.words.asked]) @ measured.vectors.T)


def _best_shift(config: LookExperiment, places: Places) -> dict[str, Any]:
    """lam with the best mean percentile on dev of those that keep captions and the subject; 0 where none does."""
    words = Words.read(config.glossary, dev=True)
    measured, base = Measured(places, "dev", words), places.encoder
    direction = _direction(config, words, shown_to_learn(places), seed=0)
    said, seen, owners = Kept(places, "dev").captions()
    asked = base.encode_texts([one.query for one in words.asked])
    before = hit_rates(seen, said, owners)["hit_rate@10"]
    tried = []
    for lam in (0.0, *LAMS):
        figures = measured.figures(measured.of(shifted(asked, direction, lam) @ measured.vectors.T))
        kept = hit_rates(seen, shifted(said, direction, lam).astype(np.float32), owners)["hit_rate@10"]
        tried.append({"lam": lam, **figures, "lost": before - kept})
    inside = [
        one
        for one in tried
        if one["lost"] <= config.max_retention_loss and tried[0]["subject"] - one["subject"] <= MOST_LOST
    ]
    return {**max(inside, key=lambda one: one["look trained"] + one["look unseen"]), "tried": tried}


def _direction(config: LookExperiment, words: Words, shown: Shown, seed: int) -> Floats:
    """Fitted to the lists of a seed."""
    path = config.run / "lists" / f"{len(words.learnt)}-words-{seed}.parquet"
    rows = {sha256: row for row, sha256 in enumerate(shown.sha256s)}
    return direction_of_pairs(
        (shown.vectors[[rows[name] for name in one.pictures]], one.prefer()) for one in read_preferences(path).lists
    )


def _tested(config: LookExperiment, places: Places, lam: float) -> dict[str, Any]:
    """Every side on val, and what each aligned one has kept."""
    words = Words.read(config.glossary, dev=False)
    base, parts = places.encoder, _parts(config)
    measured, kept = Measured(places, "val", words, parts), Kept(places, "val", parts)
    asked = base.encode_texts([one.query for one in words.asked])
    moved = shifted(asked, _direction(config, words, shown_to_learn(places), config.seeds[0]), lam)
    rows = {
        "base": measured.asked(base),
        "teacher": measured.teacher(base, config.b),
        "base, rewritten text alone": _rewritten(base, measured),
        "constant shift": measured.of(moved @ measured.vectors.T),
    }
    runs = config.run / "runs"
    folders = {
        KINDS[kind]: [runs / f"{kind}-seed-{seed}" / "model" for seed in config.seeds_of(kind)] for kind in KINDS
    }
    return tested(measured, kept, rows, folders)


def dev_numbers(
    tried: Sequence[Mapping[str, Any]], choice: Mapping[str, float], shift: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The dev figures of every side, as a run's numbers."""
    one = next(found for found in tried if all(found[name] == choice[name] for name in ("anchor", "logit anchor")))
    row = next(found for found in one["sweep"] if found["alpha"] == choice["alpha"])
    sides = {
        "base": one["base"],
        "teacher": one["teacher"],
        "base, rewritten text alone": one["rewritten"],
        "constant shift": shift,
        "aligned": row,
    }
    return {
        f"dev {name}: {side}": asdict(Number(found[name] / 100))
        for name in ("look trained", "look unseen", "subject", "hit_rate@10", OBJECTS)
        for side, found in sides.items()
        if name in found
    }


def _protocol(config: LookExperiment, choice: Mapping[str, float], lam: float) -> str:
    read = (
        "dev photographs, one trained word of each attribute and direction held out"
        if config.dev_only
        else f"val, read once by this run; aligned: the mean of {len(config.seeds)} seeds, query by query (controls: "
        f"of {len(config.control_seeds)})"
    )
    return (
        f"Mean percentile, in the word's direction and by formulas that nothing ranks by, of the top 10; {read}; "
        f"intervals over words. Chosen on dev: anchor weights {choice['anchor']:g} and {choice['logit anchor']:g} (of "
        f"logits), alpha {choice['alpha']:g}, shift {lam:g}, b {config.b:g}."
    )
