"""Start the service on a socket, and end it when it is asked to."""

import ipaddress
import logging
import socket

import uvicorn

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
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=grace)).run(sockets=[listening])


def _hosts(host: str) -> list[str] | None:
    """Behind a loopback address only local names are answered, so that no other site's name can be pointed here."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return ["localhost", "127.0.0.1", "[::1]", host] if local else None
