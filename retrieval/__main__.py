"""The door: console script `beholder`. Verbs are imported when called, errors become one line."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from indexes.errors import BeholderError

VERBS = {
    "demo": "retrieval.cli:demo",
    "embed": "retrieval.cli:embed",
    "score": "retrieval.scoring.score_cli:score",
    "index": "retrieval.indexing.cli:app",
    "search": "retrieval.search.cli:search",
    "rewrite": "retrieval.search.rewrite_cli:rewrite",
    "critique": "retrieval.critic.cli:critique",
    "serve": "retrieval.service.cli:serve",
    "align": "rl.cli:app",
    "bench": "benchmarks.cli:app",
    "models": "retrieval.cli:models",
    "doctor": "retrieval.cli:doctor",
}


LEFT_OUT = {"--ray": "auto"}  # option -> its value where none follows
INTERRUPTED = 130


class Door(TyperGroup):
    """A group whose commands are the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        target = getattr(importlib.import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False)
            target.command()(function)
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command


app = typer.Typer(cls=Door, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def beholder() -> None:
    """Search your own pictures with words, and get those that match and are good to look at.

    Example: beholder demo.  Any verb with --help says more; --debug shows the traceback of an error.
    """


def with_values(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the value of an option that was left out and may be: Typer knows no such options."""
    given = []
    for argument, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        given.append(argument)
        if argument in LEFT_OUT and following.startswith("-"):
            given.append(LEFT_OUT[argument])
    return given


def usage_line(error: typer.TyperException) -> str:
    """What was wrong with the call, in one line; a group that was named alone gets its help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" or context is None:
        return str(getattr(error, "message", error))
    told = error.format_message() if hasattr(error, "format_message") else str(error)
    told = " ".join(str(told).split()).rstrip(".")
    stop = "" if told.endswith("?") else "."
    return f"beholder: {told[:1].lower()}{told[1:]}{stop} See `{context.command_path} --help`."


def main() -> None:
    """Runs the door. Exit 0: done; 1: a stated condition failed; 2: the call was wrong; 130: interrupted."""
    debug = "--debug" in sys.argv
    sys.argv = with_values([argument for argument in sys.argv if argument != "--debug"])
    try:
        code = app(prog_name="beholder", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except typer.TyperException as error:  # what was typed: a box of five lines by default
        print(usage_line(error), file=sys.stderr)
        sys.exit(2)
    except BeholderError as error:
        if debug:
            raise
        print(f"beholder: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("beholder: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
