"""A video as numbered pictures."""

import shutil
from pathlib import Path

import numpy as np

from srdeploy.errors import OutputError
from srdeploy.media.base import Finishing, check_place, work_folder
from srdeploy.media.colour import rgb_from_yuv
from srdeploy.media.pictures import check_picture_target, write_picture
from srdeploy.picture import Frame, Picture


class SequenceWriter(Finishing):
    """Frames as pictures, numbered from `first` on, which get their names when all of them are there; see base.Writer.

    Pictures have no times and no sound. Raises OutputError when one of them exists or their format cannot hold them.
    """

    def __init__(self, path: Path, width: int, height: int, depth: int, first: int, overwrite: bool) -> None:
        self.path = path
        self.notes = ["numbered pictures have neither times nor sound"]
        self._count, self._first, self._done = 0, first, False
        self._overwrite, self._size = overwrite, (width, height)
        check_place(self._name(first))
        kind = "u1" if depth == 8 else "u2"
        probe = Picture("rgb", (np.zeros((1, 1, 3), kind),), depth)
        check_picture_target(self._name(first), width, height, probe)
        self._refuse_existing(first)
        self._folder = work_folder(path)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()

    def write(self, frame: Frame) -> None:
        """Write one picture, of the writer's size."""
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} for pictures of {self._size}")
        if picture.layout == "yuv":
            picture = Picture("rgb", (rgb_from_yuv(picture),), picture.depth)
        self._refuse_existing(self._first + self._count)
        name = self._folder / self._name(self._first + self._count).name
        write_picture(name, picture)
        self.size += name.stat().st_size
        self._count += 1

    def keep_partial(self) -> Path | None:
        """Give those that are there their names."""
        if not self._count:
            return None
        self.finish()
        return self.path

    def finish(self) -> None:
        """Give all their names."""
        if self._done:
            return
        for number in range(self._first, self._first + self._count):
            name = self._name(number)
            (self._folder / name.name).replace(name)
        self._done = True

    def leave(self) -> None:
        """See base.Finishing."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self, number: int) -> Path:
        return self.path.with_name(self.path.name % number)

    def _refuse_existing(self, number: int) -> None:
        name = self._name(number)
        if name.exists() and not self._overwrite:
            raise OutputError(f"{name} exists already; type --overwrite to replace it, or another -o")
