"""`bench results`: every step of results_steps.py, one after the other, each a process of its own; then the document.

A step that is done is not done again, unless its command or a model's weights have changed: after a kill the same
command goes on. What a step says goes to WORK/logs; done steps are kept, with their seconds, in WORK/done.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.report import rewritten
from benchmarks.runs import Run, read_run, write_run
from benchmarks.tables.judgements import read_splits
from benchmarks.tables.pictures import link_pictures
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_bytes, write_bytes_atomic

from .results_document import document, summary, times
from .results_steps import FLICKR, LINKS, Places, Step, short, steps

PREFIX = "results-"  # of the runs' names: docs/results holds others
RunStep = Callable[[Sequence[str], Path], int]
Weights = Mapping[str, str]  # by the name of a model, the base first: a digest of its weights


@dataclass(frozen=True)
class ResultsConfig:
    """Options of `bench results`. out: folder of the runs' JSON; document: the Markdown that shows them, None for
    none."""

    data: Path
    texts: Path
    knowledge: Path
    work: Path = Path("build/results")
    out: Path = Path("build/results/runs")
    document: Path | None = None
    model: str = "beholder-mini"
    aligned: tuple[str, ...] = ()
    only: tuple[str, ...] = ()  # steps by name; none = all
    fresh: bool = False

    def __post_init__(self) -> None:
        names = [short(name).lower() for name in (self.model, *self.aligned)]
        if len(set(names)) < len(names):
            raise BeholderError(f"two encoders are called {max(names, key=names.count)}", "a name each", "Copy one.")
        for path in (self.texts, self.knowledge / "queries.tsv"):
            if not path.is_file():
                raise BeholderError(
                    f"there is no {path}", "the texts that searches are asked", "Run in the repository."
                )


@dataclass(frozen=True)
class Done:
    """A step that ended well: by which command, with which weights, in how many seconds."""

    command: str
    models: list[str]  # digests
    seconds: float

    def same(self, words: Sequence[str], step: Step, weights: Weights) -> bool:
        """Whether the same command with the same weights would be run again."""
        return (self.command, self.models) == (shlex.join(words), _of_step(step, weights))


def results(config: ResultsConfig, *, run_step: RunStep | None = None) -> list[str]:
    """Runs what is not done, and writes the document; one line for each step. Raises ConditionFailed where a step
    fails, naming its log.

    run_step: (words behind `beholder`, log) -> exit status, in place of a process.
    """
    places = Places(config.data, config.work, config.texts, config.knowledge)
    wanted = steps(places, config.model, config.aligned)
    unknown = [name for name in config.only if name not in [step.name for step in wanted]]
    if unknown:
        raise BeholderError(f"no step is called {unknown[0]}", ", ".join(step.name for step in wanted), "Choose one.")
    weights = {name: _digest_of_model(name) for name in (config.model, *config.aligned)}
    _forget_others(config.work, weights[config.model], [step.folder for step in wanted if step.folder])
    lines = []
    for number, step in enumerate(wanted, 1):
        if config.only and step.name not in config.only:
            continue
        said = _step(step, config, places, weights, run_step or partial(_process, config.data))
        lines.append(f"{number:2} of {len(wanted)}  {step.name:<24} {said}")
        print(lines[-1], file=sys.stderr, flush=True)
    _write(config, wanted, weights)
    return lines


def _step(step: Step, config: ResultsConfig, places: Places, weights: Weights, run_step: RunStep) -> str:
    """Does the step where it is not done; in words what came of it."""
    missing = [name for name in step.needs if not (config.data / name).exists()]
    if missing:
        return f"left out: the data holds no {missing[0]}"
    made = _run_file(config, step)
    words = [*step.words, *([] if step.folder else ["--out", str(made)])]
    log, marker = config.work / "logs" / f"{step.name}.log", _marker(config, step)
    before = read_done(marker)
    there = (config.work / step.folder if step.folder else made).exists()
    if there and before and before.same(words, step, weights) and not config.fresh:
        return f"done before, in {before.seconds:.0f} s"
    marker.unlink(missing_ok=True)
    for folder in (log.parent, marker.parent, config.out):
        folder.mkdir(parents=True, exist_ok=True)
    if step.name == "embed":
        _links(places)
    started = time.perf_counter()
    status = run_step(words, log)
    seconds = time.perf_counter() - started
    if status and not (status == 1 and step.may_refuse and made.is_file()):
        last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ConditionFailed(f"{step.name} ended with {status} ({last[:200]})", "0", f"Its output is in {log}.")
    done = Done(shlex.join(words), _of_step(step, weights), seconds)
    write_bytes_atomic(marker, json.dumps(asdict(done), indent=1).encode())
    return f"{seconds:.0f} s"


def _of_step(step: Step, weights: Weights) -> list[str]:
    """The digests of the models that a step is about: the base, and others that its words name."""
    return [digest for place, (name, digest) in enumerate(weights.items()) if place == 0 or name in step.words]


def _run_file(config: ResultsConfig, step: Step) -> Path:
    return config.out / f"{PREFIX}{step.name}.json"


def _marker(config: ResultsConfig, step: Step) -> Path:
    return config.work / "done" / f"{step.name}.json"


def _forget_others(work: Path, base: str, folders: Sequence[str]) -> None:
    """Removes what another base has made: its vectors and indexes are of no use to this one."""
    of = work / "base"
    if of.is_file() and of.read_text() != base:
        for name in (*folders, "done"):
            shutil.rmtree(work / name, ignore_errors=True)
    of.parent.mkdir(parents=True, exist_ok=True)
    of.write_text(base)


def read_done(marker: Path) -> Done | None:
    """What a marker says; None where it says nothing that can be read."""
    try:
        return Done(**json.loads(marker.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _links(places: Places) -> None:
    """A folder of links to the pictures of Flickr8k's val, so that only these are embedded and searched."""
    folder = places.work / LINKS
    if folder.is_dir():
        return
    splits = read_splits(places.data / FLICKR.replace("captions", "splits"), "image")
    unfinished = folder.with_name(f"{folder.name}.part")
    for old in unfinished.glob("*"):
        old.unlink()
    names = [name for name, split in splits.items() if split == "val"]
    link_pictures(places.data / "flickr8k/images", names, unfinished)
    unfinished.rename(folder)


def _process(data: Path, words: Sequence[str], log: Path) -> int:
    # For sets by name, and for commands that name no place of this machine.
    environment = {**os.environ, "BEHOLDER_DATA": str(data)}
    with log.open("wb") as file:
        done = subprocess.run([sys.executable, "-m", "retrieval", *words], stdout=file, stderr=file, env=environment)
    return done.returncode


def _digest_of_model(name: str) -> str:
    """Of an encoder's weights, so that other weights are measured again."""
    from retrieval.encoding.encoders import load_encoder

    record = load_encoder(name).record
    return sha256_bytes(f"{record.image_fingerprint} {record.text_fingerprint}".encode())


def _write(config: ResultsConfig, wanted: Sequence[Step], weights: Weights) -> None:
    """The summary, the times and the document, of the runs that there are of these very models."""
    runs: dict[str, Run] = {}
    seconds: dict[str, float] = {}
    for step in wanted:
        done, made = read_done(_marker(config, step)), _run_file(config, step)
        if done is None or done.models != _of_step(step, weights):
            continue
        seconds[step.name] = done.seconds
        if not step.folder and made.is_file():
            runs[step.name] = read_run(made)
    if not runs:
        return
    for run in (summary(runs, config.model, config.aligned), times(seconds)):
        write_run(config.out / f"{PREFIX}{run.name}.json", replace(run, name=f"{PREFIX}{run.name}"))
    if config.document is not None:
        text = document(runs, PREFIX)
        config.document.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(config.document, rewritten(text, config.out, config.document).encode())
