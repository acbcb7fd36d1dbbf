"""What a caller in Python gave, looked at where it comes in: a wrong type is one clear TypeError."""

import operator
import os
from pathlib import Path
from typing import Any


def path_of(name: str, value: Any) -> Path:
    """A str or a Path as a Path; name: the argument, for the error."""
    if isinstance(value, str | Path):
        return Path(value)
    if isinstance(value, os.PathLike) and isinstance(text := os.fspath(value), str):
        return Path(text)
    raise TypeError(f"{name} must be a str or a Path, not {_kind(value)}")


def whole(name: str, value: Any) -> int:
    """An int, or NumPy's; True and False are none."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} must be a whole number, not {_kind(value)}")


def whole_or_none(name: str, value: Any) -> int | None:
    """As `whole`; None stays None."""
    return None if value is None else whole(name, value)


def check_is(name: str, value: Any, kind: type, words: str) -> None:
    """Raise TypeError where a value is not of that kind; words: what is wanted, "a str"."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {words}, not {_kind(value)}")


def _kind(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown}" if len(shown) < 40 and "\n" not in shown else type(value).__name__
