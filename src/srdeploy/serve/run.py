"""Start the service on a socket, and end it when it is asked to."""

import asyncio
import ipaddress
import logging
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from srdeploy.errors import DeviceError
from srdeploy.serve.app import make_app
from srdeploy.serve.work import Limits, Worker


def serve(model: str, host: str, port: int, limits: Limits) -> None:
    """Answer on host:port until SIGINT or SIGTERM; requests that were begun are then still answered.

    Raises ModelError for an unknown model, DeviceError for an address that cannot be had.
    """
    worker = Worker(limits)
    worker.open_model(model)  # now, so that a missing engine is said here and not to the first client
    app = make_app(model, limits, worker, _hosts(host))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        worker.close()
        reason = error.strerror or error
        raise DeviceError(f"{host}:{port} cannot be listened on ({reason}); type another --host or --port") from None
    logging.getLogger("srdeploy").info("http://%s:%d", host, listening.getsockname()[1])
    grace = int(limits.seconds) + 1
    protocol = type("Impatient", (_Impatient,), {"seconds": min(limits.header_seconds, limits.seconds)})
    config = uvicorn.Config(app, http=protocol, ws="none", log_level="warning", timeout_graceful_shutdown=grace)
    uvicorn.Server(config).run(sockets=[listening])


class _Impatient(H11Protocol):
    """uvicorn's HTTP, which by itself waits without end for the head of a request: here a connection is then closed."""

    seconds: float

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """A head is awaited, or the rest of a request that is answered already: let it not take long."""
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _hosts(host: str) -> list[str] | None:
    """Behind a loopback address only local names are answered, so that no other site's name can be pointed here."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return ["localhost", "127.0.0.1", "[::1]", host] if local else None
