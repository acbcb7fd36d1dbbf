"""One engine for all clients: a bounded queue of tasks, and the one thread that does them in turn.

The network already uses every core, so tasks run one after another; each takes the very road of `srdeploy run`, in a
folder of its own that goes when the task is discarded.
"""

import logging
import queue
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from srdeploy.errors import InputError, SrdeployError
from srdeploy.folders import plan_jobs
from srdeploy.jobs import Choices, Done, run_job
from srdeploy.upscale import Upscaler, open_upscaler

OPEN_MODELS = 4
"""How many models stay open; the one that was not used for longest is closed for the next."""

State = Literal["waiting", "running", "done", "failed"]


class Busy(Exception):
    """The queue is full: the client should come back later."""


class _Stopped(Exception):
    """A task was cancelled or took too long; raised between two frames."""


@dataclass(frozen=True)
class Limits:
    """What one client may cost. upload_bytes: of one request; pixels: of one source picture or frame; waiting: tasks in
    the queue and uploads under way; seconds: of one upload, and of one task; header_seconds: from a connection to the
    end of a request's head; kept_seconds: how long a finished task waits to be fetched."""

    upload_bytes: int = 512 << 20
    pixels: int = 16_000_000
    waiting: int = 32
    seconds: float = 600.0
    header_seconds: float = 20.0
    kept_seconds: float = 300.0


@dataclass
class Task:
    """One upload on its way. `future` ends with the result's path, or with a SrdeployError for the client."""

    folder: Path
    source: Path
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "waiting"
    frames: int = 0
    expected: int | None = None
    error: str | None = None
    outcome: Done | None = None
    cancelled: bool = False
    ended: float | None = None
    future: "Future[Path]" = field(default_factory=Future)

    def discard(self) -> None:
        """Stop it if it has not ended, and leave nothing of it on the disk."""
        self.cancelled = True
        if self.state in ("done", "failed"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Worker:
    """Takes tasks, does them in order, and forgets those that nobody fetched."""

    def __init__(self, limits: Limits, open_model: Callable[[str], Upscaler] | None = None) -> None:
        self.limits = limits
        self.tasks: dict[str, Task] = {}
        self.open_model = lru_cache(OPEN_MODELS)(open_model or open_upscaler)
        self._queue: queue.Queue[Task | None] = queue.Queue()
        self._uploads = 0
        self._lock = threading.Lock()
        self._root = Path(tempfile.mkdtemp(prefix="srdeploy-serve-"))
        self._thread = threading.Thread(target=self._work, name="srdeploy-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Tasks in the queue, the running one not counted."""
        return self._queue.qsize()

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """A new folder for an upload, which takes a place in the queue already. Raises Busy when the queue is full."""
        with self._lock:
            if self.waiting + self._uploads >= self.limits.waiting:
                raise Busy
            self._uploads += 1
        folder = Path(tempfile.mkdtemp(dir=self._root))
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._uploads -= 1

    def add(self, source: Path, model: str) -> Task:
        """Queue an uploaded file, which stands in the folder of its upload."""
        with self._lock:
            self._forget()
            task = Task(source.parent, source, model)
            self.tasks[task.id] = task
            self._queue.put(task)
        return task

    def drop(self, task: Task) -> None:
        """Discard a task and forget it."""
        self.tasks.pop(task.id, None)
        task.discard()

    def close(self) -> None:
        """End what runs, do nothing more, and leave nothing on the disk."""
        for task in list(self.tasks.values()):
            task.cancelled = True
        self._queue.put(None)
        self._thread.join(timeout=self.limits.seconds)
        shutil.rmtree(self._root, ignore_errors=True)

    def _forget(self) -> None:
        now = time.monotonic()
        for task in list(self.tasks.values()):
            if task.ended is not None and now - task.ended > self.limits.kept_seconds:
                self.drop(task)

    def _next(self) -> Task | None:
        """The next task; while there is none, what nobody fetched is forgotten in time."""
        while True:
            try:
                return self._queue.get(timeout=min(self.limits.kept_seconds, 10))
            except queue.Empty:
                self._forget()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task.state = "running"
            try:
                task.outcome = self._do(task)
                ended: State = "done"
            except SrdeployError as error:
                task.error, ended = str(error).replace(f"{task.folder}/", ""), "failed"
            except _Stopped as stopped:
                task.error, ended = str(stopped), "failed"
            except Exception:  # a defect ends one task, not the service
                logging.getLogger(__name__).exception("a task failed")
                task.error, ended = "a defect of the service; see its log", "failed"
                task.future.set_exception(RuntimeError(task.error))
            self._end(task, ended)

    def _end(self, task: Task, state: State) -> None:
        task.ended, task.state = time.monotonic(), state
        if task.cancelled:
            self.drop(task)
        if task.outcome is not None:
            task.future.set_result(Path(task.outcome.output))
        elif not task.future.done():
            task.future.set_exception(InputError(task.error))

    def _do(self, task: Task) -> Done:
        deadline = time.monotonic() + self.limits.seconds

        def on_frame(done: int, expected: int | None, _: int) -> None:
            task.frames, task.expected = done, expected
            if task.cancelled:
                raise _Stopped("cancelled")
            if time.monotonic() > deadline:
                raise _Stopped(f"it took longer than the {self.limits.seconds:g} s that a task may take here")

        if task.cancelled:
            raise _Stopped("cancelled")
        upscaler = self.open_model(task.model)
        [job] = plan_jobs([task.source], task.folder / "result", f"x{upscaler.scale}")
        outcome = run_job(job, upscaler, Choices(max_pixels=self.limits.pixels), on_frame)
        assert isinstance(outcome, Done)
        return outcome
