"""`bench critique aesbench` and `bench critique art`: published sets of questions about beauty and art.

AesBench (yipoh/AesBench): accuracy of AesP, AesE and AesA, an answer that chooses no option counted as wrong and shown
as abstained; AesI by a judge that gives relevance, precision and completeness 0 to 2 each; overall as published. Its
answers can be written as the files that are mailed to its makers, who keep the key. Art: exact match and containment
of AQUA's and ArtQuest's answers, ArtBench's styles. Figures that others published stand beside ours as quoted.
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.critic.claims import label_said
from retrieval.language.chat_exchange import Answer, Question
from retrieval.language.chat_schema import object_schema
from retrieval.language.prompt import read_prompt
from retrieval.progress import progress_line

from .critics import AskingConfig, Critic, ModelCritic, Said, load_critic, shown_spec, unanswered, write_answers
from .scores import aesbench_overall, option_said
from .sets import OPEN, Item, Items, read_aesbench, read_aqua, read_artbench, read_artquest, read_vlmevalkit, told

TASKS = "AesP", "AesE", "AesA"
RATED = "relevance", "precision", "completeness"
RATING = object_schema({name: {"type": "integer", "minimum": 0, "maximum": 2} for name in RATED})
JUDGE_PROMPT = "critic-aesi-1"
SOURCE = "quoted from AesExpert, arXiv 2404.09624, fig. 3"
PUBLISHED = {  # AesP, AesE, AesA in percent, AesI 0 to 2, overall
    "AesExpert (LLaVA-1.5-7B)": (78.57, 84.04, 53.25, 1.317, 86.89),
    "LLaVA-1.5-7B": (66.32, 68.32, 45.46, 1.157, 73.95),
    "GPT-4V": (72.08, 70.16, 50.86, 1.301, 80.80),
}


@dataclass(frozen=True)
class ChoicesConfig(AskingConfig):
    """Options of both verbs."""

    questions: Path
    critic: str = ""
    pictures: Path | None = None  # the folder that names begin at; else that of the questions
    judge: str = ""  # of AesI: llm:MODEL[@URL]; "": AesI is asked and not rated
    answers: Path | None = None  # folder for the answers, as AesBench's makers take them
    limit: int = 0  # questions drawn at random; 0: all
    max_answer_tokens: int = field(default=256, kw_only=True)
    name: str = field(default="aesbench", kw_only=True)


def measure_aesbench(config: ChoicesConfig, *, critic: Critic | None = None, judge: Critic | None = None) -> Run:
    """The run record. `critic`, `judge`: ones already loaded, instead of those of the config."""
    critic = critic or load_critic(config.critic, config.settings)
    judge = judge or (load_critic(config.judge, config.settings) if config.judge else None)
    tsv = config.questions.suffix.lower() == ".tsv"
    read = read_vlmevalkit(config.questions) if tsv else read_aesbench(config.questions, _folder(config))
    items = _some(read, config)
    said = _asked(critic, items)
    numbers: dict[str, Number] = {}
    notes = [unanswered(said), *told(read.problems)]
    shares: dict[str, float] = {}
    for task in sorted({item.task for item in items} - {OPEN}):
        part = [(item, one) for item, one in zip(items, said, strict=True) if item.task == task]
        chosen = [option_said(one.text or "", item.options or {}) for item, one in part]
        numbers[f"{task}: abstained"] = Number(float(np.mean([letter is None for letter in chosen])), n=len(part))
        keyed = [(item, letter) for (item, _), letter in zip(part, chosen, strict=True) if item.answer]
        if keyed:
            right = [float(letter == item.answer) for item, letter in keyed]
            chance = float(np.mean([1 / len(item.options or {}) for item, _ in keyed]))
            numbers[f"{task}: accuracy"] = Number.of(bootstrap_mean(right, seed=config.seed), chance=chance)
            shares[task] = float(np.mean(right))
        if len(keyed) < len(part):
            notes.append(f"{task}: {len(part) - len(keyed)} of {len(part)} questions tell no right answer; not scored.")
    opened = [(item, one) for item, one in zip(items, said, strict=True) if item.task == OPEN]
    interpretation = _rate(opened, judge, numbers, notes, config.seed) if opened else None
    if interpretation is not None and set(TASKS) <= set(shares):
        overall = aesbench_overall(shares["AesP"], shares["AesE"], shares["AesA"], interpretation)
        numbers["overall"] = Number(overall, "points")
    for name, (*percents, aesi, overall) in PUBLISHED.items():
        for task, percent in zip(TASKS, percents, strict=True):
            numbers[f"{name}, {task}: accuracy"] = Number(percent / 100, source=SOURCE)
        numbers[f"{name}, AesI"] = Number(aesi, "of 2", source=SOURCE)
        numbers[f"{name}, overall"] = Number(overall, "points", source=SOURCE)
    if config.answers is not None:
        _write_files(config.answers, items, said)
    notes.append("Published rows are of AesBench's own questions, which its makers score: compare with care.")
    return _run("bench critique aesbench", config, critic, len(items), numbers, notes)


def measure_art(config: ChoicesConfig, *, critic: Critic | None = None) -> Run:
    """The run record of a zero-shot set, told by its file: a folder is ArtBench, .json AQUA, .csv ArtQuest."""
    critic = critic or load_critic(config.critic, config.settings)
    if config.questions.is_dir():
        read = read_artbench(config.questions)
    elif config.questions.suffix.lower() == ".csv":
        read = read_artquest(config.questions, _folder(config))
    else:
        read = read_aqua(config.questions, _folder(config))
    items = _some(read, config)
    said = _asked(critic, items)
    numbers: dict[str, Number] = {}
    for task in sorted({item.task for item in items}):
        part = [(item, one) for item, one in zip(items, said, strict=True) if item.task == task]
        if task == "style":
            labels = sorted({words for item, _ in part for words in (item.options or {}).values()})
            named = [label_said(one.text or "", labels) for _, one in part]
            right = [float(label == item.answer) for (item, _), label in zip(part, named, strict=True)]
            numbers["style: accuracy"] = Number.of(bootstrap_mean(right, seed=config.seed), chance=1 / len(labels))
            numbers["style: names one"] = Number(float(np.mean([label is not None for label in named])), n=len(part))
            continue
        exact = [float(_plain(one.text or "") == _plain(item.answer)) for item, one in part]
        within = [float(f" {_plain(item.answer)} " in f" {_plain(one.text or '')} ") for item, one in part]
        numbers[f"{task}: exact match"] = Number.of(bootstrap_mean(exact, seed=config.seed))
        numbers[f"{task}: answer contained"] = Number.of(bootstrap_mean(within, seed=config.seed))
        words = float(np.mean([len(_plain(one.text or "").split()) for _, one in part]))
        numbers[f"{task}: words of an answer"] = Number(words, "words", n=len(part))
    notes = [unanswered(said), *told(read.problems)]
    notes.append(
        "A long answer contains more: read containment beside the words. Articles and punctuation do not count."
    )
    return _run("bench critique art", config, critic, len(items), numbers, notes)


def _rate(
    opened: Sequence[tuple[Item, Said]], judge: Critic | None, numbers: dict[str, Number], notes: list[str], seed: int
) -> float | None:
    """AesI of the answers by the judge, whose unusable ratings are counted and left out; 0 where nothing was said."""
    numbers["AesI: words of an answer"] = Number(
        float(np.mean([len((one.text or "").split()) for _, one in opened])), "words", n=len(opened)
    )
    copied = [float(_plain(one.text or "") == _plain(item.asked.text)) for item, one in opened]
    numbers["AesI: answers that repeat the question"] = Number(float(np.mean(copied)), n=len(opened))
    if judge is None:
        notes.append("AesI was asked and not rated: no --judge.")
        return None
    if not isinstance(judge, ModelCritic):
        raise BeholderError(f"the judge {judge.name}", "llm:MODEL[@URL] or hf:MODEL", "Name a model.")
    prompt = read_prompt(JUDGE_PROMPT)
    answered = [(item, one.text) for item, one in opened if one.text is not None]
    asked = [Question(*prompt.filled({"query": _shown(item, text)}), schema=RATING) for item, text in answered]
    values: list[list[float]] = [[0.0] * len(RATED) for _, one in opened if one.text is None]
    failed = 0
    for verdict in judge.model.ask_many(asked):
        if isinstance(verdict, Answer):
            values.append([float(verdict.value[name]) for name in RATED])
        else:
            failed += 1
    if not values:
        notes.append("AesI: the judge rated nothing.")
        return None
    table = np.array(values)
    for place, name in enumerate(RATED):
        numbers[f"AesI: {name}"] = _points(table[:, place], seed)
    numbers["AesI"] = _points(table.mean(axis=1), seed)
    notes.append(
        f"AesI is rated by {judge.name}, prompt {JUDGE_PROMPT}, by text alone; {failed} answers without a rating."
    )
    return float(table.mean())


def _shown(item: Item, answer: str | None) -> Any:
    """What a prompt is given of an answer, as JSON."""
    shown = {"question": item.asked.text, "answer": answer or ""}
    return {**shown, "reference": item.answer} if item.answer else shown


def _points(values: np.ndarray, seed: int) -> Number:
    found = bootstrap_mean(values, seed=seed)
    return Number(found.mean, "of 2", found.low, found.high, found.n)


def _write_files(folder: Path, items: Sequence[Item], said: Sequence[Said]) -> None:
    """The four files that AesBench's scripts write, and all answers as `answers:FILE` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in sorted({item.task for item in items}):
        content = {
            item.asked.id.rpartition("/")[0]: {f"{task}_response": one.text or ""}
            for item, one in zip(items, said, strict=True)
            if item.task == task
        }
        (folder / f"{task}.json").write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")
    write_answers(folder / "answers.jsonl", [item.asked for item in items], said)


def _some(read: Items, config: ChoicesConfig) -> list[Item]:
    items = list(read.items)
    if not items:
        first = f": {read.problems[0].reason}" if read.problems else ""
        raise BeholderError(f"{config.questions} holds no question that can be asked{first}", "one at least")
    return random.Random(config.seed).sample(items, config.limit) if 0 < config.limit < len(items) else items


def _asked(critic: Critic, items: Sequence[Item]) -> list[Said]:
    with progress_line("questions") as progress:
        return critic.answer([item.asked for item in items], progress)


def _folder(config: ChoicesConfig) -> Path:
    return config.pictures or config.questions.parent


def _plain(text: str) -> str:
    """Lower case, without punctuation and articles."""
    words = re.findall(r"[^\W_]+", text.lower())
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def _run(
    verb: str, config: ChoicesConfig, critic: Critic, count: int, numbers: dict[str, Number], notes: Sequence[str]
) -> Run:
    digest = sha256_file(config.questions) if config.questions.is_file() else None
    data = {"questions_file": portable_path(config.questions), "sha256": digest, "questions": count, **critic.known}
    return Run(
        name=config.name,
        command=command_of(verb, replace(config, critic=shown_spec(config.critic), judge=shown_spec(config.judge))),
        machine=describe_machine(),
        seed=config.seed,
        data=data,
        numbers=numbers,
        notes=tuple(note for note in notes if note),
    )
