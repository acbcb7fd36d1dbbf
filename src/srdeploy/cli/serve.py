"""`srdeploy serve`: an HTTP API and a page, on this machine."""

import logging
from typing import Annotated

import typer

from srdeploy.cli.answer import expected_errors, note


def serve(
    model: Annotated[str | None, typer.Option("-m", "--model", help="The model when a client names none.")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for everybody.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    waiting: Annotated[int, typer.Option("--queue", min=1, help="Tasks and uploads that may wait; more get 429.")] = 32,
    megabytes: Annotated[int, typer.Option("--max-upload", min=1, help="Megabytes of one upload.")] = 512,
    pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="Pixels of one source picture.")] = 16_000_000,
    seconds: Annotated[float, typer.Option("--max-seconds", min=1, help="Seconds of an upload, and of a task.")] = 600,
) -> None:
    """Serve a page where people drop pictures and clips, and an API for programs. Ends on Ctrl-C or SIGTERM.

    Example: srdeploy serve --port 8000
    """
    with expected_errors(as_json=False, interrupted="the service has ended"):
        from srdeploy import zoo
        from srdeploy.extras import require

        chosen = zoo.resolve(model, None)
        for library in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
            require(library, "serve")
        from srdeploy.serve.run import serve as answer
        from srdeploy.serve.work import Limits

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("srdeploy").setLevel(logging.INFO)
        try:
            answer(chosen, host, port, Limits(megabytes << 20, pixels, waiting, seconds))
        except KeyboardInterrupt:  # the signal that ended the service, once it has ended
            note("the service has ended")
