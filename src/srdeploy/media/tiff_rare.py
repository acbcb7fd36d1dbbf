"""TIFFs that neither OpenCV nor Pillow reads rightly, by tifffile and imagecodecs: see tiff_layout."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.errors import InputError
from srdeploy.extras import require
from srdeploy.media import tiff
from srdeploy.media.tiff_layout import PALETTE, Layout
from srdeploy.picture import Pixels
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage


def samples(path: Path, data: bytes, page: int, directory: tiff.Directory, layout: Layout) -> Pixels:
    """The samples of a page as they are stored, unpacked: rows x columns x channels, of the file's type; a palette's
    already looked up, as 8 bits. Raises InputError when it is damaged or cut off, MissingExtra without libraries.
    """
    require("imagecodecs", "pictures")
    library: Any = require("tifffile", "pictures")
    _check_whole(path, data, directory, layout)
    with _guarded(path), library.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[page]
        stored = found.asarray(squeeze=False, maxworkers=1)
        table = found.colormap if layout.model == PALETTE else None
    if stored.ndim != 5:  # planes, one image, rows, columns, channels
        raise InputError(f"{path} is damaged or cut off (tiff: its pixels are {stored.shape}); fetch or make it again")
    pixels = np.moveaxis(stored[:, 0], 0, -1)[..., 0, :] if layout.separate else stored[0, 0]
    size = (tiff.numbers(directory, tiff.HEIGHT)[0], tiff.numbers(directory, tiff.WIDTH)[0])
    if pixels.shape != (*size, layout.samples):
        raise InputError(f"{path} is damaged or cut off (tiff: its pixels are {pixels.shape}); fetch or make it again")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if table is not None:
        if (table[0] == table[1]).all() and (table[1] == table[2]).all():
            table = table[:1]
        return np.ascontiguousarray(np.moveaxis((table >> 8).astype(np.uint8)[:, pixels[..., 0]], 0, -1))
    return np.ascontiguousarray(pixels)


def _check_whole(path: Path, data: bytes, directory: tiff.Directory, layout: Layout) -> None:
    """tifffile fills with zeros what is missing; here that is an error."""
    width, height = tiff.numbers(directory, tiff.WIDTH)[0], tiff.numbers(directory, tiff.HEIGHT)[0]
    if layout.tiled:
        places, lengths = tiff.numbers(directory, tiff.TILE_OFFSETS), tiff.numbers(directory, tiff.TILE_BYTES)
        across, down = (tiff.numbers(directory, tag)[:1] or (0,) for tag in (tiff.TILE_WIDTH, tiff.TILE_HEIGHT))
        parts = -(-width // max(1, *across)) * -(-height // max(1, *down))
    else:
        places, lengths = tiff.numbers(directory, tiff.STRIPS), tiff.numbers(directory, tiff.STRIP_BYTES)
        parts = -(-height // max(1, *(tiff.numbers(directory, tiff.STRIP_ROWS)[:1] or (height,))))
    parts *= layout.samples if layout.separate else 1
    whole = len(places) == len(lengths) == parts and all(lengths)
    if not whole or any(at + length > len(data) for at, length in zip(places, lengths, strict=True)):
        raise InputError(
            f"{path} is damaged or cut off (tiff: a part of its pixels is missing); fetch or make it again"
        )


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Whatever the libraries raise or complain of meanwhile is an InputError."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, listener = logging.getLogger("tifffile"), Listener(logging.ERROR)
    log.addHandler(listener)
    try:
        with captured_stderr(said):
            yield
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly everything on damaged files
        if is_shortage(error):
            raise
        said.append(str(error) or type(error).__name__)
    finally:
        log.removeHandler(listener)
    if said:
        what = " ".join(said[-1].split())[:120]
        raise InputError(f"{path} is damaged or cut off (tiff: {what}); fetch or make it again")
