"""The watch over a cluster's head, with a socket in its place. No Ray is needed."""

import socket
import threading

import pytest

from srdeploy.cluster import head
from srdeploy.errors import DeviceError


def test_a_head_that_goes_is_given_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(head, "SILENT_SECONDS", 0.2)
    said: list[DeviceError] = []
    heard = threading.Event()

    def give_up(error: DeviceError) -> None:
        said.append(error)
        heard.set()

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    with head.watched(address, give_up):
        assert not heard.wait(0.6)
        listening.close()
        assert heard.wait(30)
    [error] = said
    assert str(error).startswith(f"the head of the cluster at {address} does not answer any more")
