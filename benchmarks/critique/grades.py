"""`bench critique grades`: ArtGPT-4's own form (arXiv 2305.07490 v1): a judge gives each answer 0 to 5.

Reads the answers that its repository ships (`# TASK`, numbered blocks, "A:" ArtGPT-4, "M:" MiniGPT-4, over several
lines), or any in that form. The judge reads text alone, as theirs did; which of the two wrote it is not told. The
words of each beside its grade: judges like length. 25 pictures, one judge: weak evidence, and the intervals say so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file
from retrieval.language.chat_exchange import Answer, Question
from retrieval.language.chat_schema import object_schema
from retrieval.language.prompt import read_prompt

from .critics import AskingConfig, ModelCritic, load_critic, shown_spec

SYSTEMS = {"A": "ArtGPT-4", "M": "MiniGPT-4"}
TASKS = {
    "IDC": "a description of the picture",
    "ISAC": "an account of the feelings of those in the picture, or that it wakes",
    "ICRC": "an answer that says what is in the picture",
    "MDIUC": "a turn of a conversation about the picture",
}
GRADE = object_schema({"grade": {"type": "integer", "minimum": 0, "maximum": 5}})
PROMPT = "critic-grade-1"
HEADING, NUMBERED, SPEAKER = re.compile(r"#\s*(\w+)\s*$"), re.compile(r"\d+\.\s*$"), re.compile(r"([A-Z]):")
SOURCE = "quoted from ArtGPT-4, arXiv 2305.07490 v1 (graded by GPT-4)"
PUBLISHED = {  # IDC, ISAC, ICRC, MDIUC
    "ArtGPT-4": (3.8, 2.8, 3.0, 4.0),
    "MiniGPT-4": (2.6, 2.3, 1.8, 2.5),
}
ORDER = "IDC", "ISAC", "ICRC", "MDIUC"


@dataclass(frozen=True)
class GradesConfig(AskingConfig):
    """Options of `bench critique grades`."""

    answers: Path
    judge: str = ""
    name: str = field(default="critique-grades", kw_only=True)


@dataclass(frozen=True)
class Graded:
    """One system's answer to one question of a task."""

    task: str
    number: int
    system: str  # the letter that the file marks it with
    text: str


def read_answers(path: Path) -> list[Graded]:
    """The answers of a file. Raises FormatError, with the line, for text before the first heading, number or speaker,
    and for a file without answers."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a file of numbered answers") from error
    found: list[Graded] = []
    task, number, system, said = "", 0, "", list[str]()

    def close() -> None:
        if system:
            found.append(Graded(task, number, system, "\n".join(said).strip()))

    for place, line in enumerate(lines, 1):
        if heading := HEADING.match(line):
            close()
            task, number, system, said = heading[1], 0, "", []
        elif NUMBERED.match(line):
            close()
            number, system, said = int(line.strip().rstrip(".")), "", []
        elif (speaker := SPEAKER.match(line)) and task and number:
            close()
            system, said = speaker[1], [line[speaker.end() :]]
        elif system:
            said.append(line)
        elif line.strip():
            raise FormatError(f"{path.name}, line {place} belongs to no answer", '"# TASK", "1.", "A:..."', "Mend it.")
    close()
    if not found:
        raise FormatError(f"{path} holds no answers", '"# TASK", "1.", "A:..."', "Check the path.")
    return found


def measure_grades(config: GradesConfig, *, judge: ModelCritic | None = None) -> Run:
    """The run record. `judge`: one already loaded, instead of config.judge."""
    if judge is None:
        loaded = load_critic(config.judge, config.settings)
        if not isinstance(loaded, ModelCritic):
            raise BeholderError(f"the judge {config.judge}", "llm:MODEL[@URL] or hf:MODEL", "Name a model.")
        judge = loaded
    answers = read_answers(config.answers)
    grades = _grades(answers, judge)
    numbers: dict[str, Number] = {}
    systems = sorted({one.system for one in answers})
    for task in dict.fromkeys(one.task for one in answers):
        for system in systems:
            part = [one for one in answers if (one.task, one.system) == (task, system)]
            graded = [grade for one in part if (grade := grades[one]) is not None]
            name = f"{task}: {SYSTEMS.get(system, system)}"
            if graded:
                found = bootstrap_mean(graded, seed=config.seed)
                numbers[name] = Number(found.mean, "of 5", found.low, found.high, found.n)
            words = float(np.mean([len(one.text.split()) for one in part])) if part else 0.0
            numbers[f"{name}, words"] = Number(words, "words", n=len(part))
    if systems == sorted(SYSTEMS):
        pairs = _pairs(answers, grades)
        if pairs:
            above = paired_difference([a for a, _ in pairs], [m for _, m in pairs], seed=config.seed)
            numbers["ArtGPT-4 above MiniGPT-4"] = Number(above.mean, "of 5", above.low, above.high, above.n)
    for system, values in PUBLISHED.items():
        for task, value in zip(ORDER, values, strict=True):
            numbers[f"{task}: {system}, published"] = Number(value, "of 5", source=SOURCE)
    ungraded = sum(grade is None for grade in grades.values())
    notes = (
        f"Graded by {judge.name}, prompt {PROMPT}, which sees no picture; {ungraded} of {len(answers)} have no grade.",
    )
    data = {"answers": portable_path(config.answers), "answers_sha256": sha256_file(config.answers), **judge.known}
    return Run(
        name=config.name,
        command=command_of("bench critique grades", replace(config, judge=shown_spec(config.judge))),
        machine=describe_machine(),
        seed=config.seed,
        data={**data, "graded": len(answers) - ungraded},
        numbers=numbers,
        notes=notes,
    )


def _grades(answers: Sequence[Graded], judge: ModelCritic) -> dict[Graded, float | None]:
    prompt = read_prompt(PROMPT)
    asked = []
    for one in answers:
        shown: Mapping[str, str] = {"task": TASKS.get(one.task, one.task), "answer": one.text}
        asked.append(Question(*prompt.filled({"query": shown, "k": 5}), schema=GRADE))  # type: ignore[dict-item]
    return {
        one: float(verdict.value["grade"]) if isinstance(verdict, Answer) else None
        for one, verdict in zip(answers, judge.model.ask_many(asked), strict=True)
    }


def _pairs(answers: Sequence[Graded], grades: Mapping[Graded, float | None]) -> list[tuple[float, float]]:
    """Grades of both systems for the questions of which both are graded."""
    by_question: dict[tuple[str, int], dict[str, float]] = {}
    for one in answers:
        grade = grades[one]
        if grade is not None:
            by_question.setdefault((one.task, one.number), {})[one.system] = grade
    return [(both["A"], both["M"]) for both in by_question.values() if {"A", "M"} <= both.keys()]
