"""Bicubic enlargement of one plane by a whole number, fast, and at the phase that chroma needs."""

from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from srdeploy.picture import Pixels
from srdeploy.resample import phases

_BAND_BYTES, _LEAST_BAND = 1 << 19, 8
"""Of float32 rows of the result's width at once, and how many rows at least."""

_LEFT = 1
_REACH = 2
"""Samples on each side that a bicubic one is made of."""

# Of FFmpeg's AVChromaLocation: where a chroma sample stands among its luma samples, down and across.
# -1 = on the first of them, 0 = in their middle, 1 = on the last.
_SITING = {1: (0, -1), 2: (0, 0), 3: (-1, -1), 4: (-1, 0), 5: (1, -1), 6: (1, 0)}


def chroma_siting(subsampling: tuple[int, int], location: int | None) -> tuple[float, float]:
    """How far chroma samples stand from the middle of their luma samples, in chroma samples: (down, across).

    subsampling: (sub_h, sub_v) as in Picture. location: FFmpeg's AVChromaLocation; None is read as left, which is
    what H.264 and H.265 say of a stream without it (ITU-T H.264, E.2.1). -0.25 for 4:2:0 across at left.
    """
    across, down = subsampling
    vertical, horizontal = _SITING.get(location or _LEFT, _SITING[_LEFT])
    return vertical * 0.5 * (1 - 1 / down), horizontal * 0.5 * (1 - 1 / across)


def chroma_offset(subsampling: tuple[int, int], location: int | None, scale: int) -> tuple[float, float]:
    """The `offset` of enlarge_plane with which enlarged chroma has the same siting at the new size: (down, across).

    Chroma sample k of the result that stands on luma sample 2k needs the input's chroma at k/s + 0.25/s - 0.25,
    where centred resampling would take (k + 0.5)/s - 0.5: the offset is 0.25 - 0.25/s.
    """
    down, across = chroma_siting(subsampling, location)
    return -down * (1 - 1 / scale), -across * (1 - 1 / scale)


def enlarge_plane(
    plane: Pixels,
    scale: int,
    offset: tuple[float, float] = (0.0, 0.0),
    peak: int = 255,
    a: float = -0.5,
) -> Pixels:
    """Enlarge (H, W) uint8 or uint16 to (scale * H, scale * W) of the same dtype by bicubic (Keys 1981).

    Output sample k is taken at input coordinate (k + 0.5)/scale - 0.5 + offset; offset (down, across) is in input
    samples, -0.5 .. 0.5. Borders are replicated, values rounded to the nearest and clipped to 0 .. peak.
    Raises ValueError for another dtype, another number of axes, or an offset too large.
    """
    return enlarge_axes(plane, (scale, scale), offset, peak, a)


def enlarge_part(plane: Pixels, part: tuple[slice, slice], scale: int, peak: int = 255) -> Pixels:
    """What `enlarge_plane(plane, scale, peak=peak)` has for a part of the plane (rows, columns), from the few samples
    that it needs. A few of 16 bits are one level off: OpenCV adds the last columns of what it gets in another order.
    """
    read, kept = [], []
    for side, length in zip(part, plane.shape, strict=True):
        first, last = max(side.start - _REACH, 0), min(side.stop + _REACH, length)
        read.append(slice(first, last))
        kept.append(slice((side.start - first) * scale, (side.stop - first) * scale))
    return enlarge_plane(plane[tuple(read)], scale, peak=peak)[tuple(kept)]


def enlarge_axes(
    plane: Pixels, scales: tuple[int, int], offset: tuple[float, float], peak: int, a: float = -0.5
) -> Pixels:
    """`enlarge_plane` with a scale for each axis, (down, across)."""
    if plane.ndim != 2 or plane.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a plane of shape {plane.shape} and {plane.dtype}; (H, W) of uint8 or uint16 is enlarged")
    height, width = plane.shape
    down, across = scales
    rows = [kernel[:, None] for kernel in _kernels(down, offset[0], a)]
    columns = [kernel[None] for kernel in _kernels(across, offset[1], a)]
    result = np.empty((height, down, width * across), plane.dtype)
    # At a whole scale every output sample has one of few kernels on each axis: rows are made longer by those of one
    # axis, interleaved, and then filtered by those of the other. In bands, which stay in a core's cache.
    step = max(_LEAST_BAND, _BAND_BYTES // (4 * width * across))
    for first in range(0, height, step):
        last = min(first + step, height)
        above, below = max(first - _REACH, 0), min(last + _REACH, height)
        parts = [_filtered(plane[above:below], column) for column in columns]
        wide = (cv2.merge(parts) if across > 1 else parts[0]).reshape(below - above, width * across)
        for p in range(down):
            band = _filtered(wide, rows[p])[first - above : last - above]
            # A sum with nothing rounds to the nearest and saturates, into its place.
            cv2.addWeighted(band, 1, band, 0, 0, dst=result[first:last, p], dtype=depth_code(plane.dtype))
    return clipped(result.reshape(height * down, width * across), peak)


def depth_code(dtype: np.dtype[Any]) -> int:
    """OpenCV's name of uint8 or uint16."""
    return cv2.CV_8U if dtype == np.uint8 else cv2.CV_16U


def clipped(pixels: Pixels, peak: int) -> Pixels:
    """The same array, with nothing in it above `peak`."""
    if peak < np.iinfo(pixels.dtype).max:
        np.minimum(pixels, peak, out=pixels)
    return pixels


@lru_cache(64)
def _kernels(scale: int, offset: float, a: float) -> npt.NDArray[np.float32]:
    # Asked for by every part of every picture: they are made once.
    return phases(scale, offset, a).astype(np.float32)


def _filtered(plane: npt.NDArray[Any], kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # Of one axis alone: cv2.sepFilter2D, which takes both, takes several times as long for kernels without symmetry.
    filtered: Any = cv2.filter2D(plane, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
    return cast(npt.NDArray[np.float32], filtered)
