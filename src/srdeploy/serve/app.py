"""The routes: POST a picture, get a picture; tasks with progress for what takes longer; models, health, metrics."""

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from srdeploy import __version__, zoo
from srdeploy.errors import SrdeployError
from srdeploy.media.kinds import kind_of
from srdeploy.serve.work import Busy, Limits, Task, Worker

PAGE = Path(__file__).with_name("page.html")

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "bmp": ".bmp", "tiff": ".tif", "gif": ".gif"}
"""The suffix that an upload without a name gets, by its content; a video gets .mkv."""

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Methods that are counted by their name."""

PARAMETERS = ("model", "name")
"""What may stand behind the question mark of an upload."""

_FORM_BYTES = 1 << 16
"""What a form may have beside its file."""

Model = Annotated[str | None, Query(description="A shipped name, such as espcn-x4. Default: the service's.")]
Name = Annotated[str | None, Query(description="The file's name; its suffix names the format of the result.")]


class _OneTimeFile(FileResponse):
    """A result that is gone from the disk once it was sent, or could not be."""

    def __init__(self, path: Path, name: str, gone: Callable[[], None]) -> None:
        super().__init__(path, media_type=mimetypes.guess_type(path.name)[0], filename=name)
        self._gone = gone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gone()


def make_app(default: str, limits: Limits, worker: Worker, hosts: list[str] | None) -> FastAPI:
    """The service as an ASGI application. hosts: the Host headers that are answered (None = any)."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(worker.close)

    # No interactive documentation: its page would fetch scripts from elsewhere. /openapi.json has it all.
    app = FastAPI(title="srdeploy", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    _add_measures(app, worker)
    _add_facts(app, default, limits)
    _add_work(app, default, limits, worker)

    @app.exception_handler(SrdeployError)
    async def unprocessable(request: Request, error: SrdeployError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> JSONResponse:
        text = f"{limits.waiting} tasks are waiting or on their way already; try again in a few seconds"
        return JSONResponse({"error": text}, 429, {"Retry-After": "2"})

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    return app


def _add_measures(app: FastAPI, worker: Worker) -> None:
    registry = CollectorRegistry()
    requests = Counter("srdeploy_requests", "Answered requests.", ["method", "route", "status"], registry=registry)
    seconds = Histogram("srdeploy_request_seconds", "From request to answer.", ["route"], registry=registry)
    Gauge("srdeploy_waiting_tasks", "Tasks in the queue.", registry=registry).set_function(lambda: worker.waiting)
    Gauge("srdeploy_kept_tasks", "Tasks known.", registry=registry).set_function(lambda: len(worker.tasks))

    @app.middleware("http")
    async def measure(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        started = asyncio.get_running_loop().time()
        response = await go_on(request)
        # The pattern, never what was typed: a label for each mistyped path would fill the memory.
        route = getattr(request.scope.get("route"), "path", "other")
        method = request.method if request.method in METHODS else "other"
        requests.labels(method, route, str(response.status_code)).inc()
        seconds.labels(route).observe(asyncio.get_running_loop().time() - started)
        return response

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters and durations in the text format of Prometheus."""
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the service works, and how much waits."""
        return {"status": "ok", "waiting": worker.waiting, "version": __version__}


def _add_facts(app: FastAPI, default: str, limits: Limits) -> None:
    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        """The page for people."""
        return PAGE.read_text(encoding="utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The models that can be asked for, and what an upload may weigh."""
        return {"default": default, "models": zoo.names(), "upload_bytes": limits.upload_bytes}


def _add_work(app: FastAPI, default: str, limits: Limits, worker: Worker) -> None:
    body = {"requestBody": {"required": True, "content": {"application/octet-stream": {}, "multipart/form-data": {}}}}

    async def queued(request: Request, model: str | None, name: str | None) -> tuple[Task, str]:
        if unknown := sorted(request.query_params.keys() - {*PARAMETERS}):
            raise HTTPException(
                422, f"there is no parameter {unknown[0]!r}; there are: {', '.join(sorted(PARAMETERS))}"
            )
        chosen = zoo.resolve(model or default, None)
        try:
            async with asyncio.timeout(limits.seconds):
                with worker.upload() as folder:
                    source, stem = await _received(request, folder, name, limits.upload_bytes)
                    return worker.add(source, chosen), stem
        except TimeoutError:
            raise HTTPException(408, f"the upload took longer than {limits.seconds:g} s") from None
        except ClientDisconnect:
            raise HTTPException(400, "the upload broke off") from None

    def result(task: Task, stem: str) -> Response:
        assert task.outcome is not None
        path = Path(task.outcome.output)
        scale = path.stem.rpartition("_")[2]
        return _OneTimeFile(path, f"{stem}_{scale}{path.suffix}", lambda: worker.drop(task))

    def known(id: str) -> Task:
        task = worker.tasks.get(id)
        if task is None:
            raise HTTPException(404, "there is no such task; its result may have been fetched or forgotten")
        return task

    stems: dict[str, str] = {}

    @app.post("/v1/upscale", openapi_extra=body, response_class=FileResponse)
    async def upscale(request: Request, model: Model = None, name: Name = None) -> Response:
        """Enlarge the picture or video in the body (raw bytes, or one file of a form), and answer with the result."""
        task, stem = await queued(request, model, name)
        try:
            await _while_there(request, task)
        except BaseException:
            worker.drop(task)
            raise
        return result(task, stem)

    @app.post("/v1/tasks", status_code=202, openapi_extra=body)
    async def begin(request: Request, model: Model = None, name: Name = None) -> dict[str, str]:
        """Take the picture or video in the body, and answer at once with the id of its task."""
        task, stems_of_task = await queued(request, model, name)
        stems[task.id] = stems_of_task
        return {"id": task.id}

    @app.get("/v1/tasks/{id}")
    async def progress(id: str) -> dict[str, Any]:
        """waiting, running, done or failed; frames done and expected; what was made or why not."""
        task = known(id)
        state = {"id": id, "state": task.state, "frames": task.frames, "expected": task.expected, "error": task.error}
        if task.outcome is not None:
            made = task.outcome.as_dict()
            state |= {key: made[key] for key in ("frames", "seconds", "model", "precision", "backend", "device")}
        return state

    @app.get("/v1/tasks/{id}/result", response_class=FileResponse)
    async def fetch(id: str) -> Response:
        """The result, once; then the task is forgotten and nothing of it is left on the disk."""
        task = known(id)
        if task.state == "failed":
            raise HTTPException(422, task.error or "failed")
        if task.state != "done":
            raise HTTPException(409, f"the task is {task.state}; ask again when it is done")
        return result(task, stems.pop(id, "result"))

    @app.delete("/v1/tasks/{id}", status_code=204)
    async def cancel(id: str) -> None:
        """Stop a task and forget it."""
        stems.pop(id, None)
        worker.drop(known(id))


async def _while_there(request: Request, task: Task) -> None:
    """Wait until the task has ended. Raises SrdeployError of the task, HTTPException when the client went away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    ended: asyncio.Future[Any] = asyncio.wrap_future(task.future)
    leaving: asyncio.Future[Any] = asyncio.ensure_future(gone())
    try:
        await asyncio.wait([ended, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise HTTPException(400, "the client went away")  # which nobody reads
        ended.result()
    finally:
        leaving.cancel()


async def _received(request: Request, folder: Path, name: str | None, most: int) -> tuple[Path, str]:
    """Write the upload into `folder`; its path, and the stem of its name. Raises HTTPException 400, 411 or 413."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise HTTPException(413, f"the upload has {declared} bytes; at most {most} are taken")
    part = folder / "upload.part"
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        # The parser keeps what it reads on the disk, so the bound stands before it.
        form_of = Request(request.scope, _bounded(request.receive, most + _FORM_BYTES))
        async with form_of.form(max_files=1, max_fields=8) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            if not files:
                raise HTTPException(400, "the form holds no file; send one, or the picture itself as the body")
            name = name or files[0].filename
            await _written(_chunks(files[0]), part, most)
    else:
        await _written(request.stream(), part, most)
    with part.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise HTTPException(400, "the upload is empty; send a picture or a video")
    suffix = Path(name).suffix if name and re.fullmatch(r"\.\w{1,8}", Path(name).suffix) else ""
    # A name of our own: what a client types never becomes a path here.
    return part.rename(folder / f"upload{suffix or SUFFIXES.get(kind_of(head), '.mkv')}"), Path(name or "result").stem


def _bounded(receive: Callable[[], Awaitable[Any]], most: int) -> Callable[[], Awaitable[Any]]:
    """`receive` of an ASGI request that raises HTTPException 413 after so many bytes."""
    size = 0

    async def bounded() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, f"the form has more than the {most} bytes that are taken")
        return message

    return bounded


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(1 << 20):
        yield chunk


async def _written(chunks: AsyncIterator[bytes], path: Path, most: int) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise HTTPException(413, f"the upload has more than the {most} bytes that are taken")
            file.write(chunk)
