"""Alignment runs in processes of their own that die at a given moment, or meet a full disk."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rl.alignment.config import AlignConfig

# Imported once, in a process that computes nothing: each run is then forked from it
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["rl.alignment.align", "rl.alignment.trainer", "rl.alignment.checkpoint_folder", "rl.alignment.model", "open_clip"]
)

MOMENTS = ("cache", "step", "evaluation", "checkpoint", "model")


def run_until(moment: str, config: AlignConfig, run: Path) -> int | None:
    """The exit code of a run that is killed (SIGKILL, so -9) at a moment, of MOMENTS; "" lets it end."""
    return _in_child(_dying, moment, config, run)[0]


def run_with_room(most: int, config: AlignConfig, run: Path) -> str:
    """What a run says of its error, where no file may be larger than `most` bytes; "" where it ended well."""
    return _in_child(_cramped, most, config, run)[1]


def _in_child(target: Callable[..., None], *arguments: Any) -> tuple[int | None, str]:
    mine, its = CONTEXT.Pipe()
    child = CONTEXT.Process(target=target, args=(its, *arguments))
    child.start()
    its.close()
    try:
        said = mine.recv()
    except EOFError:
        said = "died"
    child.join()
    return child.exitcode, said


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(pipe: Connection, moment: str, config: AlignConfig, run: Path) -> None:
    from rl import features
    from rl.alignment import checkpoint_folder
    from rl.alignment import trainer as align_trainer
    from rl.alignment.align import align

    def listen(line: str) -> None:
        told = {"step": "step 5/9: loss", "evaluation": "step 6/9: hit_rate"}.get(moment)
        if told and line.startswith(told):
            _die()

    write = align_trainer.write_tensors

    def half(path: Path, state: Any) -> None:
        write(path, state)
        if path.parent.name == "checkpoint-9":
            os.truncate(path, path.stat().st_size // 2)
            _die()

    if moment == "checkpoint":
        align_trainer.write_tensors = half
    elif moment == "model":
        checkpoint_folder.write_manifest = lambda *arguments: _die()
    elif moment == "cache":
        features.publish = lambda *arguments: _die()
    align(config, run, say=listen)
    pipe.send("")


def _cramped(pipe: Connection, most: int, config: AlignConfig, run: Path) -> None:
    from indexes.errors import BeholderError
    from rl.alignment.align import align

    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        align(config, run)
        pipe.send("")
    except BeholderError as error:
        pipe.send(str(error))
