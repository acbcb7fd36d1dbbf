"""What runs on a machine of the cluster: one engine, opened once, and what is done with it."""

import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from srdeploy import __version__, urls
from srdeploy.asked import Asked
from srdeploy.atomic import remove_parts
from srdeploy.errors import SrdeployError
from srdeploy.folders import is_small, outcome_of
from srdeploy.heap import keep_freed_memory
from srdeploy.jobs import Choices, Done, Failed, Job, OnFrame, Skipped, key_of, run_job, skipped_by
from srdeploy.shortage import shortage_said
from srdeploy.split import Made, Segmenter, Split


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself. label: what names of results end in. unlike: by what all workers must be alike.

    folder: whether it sees the folder in which the command was typed.
    """

    machine: str
    label: str
    device: str
    unlike: tuple[tuple[str, str], ...]
    folder: bool


@dataclass(frozen=True)
class Doing:
    """How far a worker is: frames and pictures since it began, and what it has in hand."""

    frames: int
    what: str


class Worker:
    """One engine on one machine, used by several threads. What is wrong with it is said by `hello`, not on making it.

    asked: the model and how it computes. folder: where the command was typed, in which relative paths are meant.
    """

    def __init__(self, asked: Asked, folder: str) -> None:
        keep_freed_memory()
        self._here = False
        with suppress(OSError):
            os.chdir(folder)
            self._here = True
        self._lock = threading.Lock()
        self._large = threading.Lock()
        self._done = 0
        self._open: dict[object, tuple[str, int]] = {}
        self._error: SrdeployError | None = None
        try:
            fit = asked.open()
            self._fit = fit.guarded_by(threading.Lock())
            self._segmenter = Segmenter(self._fit)
        except SrdeployError as error:
            self._error = error

    def hello(self) -> Hello | SrdeployError:
        """What this worker is, or why it is none."""
        if self._error is not None:
            return self._error
        upscaler = self._fit.largest()
        key = key_of(upscaler, 1, 1, 8)
        unlike = {"srdeploy": __version__, **{name: str(key[name]) for name in ("model", "precision", "backend")}}
        return Hello(platform.node(), self._fit.label, str(key["device"]), tuple(unlike.items()), self._here)

    def doing(self) -> Doing:
        """How far it is."""
        with self._lock:
            open_now = list(self._open.values())
        names = dict.fromkeys(name for name, _ in open_now)
        return Doing(self._done + sum(frames for _, frames in open_now), ", ".join(names))

    def do(self, job: Job, choices: Choices, is_free: bool, again: bool) -> Done | Skipped | Failed | Split:
        """Do a job, or say how it is to be split.

        is_free: nothing stood under the result's name when the job was first given out; what stands there when it is
        given out `again`, because the worker that had it died, is that worker's.
        """
        if again and is_free:
            choices = replace(choices, overwrite=True)
        if again and not urls.is_url(job.output):
            remove_parts(job.output)
        # One large picture at a time, as on one machine.
        alone = nullcontext() if is_small(job) else self._large
        with alone, self._counted(job.input.name) as on_frame:
            return outcome_of(
                job,
                lambda: (
                    skipped_by(job, choices)
                    or self._segmenter.look(job, choices)
                    or run_job(job, self._fit, choices, on_frame)
                ),
            )

    def make(
        self, job: Job, choices: Choices, settings: Mapping[str, Any], number: int, again: bool
    ) -> Made | SrdeployError:
        """The segment of that number of a video."""
        with self._counted(job.input.name) as on_frame:
            try:
                with shortage_said(f"for {job.input}"):
                    return self._segmenter.make(job, choices, settings, number, on_frame)
            except SrdeployError as error:
                return error

    @contextmanager
    def _counted(self, name: str) -> Iterator[OnFrame]:
        """Something that is done, and what its frames are told to."""
        mine = object()

        def on_frame(done: int, expected: int | None, size: int) -> None:
            self._open[mine] = (name, done)

        on_frame(0, None, 0)
        try:
            yield on_frame
        finally:
            with self._lock:
                self._done += self._open.pop(mine)[1]
