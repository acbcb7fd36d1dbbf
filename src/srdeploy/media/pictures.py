"""Pictures in files: read whole and upright, written whole or not at all."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from srdeploy.atomic import atomic
from srdeploy.errors import InputError, OutputError
from srdeploy.given import path_of, whole
from srdeploy.media.base import MAX_PIXELS, Finishing, check_place, part_path
from srdeploy.media.decode import decode, page_count
from srdeploy.media.direct import tiff_page, write_to
from srdeploy.media.encode import format_of, lost, takes_icc
from srdeploy.media.kinds import read_bytes
from srdeploy.media.tiff import MOST_PAGES
from srdeploy.picture import Frame, Picture, Pixels, check_picture, picture_of
from srdeploy.shortage import shortage_said


def read_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one picture, upright: layout "rgb" or "gray", uint8 or uint16, with alpha, ICC, EXIF, XMP and dpi beside it.

    The kind is told by the content. EXIF's orientation is applied and then reset. Of a TIFF of several pages the first
    is read. CMYK and Lab become sRGB by their profile; floats become 16 bits, with their range as the picture's span.
    Raises InputError when the file is missing, empty, damaged, cut off, of another kind, or claims more than
    `max_pixels`; MissingExtra for HEIF and JPEG XL without their libraries; TypeError for a path that is none.
    """
    path = path_of("path", path)
    if whole("max_pixels", max_pixels) < 1:
        raise InputError(f"max_pixels {max_pixels} lets no picture through; give 1 or more")
    return decode(path, read_bytes(path, max_pixels), max_pixels, [])


def write_picture(path: Path | str, picture: Picture | Frame | Pixels) -> None:
    """Write a picture of layout "rgb" or "gray" in the format that the suffix of `path` names; whole or not at all.

    A Frame and an array of uint8 or uint16, (H, W) or (H, W, 3) RGB, are taken too. What is at `path` is replaced.
    JPEG at quality 95 without chroma subsampling, WebP lossless, TIFF with Deflate. Raises InputError for what is no
    picture, OutputError as check_picture_target does, and when the disk does not take it, OutOfMemory, and TypeError
    for a path that is none. The pixels stay as they are meanwhile, so that several threads may write one picture.
    """
    path = path_of("path", path)
    if isinstance(picture, np.ndarray):
        picture = picture_of(picture)
    if isinstance(picture, Frame):
        picture = picture.picture
    check_picture(picture, "write_picture")
    check_picture_target(path, picture.width, picture.height, picture)
    with atomic(path) as part, shortage_said(f"to write {path}"):
        write_to(part, path, picture)


def check_picture_target(path: Path, width: int, height: int, picture: Picture) -> None:
    """Raise OutputError when `path` cannot hold `width` x `height` pixels like those of `picture`. Computes nothing."""
    target = format_of(path)
    instead = f"type: -o {path.with_suffix('.png').name}"
    if max(width, height) > target.largest:
        raise OutputError(
            f"{path.suffix} ends at {target.largest} pixels a side and the result has {width}x{height}; {instead}"
        )
    if picture.depth > 8 and not target.deep:
        raise OutputError(f"{path.suffix} holds 8 bits and the picture has {picture.depth}; {instead}")
    if picture.alpha is not None and not target.alpha:
        raise OutputError(f"{path.suffix} holds no alpha and the picture has it; {instead}")
    if picture.layout == "yuv":
        raise OutputError(f"{path.suffix} holds no YUV planes; convert the picture to RGB first")
    check_place(path)


class PictureReader:
    """The picture of a file, or each page of a TIFF, as a stream; see base.Reader. The first is decoded on opening."""

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        self._data = read_bytes(path, max_pixels)
        self._max_pixels = max_pixels
        self.path = path
        self.notes: list[str] = []
        self.picture = decode(path, self._data, max_pixels, self.notes)
        self.pages = page_count(self._data)
        if self.pages > MOST_PAGES:
            raise InputError(f"{path} has more than {MOST_PAGES} pages; split it first: tiffsplit {path.name}")
        self.frames: int | None = self.pages
        self.width, self.height, self.depth = self.picture.width, self.picture.height, self.picture.depth

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self.picture, key=True)
        for page in range(1, self.pages):
            try:
                yield Frame(decode(self.path, self._data, self._max_pixels, self.notes, page), pts=page, key=True)
            except InputError as error:
                raise InputError(f"page {page + 1} of {self.pages}: {error}") from None

    def close(self) -> None:
        """Let go of the file's bytes."""
        self._data = b""


class PictureWriter(Finishing):
    """Takes the one frame of a picture, or each page of a TIFF; see base.Writer.

    Refuses on opening what its format cannot hold. A page is written when it comes, so that one at a time is held.
    """

    def __init__(self, path: Path, like: PictureReader, width: int, height: int) -> None:
        if like.pages > 1 and not format_of(path).pages:
            raise OutputError(
                f"{like.path} has {like.pages} pages and {path.suffix} holds one; type: -o {path.with_suffix('.tif')}"
            )
        check_picture_target(path, width, height, like.picture)
        self.path = path
        self._done = False
        self._keeps_icc = takes_icc(path, like.picture)
        self.notes = lost(path, like.picture)
        if not self._keeps_icc:
            self.notes.append(f"{path.name}: the ICC profile is damaged or of another colour space, and is not kept")
        self._pages = like.pages
        self._size = (width, height)
        self._taken = 0
        self._part = part_path(path)
        self._file: BinaryIO | None = None
        self._link = 4  # where the place of the next page's directory is to be written

    def write(self, frame: Frame) -> None:
        """Take a frame. Raises ValueError for more frames than there are pages, or a first one of another size."""
        picture = frame.picture if self._keeps_icc else replace(frame.picture, icc=None)
        if self._taken == self._pages:
            raise ValueError(f"a file of {self._pages} pictures takes no more frames")
        if self._taken == 0 and (picture.width, picture.height) != self._size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} for a picture of {self._size}")
        try:
            with shortage_said(f"to write {self.path}"):
                self._write(picture)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._taken += 1

    def _write(self, picture: Picture) -> None:
        if self._pages == 1:
            write_to(self._part, self.path, picture, borrow=True)
        else:
            self._file = self._file or self._part.open("xb")
            self._write_page(self._file, picture)

    def _write_page(self, file: BinaryIO, picture: Picture) -> None:
        check_picture_target(self.path, picture.width, picture.height, picture)
        at = file.tell() + file.tell() % 2
        pieces, link = tiff_page(self.path, picture, at)
        if at + sum(map(len, pieces)) >= 1 << 32:
            raise OutputError(f"{self.path} would have more than the 4 GB of a TIFF; enlarge its pages one by one")
        file.seek(at)
        file.writelines(pieces)
        if at:
            file.seek(self._link)
            file.write(pieces[0][4:])
            file.seek(0, 2)
        self._link = link

    def finish(self) -> None:
        """Give the file its name, if that is not done yet. Raises OutputError when pictures are missing."""
        if self._done:
            return
        if self._taken < self._pages:
            held = f"{self._taken} of {self._pages} pictures"
            raise OutputError(f"{self.path} would hold {held} and is not kept")
        try:
            if self._file is not None:
                self._file.close()
            self._part.replace(self.path)
        except OSError as refused:
            raise OutputError(f"cannot write {self.path}: {refused.strerror or refused}") from None
        self._done = True

    def leave(self) -> None:
        """See base.Finishing."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._part.unlink(missing_ok=True)
