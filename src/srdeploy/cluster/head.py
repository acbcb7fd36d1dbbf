"""Whether the head of a cluster still answers: without it Ray ends the process after a minute, in words of its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from srdeploy.errors import DeviceError

LOOK_SECONDS = 5.0
"""Between two looks, and how long one may take."""

SILENT_SECONDS = 30.0
"""Without an answer until the head is given up, well before Ray does that, 60 s after it lost it."""


def refusal(host: str, port: int, seconds: float) -> OSError | OverflowError | None:
    """Why nothing at that address takes a connection; None where something does."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return None
    except (OSError, OverflowError) as error:
        return error


@contextmanager
def watched(address: str, give_up: Callable[[DeviceError], None]) -> Iterator[None]:
    """Look at HOST:PORT for as long as this is entered, and tell `give_up` once when it does not answer any more."""
    host, _, port = address.rpartition(":")
    ended = threading.Event()

    def look() -> None:
        answered = monotonic()
        while not ended.wait(LOOK_SECONDS):
            begun = monotonic()
            refused = refusal(host, int(port), LOOK_SECONDS)
            if refused is None:
                answered = begun
            elif monotonic() - answered > SILENT_SECONDS:
                give_up(DeviceError(f"the head of the cluster at {address} does not answer any more ({refused})"))
                return

    threading.Thread(target=look, name="srdeploy-head", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
