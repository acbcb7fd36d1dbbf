"""The command `srdeploy`: its verbs in one place."""

import signal
from typing import Annotated

import typer

from srdeploy import __version__
from srdeploy.cli.check import check
from srdeploy.cli.evaluate import evaluate
from srdeploy.cli.export import export
from srdeploy.cli.info import info
from srdeploy.cli.run import run
from srdeploy.cli.train import train

app = typer.Typer(
    name="srdeploy",
    help="Super-resolution from training to frames. Most people want: srdeploy run video.mp4",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"srdeploy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Super-resolution from training to frames. Most people want: srdeploy run video.mp4"""


app.command("run")(run)
app.command("train")(train)
app.command("export")(export)
app.command("check")(check)
app.command("eval")(evaluate)
app.command("info")(info)


def main() -> None:
    """Entry point of the command. Exit status: 0 done, 1 expected error, 2 wrong usage, 130 interrupted."""
    # Asked to end, by Ctrl-C or by the system, a verb cleans up what it had begun.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
