"""`align experiment NAME RUN`: every setting is an option; the result is a run of benchmarks/runs.py."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

# Name of the command -> its module, configuration. A module is imported when its command is asked for.
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "knowledge": ("knowledge", "KnowledgeExperiment"),
    "look": ("look", "LookExperiment"),
    "arms": ("arms", "ArmsExperiment"),
    "rewriter": ("rewriter", "RewriterExperiment"),
    "people": ("people", "PeopleConfig"),
    "beauty": ("beauty", "BeautyConfig"),
    "hacking": ("hacking", "HackingConfig"),
    "ablation": ("ablation", "AblationConfig"),
}


class Experiments(TyperGroup):
    """A group whose commands are the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(EXPERIMENTS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in EXPERIMENTS:
            return None
        one = typer.Typer(add_completion=False)
        register(one, {cmd_name: EXPERIMENTS[cmd_name]})
        command = typer.main.get_command(one)
        command.name = cmd_name
        return command


app = typer.Typer(cls=Experiments, no_args_is_help=True, help="Experiments: what alignment is worth, measured.")
Out = Annotated[Path | None, typer.Option(help="Write the run as JSON; default: RUN/result.json.")]


@app.callback()
def experiment() -> None:
    """Experiments: what alignment is worth, measured. Run again to go on after an interruption."""


def command_for(module: Any, configuration: type[Any]) -> Callable[..., None]:
    """A function with a parameter for each field of the configuration, for Typer."""
    hints = get_type_hints(configuration)
    parameters, kinds = [], {}
    for field in fields(configuration):
        told, kind = field.metadata.get("help", ""), hints[field.name]
        if field.default is MISSING:
            annotation: Any = Annotated[kind, typer.Argument(help=told or "Folder of the run.")]
            default: Any = inspect.Parameter.empty
        elif isinstance(field.default, tuple):
            several: Any = list.__class_getitem__(kind.__args__[0])
            annotation, default = Annotated[several, typer.Option(help=told)], list(field.default)
        else:
            annotation, default = Annotated[kind, typer.Option(help=told)], field.default
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
        kinds[field.name] = annotation

    def run(**settings: Any) -> None:
        from benchmarks.options import finish

        out, as_json = settings.pop("out"), settings.pop("as_json")
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
        config = configuration(**given)
        found = module.measure(config, lambda line: typer.echo(line, err=True))
        finish(found, out or config.run / "result.json", as_json)

    own = {"out": (Out, None), "as_json": (Annotated[bool, typer.Option("--json", help="Print as JSON.")], False)}
    for name, (annotation, default) in own.items():
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
        kinds[name] = annotation
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = kinds
    run.__doc__ = inspect.getdoc(module.measure)
    return run


def register(into: typer.Typer, experiments: dict[str, tuple[str, str]]) -> None:
    for name, (where, configuration) in experiments.items():
        module = importlib.import_module(f".{where}", __package__)
        into.command(name)(command_for(module, getattr(module, configuration)))
