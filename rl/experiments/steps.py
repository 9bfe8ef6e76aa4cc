"""The steps of an experiment: each leaves a JSON file in the run's folder and is not run again.

An experiment that was killed goes on at the step that it was in. What a step depends on is kept beside what it found:
asked for with other settings, it is refused and nothing is mixed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import write_json_atomic

Say = Callable[[str], None]


def option(default: Any, told: str) -> Any:
    """A field of an experiment's configuration, with the help of its option. Tuples are options given several times."""
    return field(default=default, metadata={"help": told})


def content_of(config: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration as JSON holds it; `without` names what changes no result (a name, a cache)."""
    content = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in without}
    return json.loads(json.dumps(content, default=str))  # type: ignore[no-any-return]


@dataclass
class Steps:
    """Named steps in `run`/steps; `say` gets a line when each begins and ends."""

    run: Path
    say: Say = lambda line: None
    total: int = 0  # for the progress line; 0 = not known
    _done: int = 0

    def do(self, name: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What `make` finds, as JSON holds it: from the disk where the step was finished with the same settings.

        Raises BeholderError where it was finished with others.
        """
        self._done += 1
        place = f"[{self._done}/{self.total}]" if self.total else f"[{self._done}]"
        path, wanted = self.run / "steps" / f"{name}.json", json.loads(json.dumps(dict(settings), default=str))
        if path.is_file():
            kept = json.loads(path.read_bytes())
            changed = sorted(
                key for key in {*wanted, *kept["settings"]} if wanted.get(key) != kept["settings"].get(key)
            )
            if changed:
                raise BeholderError(
                    f"step {name} of {self.run} was made with another {', '.join(changed)}",
                    "the same settings",
                    "Use another folder.",
                )
            self.say(f"{place} {name}: kept")
            return kept["found"]  # type: ignore[no-any-return]
        self.say(f"{place} {name} ...")
        began = time.perf_counter()
        found = json.loads(json.dumps(dict(make())))
        seconds = time.perf_counter() - began
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, {"settings": wanted, "seconds": round(seconds, 2), "found": found})
        self.say(f"{place} {name}: {seconds:.1f} s")
        return found  # type: ignore[no-any-return]

    def once(self, name: str, choices: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """As `do`, for the step that reads `val`. Raises ConditionFailed where it was read with other choices: a set
        that choices have seen is no longer unseen."""
        path = self.run / "steps" / f"{name}.json"
        if path.is_file():
            kept = json.loads(path.read_bytes())["settings"]
            if kept != json.loads(json.dumps(dict(choices), default=str)):
                raise ConditionFailed(
                    f"{name} was read before, with other choices", "one reading, after all choices", "Say so, or stop."
                )
        return self.do(name, choices, make)

    def seconds(self, name: str) -> float:
        """How long a finished step took."""
        return float(json.loads((self.run / "steps" / f"{name}.json").read_bytes())["seconds"])
