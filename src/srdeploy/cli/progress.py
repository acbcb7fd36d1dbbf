"""The progress display of `srdeploy run`: which file, how many frames, how fast, and how long it will take."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from srdeploy.cli.answer import escaped

if TYPE_CHECKING:
    from srdeploy.cluster.worker import Doing, Hello

_ASK_SECONDS = 1.0
"""Between two looks at how far the workers are."""


class _Shown:
    """Bars that are on the screen while it is entered."""

    _bars: Bars

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class Progress(_Shown):
    """A bar on standard error for the frames of the present file; nothing where that is no terminal, or when quiet."""

    def __init__(self, files: int, quiet: bool) -> None:
        console = Console(stderr=True)
        self._files = files
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[size]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._task = self._bars.add_task("", total=None, rate="", size="")

    def begin(self, index: int, name: str) -> None:
        """The next file, the index-th of all."""
        count = f"[{index + 1}/{self._files}] " if self._files > 1 else ""
        # A name is shown as it is, never read as markup.
        text = f"{count}{escaped(name)}".replace("[", "\\[")
        self._bars.reset(self._task, total=None, description=text, rate="", size="")

    def frame(self, done: int, expected: int | None, size: int) -> None:
        """`done` frames of the present file are written in `size` bytes, of `expected` (None = not known)."""
        speed = self._bars.tasks[0].speed
        rate = f"{speed:.1f} frames/s" if speed else ""
        so_far = f"{size / 1e6:.1f} MB" if size else ""
        self._bars.update(self._task, completed=done, total=expected, rate=rate, size=so_far)


@dataclass
class _Row:
    """A worker's line. frames: of it since it was last begun; before: of all that had its place until then."""

    task: TaskID
    name: str
    frames: int = 0
    before: int = 0


class ClusterProgress(_Shown):
    """A line for all files and one for each worker, on standard error; nothing when quiet or where that is no terminal.

    doing: asks the workers how far they are; see cluster.Cluster.
    """

    def __init__(self, files: int, doing: "Callable[[], dict[int, tuple[Hello, Future[Doing]]]]", quiet: bool) -> None:
        console = Console(stderr=True)
        self._doing = doing
        self._shown = console.is_terminal and not quiet
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._shown,
            transient=True,
        )
        self._files = self._bars.add_task("files", total=files, text="")
        self._workers: dict[int, _Row] = {}
        self._ended = Event()

    def __enter__(self) -> Self:
        if self._shown:
            Thread(target=self._follow, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        super().__exit__(*error)

    def done(self) -> None:
        """One file more is done."""
        self._bars.advance(self._files)

    def _follow(self) -> None:
        began = monotonic()
        while not self._ended.wait(_ASK_SECONDS):
            doing = self._doing()
            for number, (hello, answer) in doing.items():
                if number not in self._workers:
                    task = self._bars.add_task("", total=None, text="")
                    self._workers[number] = _Row(task, f"{hello.machine} {hello.device}")
                with suppress(Exception):  # a worker that died: the pool sees to it
                    said = answer.result(timeout=_ASK_SECONDS)
                    self._show(self._workers[number], said.what or "idle", said.frames)
            for number in self._workers.keys() - doing.keys():
                self._show(self._workers[number], "gone", 0)
            total = sum(row.before + row.frames for row in self._workers.values())
            self._bars.update(self._files, text=f"{total} frames, {total / (monotonic() - began):.1f} frames/s")

    def _show(self, row: "_Row", what: str, frames: int) -> None:
        if frames < row.frames:  # begun anew, and counting from nothing
            row.before += row.frames
        row.frames = frames
        name = escaped(f"{row.name}: {what}").replace("[", "\\[")
        self._bars.update(row.task, description=name, text=f"{row.before + frames} frames")


class BuildProgress(_Shown):
    """A bar on standard error for the phases of an engine's build; nothing where that is no terminal."""

    def __init__(self) -> None:
        # The stream itself: while an engine is built, what its libraries say on sys.stderr is caught.
        console = Console(file=sys.stderr)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=None)

    def of(self, name: str) -> Callable[[str, int, int], None]:
        """What a build of the file `name` tells its progress to."""

        def tell(phase: str, done: int, total: int) -> None:
            text = f"{escaped(name)}: {phase}".replace("[", "\\[")
            self._bars.update(self._task, description=text, completed=done, total=total or None)

        return tell
