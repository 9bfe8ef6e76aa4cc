"""The record of a benchmark run: what was measured, by which command, on what machine and data. Owns kind
and format.

A run is one JSON file: {"kind": "beholder-run", "format": 1, "name", "command", "machine", "seed", "data",
"numbers"}. `bench report` renders committed runs (docs/results/*.json) into the documents, so nothing here
names a host or a path of the machine: paths in `command` are relative to the working folder or to
$BEHOLDER_DATA, else names only.
"""

import json
import os
import platform
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measures.stats import Interval
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import write_bytes_atomic

from .per_query import PerQuery, path_beside, write_per_query

KIND, FORMAT = "beholder-run", 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
MEASURED, QUOTED, UNVERIFIED = "measured here", "quoted from", "not verified"
URL = re.compile(r"@https?://[^#\s\"]+")
FOLDERS = re.compile(r"([:@,])\.{0,2}/(?:[^/,@#]+/)*")  # before the last name of a local path
SPEC = re.compile(r"(?:llm|hf|file|critic|offline|lmm|rank-mix)[:@]")  # what names a model, a scorer or a table


@dataclass(frozen=True)
class Number:
    """One measured value. Unit "share" is in [0, 1] and shown in percent; other units are shown as they
    are.

    low and high: 95 % interval over n queries, or the smallest and largest of n repeats where `spread` is
    "range". source: None for what this run measured; else "quoted from ..." with the paper and its table, or "not
    verified". Raises BeholderError for another.
    """

    value: float
    unit: str = "share"
    low: float | None = None
    high: float | None = None
    n: int | None = None
    chance: float | None = None
    spread: str = "interval"
    source: str | None = None

    def __post_init__(self) -> None:
        if self.source is not None and not self.source.startswith((QUOTED, UNVERIFIED)):
            raise BeholderError(f"the source {self.source!r}", f"'{QUOTED} ...', '{UNVERIFIED}' or none")

    @property
    def origin(self) -> str:
        """Where the value comes from, in words."""
        return self.source or MEASURED

    @classmethod
    def of(cls, interval: Interval, chance: float | None = None) -> "Number":
        return cls(interval.mean, "share", interval.low, interval.high, interval.n, chance)

    @classmethod
    def of_repeats(cls, values: Sequence[float], unit: str) -> "Number":
        """The median of repeats with the lowest and the highest."""
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        return cls(statistics.median(values), unit, low, high, len(values), spread="range")


@dataclass(frozen=True)
class Run:
    """`machine`: cores, CPU and versions; `data`: digests and counts. `per_query`: the values behind numbers, which
    are written beside the JSON and not read with it (per_query.py).
    """

    name: str
    command: str
    machine: dict[str, Any]
    seed: int
    data: dict[str, Any]
    numbers: dict[str, Number]
    notes: tuple[str, ...] = ()
    headline: str = ""  # what must be read before the numbers
    per_query: Mapping[str, PerQuery] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; what was not measured (None) is left out of a number."""
        content = {"kind": KIND, "format": FORMAT, **asdict(replace(self, per_query={})), "notes": list(self.notes)}
        del content["per_query"]
        content["numbers"] = {
            key: {name: value for name, value in asdict(number).items() if value is not None}
            for key, number in self.numbers.items()
        }
        if not self.headline:
            del content["headline"]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any], where: Path | str = "this run") -> "Run":
        """Raises FormatError for another kind, another format, or missing and unknown fields."""
        if content.get("kind") != KIND:
            raise FormatError(f"{where} is of kind {content.get('kind', 'nothing')}", KIND, "Check the path.")
        number = content.get("format")
        if not isinstance(number, int) or number < 1:
            raise FormatError(f"{where} has format {number!r}", f"{FORMAT}", "Run the benchmark again.")
        if number > FORMAT:
            raise FormatError(f"{where} has format {number}", f"at most {FORMAT}", "Install a newer beholder.")
        try:
            rest = {key: value for key, value in content.items() if key not in ("kind", "format", "numbers", "notes")}
            numbers = {key: Number(**value) for key, value in content["numbers"].items()}
            return cls(**rest, numbers=numbers, notes=tuple(content["notes"]))
        except (KeyError, TypeError, AttributeError, BeholderError) as error:
            raise FormatError(f"{where} does not hold a run ({error})", f"the fields of format {FORMAT}") from error


def write_run(path: Path, run: Run) -> None:
    """Writes the run atomically, and its values per query beside it; the folder is made. Raises FormatError for a name
    that a block could not hold.
    """
    if not NAME.fullmatch(run.name):
        raise FormatError(
            f"the run's name is {run.name!r}", "lower-case letters, digits, '.', '_', '-'", "Give --name."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(run.to_dict(), indent=1, ensure_ascii=False) + "\n"  # numbers keep their order
    path_beside(path).unlink(missing_ok=True)  # a kill between the two writes leaves none, not those of another run
    write_bytes_atomic(path, content.encode())
    write_per_query(path, run.per_query)


def read_run(path: Path) -> Run:
    if not path.is_file():
        raise FormatError(f"there is no run {path}", "a JSON file that `bench` wrote", "Run the benchmark first.")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error})", f"a file of kind {KIND}", "Run it again.") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds no JSON object", f"a file of kind {KIND}", "Run it again.")
    return Run.from_dict(content, path)


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Cores this process may use, CPU and accelerator model, versions: enough to judge a speed, nothing
    that names a host.
    """
    machine: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "faiss": _version("faiss-gpu", "faiss-cpu", "faiss-gpu-cuvs"),
    }
    if device != "cpu":
        import torch

        machine["accelerator"] = torch.cuda.get_device_name(device)
    return machine


def command_of(verb: str, config: Any) -> str:
    """The command line that gives this config: fields without a default are arguments, the others options.

    Options that hold their default are left out. Field names are the options' names; a boolean is a flag; a tuple is
    an option given several times, or several arguments.
    """
    words = ["beholder", *verb.split()]
    options: list[str] = []
    for one in fields(config):
        value = getattr(config, one.name)
        option = "--" + one.name.replace("_", "-")
        if one.default is MISSING:
            words += [_word(item) for item in (value if isinstance(value, tuple) else (value,))]
        elif value == one.default:
            continue
        elif isinstance(value, bool):
            options.append(option)
        elif isinstance(value, tuple):
            options += [part for item in value for part in (option, _word(item))]
        else:
            options += [option, _word(value)]
    return " ".join(words + options)


def portable_path(path: Path) -> str:
    """A path as a document may hold it: relative to the working folder, under $BEHOLDER_DATA, or the name
    alone.
    """
    absolute = path.resolve()
    root = os.environ.get("BEHOLDER_DATA")
    if root and absolute.is_relative_to(Path(root).resolve()):
        return "$BEHOLDER_DATA/" + absolute.relative_to(Path(root).resolve()).as_posix()
    if absolute.is_relative_to(Path.cwd()):
        return absolute.relative_to(Path.cwd()).as_posix()
    return absolute.name


def portable_spec(spec: str) -> str:
    """A rewriter, re-ranker, critic or judge as a document may hold it: without addresses and local folders."""
    return FOLDERS.sub(r"\1", URL.sub("", spec))


def _word(value: Any) -> str:
    if isinstance(value, Path):
        value = portable_path(value)
        return value if value.startswith("$BEHOLDER_DATA") and " " not in value else shlex.quote(value)
    if isinstance(value, str) and (os.sep in value and Path(value).exists()):  # a model given as a folder
        return shlex.quote(portable_path(Path(value)))
    return shlex.quote(portable_spec(value) if isinstance(value, str) and SPEC.match(value) else str(value))


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(*names: str) -> str | None:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
