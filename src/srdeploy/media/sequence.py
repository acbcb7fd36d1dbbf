"""A video as numbered pictures."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from srdeploy.errors import InputError, OutputError
from srdeploy.media.base import check_place, work_folder
from srdeploy.media.colour import rgb_from_yuv
from srdeploy.media.encode import encode
from srdeploy.media.pictures import check_picture_target
from srdeploy.media.segments import Packet, Segments
from srdeploy.media.video_reader import VideoReader
from srdeploy.picture import Frame, Picture

_NAMING = "naming"
"""Stands in the work folder from when pictures begin to get their names."""


class SequenceWriter:
    """Frames as pictures, numbered as the source's are or from 1, named when all of them are there; see base.Writer.

    Each picture is a closed segment of a hidden folder, so that a run that was stopped goes on after the last of them.
    Pictures have no times and no sound. key, must_go_on: as in VideoWriter. Raises OutputError when one of the pictures
    exists (unless `overwrite`) or their format cannot hold them.
    """

    def __init__(
        self,
        path: Path,
        like: VideoReader,
        width: int,
        height: int,
        key: Mapping[str, Any] | None = None,
        must_go_on: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.notes = ["numbered pictures have neither times nor sound"]
        self._first, self._done = like.first_number, False
        self._overwrite, self._size = overwrite, (width, height)
        self._like = like
        check_place(self._name(self._first))
        kind = "u1" if like.depth == 8 else "u2"
        check_picture_target(
            self._name(self._first), width, height, Picture("rgb", (np.zeros((1, 1, 3), kind),), like.depth)
        )
        self._folder = work_folder(path)
        settings = {
            "source": like.identity(),
            "result": path.name,
            "size": [width, height],
            "opencv": cv2.__version__,
            **(key or {}),
        }
        self._segments = Segments(self._folder, settings)
        # Stopped while the pictures got their names, those that have one are ours.
        self._are_ours = (self._folder / _NAMING).exists() and not self._segments.differences()
        try:
            self._refuse_existing(self._first)
            self._go_on(must_go_on)
        except OSError as error:
            self._segments.leave()
            raise self._unwritten(error) from None
        except BaseException:
            self._segments.leave()
            raise

    def _go_on(self, must: bool) -> None:
        self._segments.go_on(self.path, must)
        if self._are_ours:
            (self._folder / _NAMING).touch()
        self.begun, self.size = self._segments.frames, self._segments.size
        if self.begun:
            self._like.go_on(self.begun, self._segments.last_pts)
            self.notes.append(f"{self.begun} pictures were there already, from a run that was stopped")

    def write(self, frame: Frame) -> None:
        """Write one picture, of the writer's size."""
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} for pictures of {self._size}")
        if picture.layout == "yuv":
            picture = Picture("rgb", (rgb_from_yuv(picture),), picture.depth)
        name = self._name(self._first + self._segments.frames)
        self._refuse_existing(self._first + self._segments.frames)
        check_picture_target(name, picture.width, picture.height, picture)
        data = encode(name, picture)
        try:
            self._segments.add(Packet(frame.pts, frame.duration, True, data))
            self._segments.close_segment()
        except OSError as error:
            raise self._unwritten(error) from None
        self.size += len(data)

    def kept(self) -> int:
        """Pictures that stay for a run that goes on; a pipe does not come again."""
        return self._segments.frames if self._like.carried is None else 0

    def keep_partial(self) -> Path | None:
        """Give those that are there their names."""
        if not self._segments.frames:
            return None
        self.finish()
        return self.path

    def finish(self) -> None:
        """Give all their names, from the last to the first, so that those without one are always the first ones."""
        if self._done:
            return
        try:
            (self._folder / _NAMING).touch()
            for number, segment in reversed(list(enumerate(self._segments.closed))):
                (self._folder / segment.file).replace(self._name(self._first + number))
        except OSError as error:
            raise self._unwritten(error) from None
        self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if self._done or isinstance(error, InputError) or not self.kept():
                self._segments.remove()
            else:
                self._segments.leave()

    def _name(self, number: int) -> Path:
        return self.path.with_name(self.path.name % number)

    def _refuse_existing(self, number: int) -> None:
        name = self._name(number)
        if name.exists() and not self._overwrite and not self._are_ours:
            raise OutputError(f"{name} exists already; type --overwrite to replace it, or another -o")

    def _unwritten(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self.path}: {error.strerror or error}")
