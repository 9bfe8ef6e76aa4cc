"""`bench critique texts`: how near a critic's texts are to people's, in the forms of PaintingForm and ArtEmis.

Reads conversations of ours, LLaVA's JSON (PaintingForm's test files) or ArtEmis's CSV, whose rows of one painting are
its references. Beside the metrics stand the length, and what texts without the picture earn: the answer to another
picture, and the question itself. ArtEmis: the emotion that the text names, against people's. Which BLEU, ROUGE and
tokens GalleryGPT's figures are by is not published, so they are quoted beside ours and cannot be set against them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.conversations import IMAGE, Reading, read_conversations
from retrieval.critic.claims import label_said
from retrieval.critic.conversation_readers import EMOTIONS, FEEL, read_artemis, read_llava
from retrieval.progress import progress_line

from .critics import Asked, AskingConfig, Critic, Said, load_critic, shown_spec, texts_of, unanswered
from .scores import emotion_agreement
from .text_metrics import METRICS, Scored, lengths, measure_texts, shuffled, signatures

GALLERYGPT = "quoted from GalleryGPT, its repository's README (kind of BLEU and ROUGE not said)"
PUBLISHED = {  # BLEU, GLEU, METEOR, ROUGE in percent
    "GalleryGPT": (21.23, 21.68, 37.62, 31.34),
    "ShareGPT4V-7B": (12.38, 16.14, 31.53, 26.63),
    "LLaVA-1.5-7B": (9.87, 14.59, 26.19, 26.37),
}


@dataclass(frozen=True)
class TextsConfig(AskingConfig):
    """Options of `bench critique texts`."""

    references: Path
    critic: str = ""
    pictures: Path | None = None  # the folder that names begin at; else that of the references
    split: str = ""  # of conversations and ArtEmis: only this one
    kind: str = ""  # of conversations: only this one
    limit: int = 0  # pictures drawn at random; 0: all
    max_answer_tokens: int = field(default=512, kw_only=True)  # as GalleryGPT's own scripts allow
    name: str = field(default="critique-texts", kw_only=True)


@dataclass(frozen=True)
class Wanted:
    """A question, people's answers, and the emotions that they name (ArtEmis)."""

    asked: Asked
    references: tuple[str, ...]
    emotions: tuple[str, ...] = ()


def measure_written(config: TextsConfig, *, critic: Critic | None = None) -> Run:
    """The run record. `critic`: one already loaded, instead of config.critic."""
    critic = critic or load_critic(config.critic, config.settings)
    reading, wanted = read_wanted(config)
    with progress_line("texts") as progress:
        said = critic.answer([one.asked for one in wanted], progress)
    numbers = numbers_of(texts_of(said), wanted, config.seed)
    if all(one.emotions for one in wanted):
        numbers |= _emotions(said, wanted, config.seed)
    else:
        for name, values in PUBLISHED.items():
            for metric, percent in zip(METRICS, values, strict=True):
                numbers[f"{name}: {metric}"] = Number(percent / 100, source=GALLERYGPT)
    notes = [unanswered(said), *reading.told()]
    notes += [f"{metric}: {told}." for metric, told in signatures().items()]
    data = {
        "references": portable_path(config.references),
        "references_sha256": sha256_file(config.references),
        "texts": len(wanted),
        **critic.known,
    }
    return Run(
        name=config.name,
        command=command_of("bench critique texts", replace(config, critic=shown_spec(config.critic))),
        machine=describe_machine(),
        seed=config.seed,
        data=data,
        numbers=numbers,
        notes=tuple(note for note in notes if note),
    )


def read_wanted(config: TextsConfig) -> tuple[Reading, list[Wanted]]:
    """The file and what is asked of it. Raises BeholderError where nothing is."""
    suffix = config.references.suffix.lower()
    if suffix == ".jsonl":
        reading = read_conversations(config.references)
    elif suffix == ".csv":
        reading = read_artemis(config.references, split=config.split)
    else:
        reading = read_llava(config.references, split=config.split)
    chosen = [
        one
        for one in reading.conversations
        if (not config.split or one.split == config.split) and (not config.kind or one.kind == config.kind)
    ]
    folder = config.pictures or config.references.parent
    wanted: dict[str, Wanted] = {}
    for number, one in enumerate(chosen):
        shown = tuple(folder / path for path in one.pictures)
        said = one.turns[1].text if one.turns[0].role == "user" else one.turns[2].text
        if suffix == ".csv":  # people's own words alone, all of one painting together
            name, emotion = one.pictures[0], one.turns[1].claims[0].says
            before = wanted.get(name, Wanted(Asked(name, FEEL[0], shown), ()))
            text = said.partition(": ")[2]
            wanted[name] = Wanted(before.asked, (*before.references, text), (*before.emotions, emotion))
        else:
            name = one.id if one.id and one.id not in wanted else f"{one.id or config.references.stem}-{number}"
            asked = next(turn.text for turn in one.turns if turn.role == "user").replace(IMAGE, "").strip()
            wanted[name] = Wanted(Asked(name, asked, shown), (said,))
    found = list(wanted.values())
    if not found:
        raise BeholderError(f"{config.references} has nothing to compare with", "one text at least", "Check --split.")
    if 0 < config.limit < len(found):
        found = random.Random(config.seed).sample(found, config.limit)
    return reading, found


def numbers_of(
    texts: Sequence[str], wanted: Sequence[Wanted], seed: int, metrics: Sequence[str] = METRICS
) -> dict[str, Number]:
    """The metrics of texts and of the controls beside them."""
    references = [one.references for one in wanted]
    numbers = {
        name: number_of(name, scored, seed) for name, scored in measure_texts(texts, references, metrics).items()
    }
    numbers["words, of the references'"] = Number(lengths(texts, references), "times")
    controls: dict[str, Sequence[str]] = {"the question itself": [one.asked.text for one in wanted]}
    if len(texts) > 1:
        controls["answers to other pictures"] = shuffled(texts, seed)
    for control, said in controls.items():
        for name, scored in measure_texts(said, references, metrics).items():
            numbers[f"control, {control}: {name}"] = number_of(name, scored, seed)
    return numbers


def number_of(metric: str, scored: Scored, seed: int) -> Number:
    """With an interval over texts where the metric is a mean; CIDEr-D, 0 to 10, is in a unit of its own."""
    unit = "of 10" if metric == "CIDEr-D" else "share"
    if scored.each is None:
        return Number(scored.value, unit)
    found = bootstrap_mean(scored.each, seed=seed)
    return Number(found.mean, unit, found.low, found.high, found.n)


def _emotions(said: Sequence[Said], wanted: Sequence[Wanted], seed: int) -> dict[str, Number]:
    named = [label_said(one.text or "", EMOTIONS) for one in said]
    majority, share = emotion_agreement(named, [one.emotions for one in wanted])
    return {
        "emotion: the one most people named": Number.of(bootstrap_mean(majority, seed=seed)),
        "emotion: share of people who named it": Number.of(bootstrap_mean(share, seed=seed)),
        "emotion: one is named": Number(float(np.mean([one is not None for one in named])), n=len(named)),
    }
