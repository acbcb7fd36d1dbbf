"""A bound on the time of one run of a graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any


@contextmanager
def ended_after(seconds: float | None, options: Any) -> Iterator[None]:
    """Let a run with these onnxruntime.RunOptions take so many seconds: it is then ended between two nodes, or two
    rounds of a loop. None: as long as it likes."""
    if seconds is None:
        yield
        return
    end = Timer(seconds, setattr, (options, "terminate", True))
    end.daemon = True
    end.start()
    try:
        yield
    finally:
        end.cancel()
