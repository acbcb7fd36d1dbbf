"""The progress display of `srdeploy run`: which file, how many frames, how fast, and how long it will take."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from srdeploy.cli.answer import escaped


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
