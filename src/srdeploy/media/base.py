"""The two ends of a stream: readers give frames, writers take them."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from srdeploy import atomic
from srdeploy.errors import OutputError
from srdeploy.picture import Frame

PIPE = Path("-")
"""Standard input as a source, standard output as a result."""

MAX_PIXELS = 1 << 28
"""Larger pictures and frames (268 million pixels) are refused before they are decoded."""


@dataclass(frozen=True)
class EncodeOptions:
    """How a video is encoded; None chooses by the result's container and the source's bit depth.

    codec: an encoder's name as FFmpeg has it (libx264, libx265, libvpx-vp9, libsvtav1, ffv1). crf: constant quality in
    that encoder's own scale, smaller is better. preset: that encoder's own word or number for speed.
    threads: encoder threads (None = one for each core). Pictures take none of these.
    """

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    threads: int | None = None


DEFAULT_OPTIONS = EncodeOptions()


class Reader(Protocol):
    """Frames of one source, in the order in which they are shown. A picture is a stream of one.

    path: where it was read from. frames: how many are expected (None = unknown until the end); iterating raises
    InputError when the source turns out to be damaged or to end early, after the good frames have been given.
    width, height: pixels of every frame. depth: bits of a sample (of a TIFF's first page).
    notes: what could not be kept as it was, a sentence each, for the user.
    Iterated once. close() may be called at any time and more than once.
    """

    path: Path
    frames: int | None
    width: int
    height: int
    depth: int
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class Writer(Protocol):
    """Takes the frames of one result, which appears under its name only when it is whole.

    Used as a context manager: leaving without an exception finishes the file and renames it into place; leaving
    with one leaves no file. notes: what had to be changed, a sentence each, for the user.
    begun: how many frames are there already from a run that was stopped; `write` takes those after them, and the
    reader was told to give no others.
    size: bytes of encoded frames so far, 0 where they are not counted.
    """

    path: Path
    notes: list[str]
    begun: int
    size: int

    def write(self, frame: Frame) -> None:
        """Take a frame, whose pixels nobody else reads meanwhile: they may change, and are as before afterwards."""

    def kept(self) -> int:
        """How many frames stay for a later run to go on with, should this one be stopped now."""

    def finish(self) -> None:
        """Give the file its name now, and not on leaving; nothing more is written afterwards."""

    def keep_partial(self) -> Path | None:
        """Finish with the frames written so far, as `<stem>.partial<suffix>`, and return that path; None without any.

        For a source that turned out to be damaged; nothing more is written afterwards.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Finishing(ABC):
    """What writers that cannot go on with earlier work have in common: left without an error, they finish."""

    begun = 0
    size = 0

    @abstractmethod
    def finish(self) -> None:
        """See Writer."""

    @abstractmethod
    def leave(self) -> None:
        """Let go of everything, finished or not."""

    def kept(self) -> int:
        """Nothing."""
        return 0

    def keep_partial(self) -> Path | None:
        """Nothing: half a result is none."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.leave()


def partial_path(path: Path) -> Path:
    """Where the good part of a result goes whose source turned out to be damaged."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def refuse_special(path: Path) -> None:
    """Raise OutputError for a pipe, a device or a socket: renaming the result into its place would destroy it.

    And for a name that the file system does not take: too long, or in a folder that may not be searched.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        advice = "a shorter name" if error.errno == errno.ENAMETOOLONG else "another path"
        raise OutputError(f"cannot write {path}: {error.strerror}; type {advice}") from None
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OutputError(f"cannot write {path}: it is a pipe or a device, not a file; type -o with the name of a file")


def check_place(path: Path) -> None:
    """Raise OutputError when a result cannot be made at `path`.

    That is when its folder is not there or not writable, or when `path` is a folder, a pipe or a device.
    """
    refuse_special(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; type the name of a file")
    if not path.parent.is_dir():
        if os.path.lexists(path.parent):
            raise OutputError(f"cannot write {path}: {path.parent} is no folder; type another path")
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is not writable; type another path")


def part_path(path: Path) -> Path:
    """A hidden name beside `path`, unlike any other, with its suffix: where a result grows until it is whole.

    Raises OutputError as check_place does.
    """
    check_place(path)
    return atomic.part_path(path)


def work_folder(path: Path) -> Path:
    """The hidden folder beside a result in which it is made."""
    # A name may be 255 bytes; the stem gives way.
    stem = os.fsdecode(os.fsencode(path.stem)[:200])
    return path.with_name(f".{stem}{path.suffix}.part")


def one_line(error: BaseException) -> str:
    """The text of a library's error as one line, without numbers that say nothing to a person."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())
