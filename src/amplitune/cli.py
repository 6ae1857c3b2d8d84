"""The command line: its commands, and how errors end it."""

import sys
import warnings
from typing import Annotated, NoReturn

import typer

import amplitune
from amplitune.commands import checks, circuit, report, study, survey, tune
from amplitune.commands.options import DONE, FAILED, INTERRUPTED, USAGE
from amplitune.errors import AmplituneError, ConfigError

app = typer.Typer(
    help="Compare QAA and SoRA with LoRA, prefix tuning and full fine-tuning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(study.compare)
app.command()(study.train)
app.command()(checks.validate)
app.command()(survey.survey)
app.command()(checks.doctor)
app.command()(tune.tune)
app.command()(report.report)
app.command()(report.reproduce)
app.add_typer(circuit.app, name="circuit")


def _version(show: bool) -> None:
    if show:
        typer.echo(amplitune.__version__)
        raise typer.Exit(DONE)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Compare QAA and SoRA with LoRA, prefix tuning and full fine-tuning."""


def main() -> NoReturn:
    """Run the command line; every expected error is one message and an exit code."""
    # Written for transformers' own developers, and repeated by every process.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        app()
    except AmplituneError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USAGE if isinstance(error, ConfigError) else FAILED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            typer.echo("interrupted; the same command goes on where it stopped", err=True)
        raise
    sys.exit(DONE)
