"""The command line: one module for each verb, and nothing heavy imported before a verb needs it."""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the command: `app.main`, ready for Ctrl-C from the first moment on."""
    try:
        try:
            from srdeploy.cli.app import main as run  # inside, since importing takes a moment too

            run()
        except SystemExit as end:
            if end.code != 130:
                raise
            _end_now()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        _end_now()


def _end_now() -> None:
    """Exit 130 without waiting for threads that are inside an engine, which may take seconds for one frame."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(130)
