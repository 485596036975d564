"""The command line: ``python -m analysis COMMAND``."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import typer

from analysis.commands.annotate import annotate
from analysis.commands.attribute import attribute
from analysis.commands.capture import capture
from analysis.commands.compare import compare
from analysis.commands.evaluate import evaluate
from analysis.commands.export import export
from analysis.commands.faithfulness import faithfulness
from analysis.commands.finetune import finetune
from analysis.commands.index import index
from analysis.commands.info import info
from analysis.commands.intervene import intervene
from analysis.commands.picture import film, picture
from analysis.commands.predict import predict
from analysis.commands.report import report
from analysis.commands.reviews import app as reviews_app
from models.errors import UserError

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Look inside vision-language-action models."
)
for command in (
    info,
    index,
    predict,
    capture,
    attribute,
    intervene,
    compare,
    faithfulness,
    export,
    annotate,
    picture,
    film,
    report,
    finetune,
    evaluate,
):
    app.command()(command)
app.add_typer(reviews_app, name="reviews")


def main() -> None:
    """Runs the command; a `UserError` becomes one sentence on stderr and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # texts of data sets have signs that a terminal may not know
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
