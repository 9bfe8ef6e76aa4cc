"""`bench speed search --index INDEX --texts FILE`: where the time of a search goes, from words to printed lines.

Warm: an open index and a loaded encoder, as a service or a program holds them. encode: tokenising and the text tower;
search: the index; items: reading the results' rows; format: the lines of `search --json`, into memory. Cold: the
command `beholder search` in a process of its own, by what it says of itself with --explain, and by the clock.
"""

import io
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.plots import Bar
from benchmarks.runs import Number, Run
from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig
from retrieval.search.output import write_json
from retrieval.search.searcher import Searcher

STAGES = ("encode", "search", "items", "format")
WARM_UP = 5  # calls before the clock: the first ones map files and fill caches
CALLS = 100  # in a repeat, so that a 95th percentile is of more than a few
SAID = re.compile(r"^\s*([a-z-]+)\s+(\d+\.\d+) s$", re.MULTILINE)  # a line of `search --explain`
COMMAND = "command: "
Floats = npt.NDArray[np.float64]


def warm_numbers(searcher: Searcher, texts: Sequence[str], size: int, k: int, repeats: int) -> dict[str, Number]:
    """ms a query of calls with `size` texts, by stage: each repeat's median over its calls. Raises BeholderError for
    fewer texts than a call takes, as equal ones are encoded once."""
    if len(set(texts)) < size:
        raise BeholderError(f"{len(set(texts))} different texts for a batch of {size}", "as many", "Give more --texts.")
    taken = list(dict.fromkeys(texts))
    calls = [taken[at : at + size] for at in range(0, len(taken) - size + 1, size)]
    timed(searcher, list(islice(cycle(calls), WARM_UP)), k)
    rows = [timed(searcher, list(islice(cycle(calls), CALLS // min(size, 10))), k) for _ in range(repeats)]
    head = f"batch {size}: "
    numbers = {
        f"{head}{stage}": Number.of_repeats([float(np.median(row[:, column])) for row in rows], "ms")
        for column, stage in enumerate(STAGES)
    }
    totals = [row.sum(axis=1) for row in rows]
    numbers[f"{head}total"] = Number.of_repeats([float(np.median(total)) for total in totals], "ms")
    slowest = [float(np.quantile(total, 0.95)) for total in totals]
    return numbers | {f"{head}total, 95th percentile": Number.of_repeats(slowest, "ms")}


def timed(searcher: Searcher, calls: Sequence[Sequence[str]], k: int) -> Floats:
    """(calls, stages) ms a query."""
    rows = []
    for texts in calls:
        answers = searcher.search(texts, SearchConfig(k=k))
        seconds = dict(answers[0].seconds)
        started = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            write_json(answers, None)
        seconds["format"] = time.perf_counter() - started
        rows.append([1000 * seconds[stage] / len(texts) for stage in STAGES])
    return np.array(rows)


def cold_numbers(
    index: Path, texts: Sequence[str], k: int, repeats: int, model: str | None = None
) -> dict[str, Number]:
    """ms of the whole command by the stages that it tells, and by the clock; a process for each repeat, after one that
    warms the machine's own caches."""
    runs = [_command(index, text, k, model) for text in islice(cycle(texts), repeats + 1)][1:]
    stages = list(runs[0])
    return {f"{COMMAND}{name}": Number.of_repeats([run[name] for run in runs], "ms") for name in stages}


def _command(index: Path, text: str, k: int, model: str | None) -> dict[str, float]:
    command = [sys.executable, "-m", "retrieval", "search", str(index), "-k", str(k), "--explain"]
    command += [*(["--model", model] if model else []), "--", text]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    wall = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BeholderError(f"beholder search ended with {done.returncode} ({last})", "0", "Run it by hand.")
    told = parse_explained(done.stderr)
    told.pop("total")
    rest = wall - sum(told.values())
    return {name: 1000 * seconds for name, seconds in {**told, "the rest": rest, "by the clock": wall}.items()}


def parse_explained(text: str) -> dict[str, float]:
    """Stage -> seconds of what `search --explain` prints. Raises BeholderError where it holds no total."""
    found = {name: float(seconds) for name, seconds in SAID.findall(text)}
    if "total" not in found:
        raise BeholderError("search --explain told no total", "a line for each stage, then total")
    return found


def bars(run: Run) -> dict[str, list[Bar]]:
    """The stacked bars of a run: "" for the warm searches, "command" for the cold ones."""
    parts: dict[str, dict[str, dict[str, float]]] = {"": {}, "command": {}}
    for name, number in run.numbers.items():
        head, _, stage = name.partition(": ")
        if head.startswith("batch ") and stage in STAGES:
            parts[""].setdefault(head, {})[stage] = number.value
        elif name.startswith(COMMAND) and stage != "by the clock":
            parts["command"].setdefault("beholder search", {})[stage] = number.value
    return {kind: [Bar(name, stages) for name, stages in found.items()] for kind, found in parts.items() if found}
