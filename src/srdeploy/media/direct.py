"""Pictures into files; of large ones neither a second copy of the pixels nor the bytes of the file is held."""

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from srdeploy.errors import OutputError
from srdeploy.media import jpeg, tiff
from srdeploy.media.decode import XMP, reason
from srdeploy.media.encode import (
    Format,
    arrays,
    beside,
    coded,
    encode,
    for_opencv,
    format_of,
    parameters,
    sized_exif,
    tiff_tags,
    with_resolution,
    write_png,
)
from srdeploy.media.tiff import Bytes
from srdeploy.picture import Picture, Pixels
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage

LARGE = 3 << 26
"""Samples of a picture that OpenCV writes into its file itself."""

_DIRECT = frozenset({".jpg", ".tiff", ".bmp"})
_BAND_ROWS = 64
_HEAD = 64


def write_to(part: Path, path: Path, picture: Picture, borrow: bool = False) -> None:
    """Write the new file `part`, the bytes of `encode`, in the format that the suffix of `path` names.

    borrow: meanwhile the pixels may stand in another order; afterwards they are as before.
    Raises OutputError, and OSError for what the system refuses.
    """
    extension = format_of(path).extension
    is_large = picture.planes[0].size > LARGE and not (extension == ".jpg" and jpeg.is_long(picture.icc))
    # OpenCV on Windows opens only names of the code page.
    if is_large and extension in _DIRECT and (sys.platform != "win32" or str(part).isascii()):
        _by_opencv(part, path, picture, borrow)
        return
    with part.open("xb") as file:
        if extension == ".png":
            write_png(file, path, picture)
        else:
            file.write(encode(path, picture))


def tiff_page(path: Path, picture: Picture, at: int) -> tuple[list[Bytes], int]:
    """One page of a TIFF of several that will stand at `at` in the file: its bytes in pieces, the first of them eight
    with the place of the page's directory in the last four, and where that one's link to the next page stands.

    Meanwhile the pixels may stand in another order, as in write_to with borrow.
    """
    with _borrowed(picture, format_of(path)) as pixels:
        data = coded(path, ".tiff", pixels, {}).data.toreadonly()
    head, tail, link = tiff.tags_added(data, picture.exif, tiff_tags(picture), at)
    return [head, data[8:], tail], link


def _by_opencv(part: Path, path: Path, picture: Picture, borrow: bool) -> None:
    form = format_of(path)
    if borrow:
        with _borrowed(picture, form) as pixels:
            _write(part, path, picture, pixels)
    else:
        _write(part, path, picture, for_opencv(picture, form))
    with part.open("r+b") as file:
        _check_end(file, path, form.extension)
        file.seek(0)
        if form.extension != ".tiff":
            head = file.read(_HEAD)
            file.seek(0)
            file.write(with_resolution(head, form, picture))
            return
        exif = sized_exif(picture, (picture.width, picture.height))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            head, tail, _ = tiff.tags_added(data, exif, tiff_tags(picture))
        file.write(head)
        file.seek(0, 2)
        file.write(tail)


def _write(part: Path, path: Path, picture: Picture, pixels: Pixels) -> None:
    form, chatter = format_of(path), list[str]()
    blocks = beside(form, picture, sized_exif(picture, (picture.width, picture.height)))
    if form.extension == ".jpg" and XMP in blocks:
        blocks[XMP] = jpeg.XMP + blocks[XMP]  # OpenCV writes it as it is
    write: Any = cv2.imwriteWithMetadata  # typed for text, which not every name is; bytes are OpenCV's too
    try:
        with captured_stderr(chatter):
            done = write(os.fsencode(part), pixels, list(blocks), arrays(blocks), parameters(form.extension, pixels))
    except cv2.error as error:
        if is_shortage(error):
            raise
        raise OutputError(f"cannot write {path}: {reason([error.err or ''])}") from None
    if not done:
        raise _ends_early(path)


def _check_end(file: BinaryIO, path: Path, extension: str) -> None:
    """Raise OutputError for a file that a full disk has cut: OpenCV does not look whether its last bytes were taken.

    libtiff does.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - 2))
    end = file.read()
    file.seek(2)
    said = int.from_bytes(file.read(4), "little")
    if size == 0 or not {".jpg": end == b"\xff\xd9", ".bmp": said == size}.get(extension, True):
        raise _ends_early(path)


def _ends_early(path: Path) -> OutputError:
    return OutputError(f"cannot write {path}: the disk did not take all of it; make room, or type another -o")


@contextmanager
def _borrowed(picture: Picture, form: Format) -> Iterator[Pixels]:
    """`for_opencv`, of RGB without alpha in the picture's own memory where that can be; then it is as before."""
    rgb = picture.planes[0]
    is_plain = picture.layout == "rgb" and picture.alpha is None and picture.depth in (8, 16) and not picture.span
    if not (is_plain and rgb.flags.writeable and rgb.flags.c_contiguous):
        yield for_opencv(picture, form)
        return
    _swap(rgb)
    try:
        yield rgb
    finally:
        _swap(rgb)


def _swap(pixels: Pixels) -> None:
    """Exchange the first and the last channel, band by band."""
    for top in range(0, pixels.shape[0], _BAND_ROWS):
        band = pixels[top : top + _BAND_ROWS]
        band[...] = cv2.cvtColor(band, cv2.COLOR_RGB2BGR)
