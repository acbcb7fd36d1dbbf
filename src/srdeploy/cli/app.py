"""The command `srdeploy`: its verbs in one place."""

import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from srdeploy import __version__
from srdeploy.cli.answer import error_line
from srdeploy.cli.bench import bench
from srdeploy.cli.check import check
from srdeploy.cli.compare import compare
from srdeploy.cli.evaluate import evaluate
from srdeploy.cli.export import export
from srdeploy.cli.info import info
from srdeploy.cli.run import run
from srdeploy.cli.serve import serve
from srdeploy.cli.train import train
from srdeploy.heap import keep_freed_memory

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
app.command("bench")(bench)
app.command("compare")(compare)
app.command("info")(info)
app.command("serve")(serve)


def main() -> None:
    """Entry point of the command. Exit status: 0 done, 1 expected error, 2 wrong usage, 130 interrupted."""
    # Asked to end, by Ctrl-C or by the system, a verb cleans up what it had begun.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _prepare_output()
    keep_freed_memory()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a failure is still ours to tell, and not as Python ends
    except OSError as error:
        # What is left in the buffer goes nowhere, or Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            error_line(f"cannot write to standard output: {error.strerror or error}; send it elsewhere")
        sys.exit(1)


def _prepare_output() -> None:
    """Make standard output take any name: those that its encoding lacks are escaped, and a closed one takes all."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - to the end, as standard output is
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
