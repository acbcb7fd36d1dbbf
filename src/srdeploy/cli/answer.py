"""How a verb answers: one JSON document or a few lines; expected errors in one line, exit 1."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from srdeploy.errors import SrdeployError
from srdeploy.quiet import heard
from srdeploy.shortage import is_shortage, too_little

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def escaped(text: str) -> str:
    """The text with its control characters written out: a file may be named with a line break or a terminal's codes."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str) -> None:
    """A line of the result, on standard output."""
    sys.stdout.write(f"{escaped(text)}\n")


def note(text: str) -> None:
    """A remark, on standard error, in one line."""
    with heard():
        sys.stderr.write(f"{escaped(text)}\n")


def error_line(text: str) -> None:
    """An expected error, on standard error, in one line whatever is in it."""
    note(f"error: {' '.join(text.split())}")


def print_json(document: Any) -> None:
    """The one JSON document of a `--json` answer. Names that are no valid text are escaped, not refused."""
    say(json.dumps(document, allow_nan=False))


@contextmanager
def expected_errors(as_json: bool, interrupted: str = "no unfinished result was kept") -> Iterator[None]:
    """Turn a SrdeployError into its line and exit 1, with --json also into {"error": "..."}; Ctrl-C into exit 130."""
    try:
        yield
    except SrdeployError as error:
        _tell(str(error), as_json)
        raise typer.Exit(1) from None
    except BrokenPipeError:  # whoever read our answer has gone; main() ends quietly
        raise
    except OSError as error:  # a file system that refuses: unreadable folders, names too long, full disks
        reason = f"{error.filename or 'input or output'}: {error.strerror or error}; check the path and its permissions"
        _tell(reason, as_json)
        raise typer.Exit(1) from None
    except Exception as error:
        if not is_shortage(error):
            raise
        _tell(str(too_little("for this")), as_json)
        raise typer.Exit(1) from None
    except KeyboardInterrupt as interrupt:
        note(f"interrupted: {str(interrupt) or interrupted}")
        raise typer.Exit(130) from None


def _tell(reason: str, as_json: bool) -> None:
    error_line(reason)
    if as_json:
        print_json({"error": reason})
