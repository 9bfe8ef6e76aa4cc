"""`align critic`: data for critics, and their training."""

import typer

from .data_cli import data
from .mini.cli import mini
from .train_cli import recipes, train

app = typer.Typer(no_args_is_help=True, help="Teach a model that sees to say why a picture is good.")
app.command()(data)
app.command()(recipes)
app.command()(train)
app.command()(mini)


@app.callback()
def critic() -> None:
    """Teach a model that sees to say why a picture is good."""
