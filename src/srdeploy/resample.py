"""Bicubic resampling: Keys' kernel, its fixed phases for whole-number enlargement, and MATLAB's imresize.

R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29(6), 1981.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_BAND = 64


def cubic(x: npt.ArrayLike, a: float = -0.5) -> Float64:
    """Keys' cubic convolution kernel at distances `x` (any shape, in samples); zero beyond 2.

    a = -0.5 is Keys' own value, and MATLAB's; a = -0.75 is what OpenCV and PyTorch use.
    """
    distance = np.abs(np.asarray(x, dtype=np.float64))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def phases(scale: int, offset: float = 0.0, a: float = -0.5) -> Float64:
    """The taps of bicubic enlargement by a whole number: float64 (scale, 5), every row summing to 1.

    Row p makes output sample scale * i + p, whose input coordinate is (scale * i + p + 0.5) / scale - 0.5 + offset,
    from the input samples i - 2 .. i + 2. `offset` is in input samples, -0.5 .. 0.5; 0 aligns the outer edges of
    both pictures (align_corners = False).

    Raises ValueError when scale is below 1, or the offset is so large that five taps would not hold the kernel.
    """
    if scale < 1:
        raise ValueError(f"scale {scale} is below 1")
    position = (np.arange(scale) + 0.5) / scale - 0.5 + offset
    # The kernel reaches 2 to both sides of `position`, the taps 2 to both sides of i; at |position| = 1 the outermost
    # weight is zero.
    if np.abs(position).max() > 1:
        raise ValueError(f"offset {offset} at scale {scale} needs more than five taps; it must be within -0.5 .. 0.5")
    return cubic(position[:, None] - np.arange(-2, 3)[None, :], a)


def imresize(pixels: npt.NDArray[Any], height: int, width: int, a: float = -0.5) -> Float64:
    """MATLAB's imresize(pixels, [height width], "bicubic"), unrounded and unclipped.

    pixels: (H, W) or (H, W, C) of any real dtype; the result is float64 (height, width[, C]) on the same scale of
    values. When reducing, the kernel is widened by the factor (antialiasing); borders are mirrored with the edge
    sample repeated. As in MATLAB the axis that shrinks most goes first.

    Raises ValueError for another number of axes or an empty picture.
    """
    if pixels.ndim not in (2, 3) or pixels.size == 0 or height < 1 or width < 1:
        raise ValueError(f"cannot resize an array of shape {pixels.shape} to {height} x {width}")
    sizes = {0: height, 1: width}
    result = pixels
    for axis in sorted(sizes, key=lambda axis: sizes[axis] / pixels.shape[axis]):
        result = _resize_axis(result, axis, sizes[axis], a)
    return result.astype(np.float64, copy=False)


def imresize_uint8(pixels: npt.NDArray[np.uint8], height: int, width: int, a: float = -0.5) -> npt.NDArray[np.uint8]:
    """`imresize` of uint8 pixels, rounded half up and clipped to uint8: what MATLAB gives for a uint8 picture."""
    resized = imresize(pixels, height, width, a)
    return np.clip(np.floor(resized + 0.5), 0, 255).astype(np.uint8)


def modcrop(pixels: npt.NDArray[Any], multiple: int) -> npt.NDArray[Any]:
    """A view of the largest part of (H, W[, C]) from the top left whose sides are multiples of `multiple`."""
    height, width = pixels.shape[:2]
    return pixels[: height - height % multiple, : width - width % multiple]


def middle(pixels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """The middle height x width of an array (H, W, C), contiguous; one that is too small is mirrored until it fits."""
    grown = [
        (0, max(0, -(-need // side) - 1) * side) for need, side in zip((height, width), pixels.shape, strict=False)
    ]
    if any(after for _, after in grown):
        pixels = np.pad(pixels, [*grown, (0, 0)], mode="symmetric")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _resize_axis(pixels: npt.NDArray[Any], axis: int, size: int, a: float) -> npt.NDArray[Any]:
    if pixels.shape[axis] == size:
        return pixels
    indices, weights = _contributions(pixels.shape[axis], size, a)
    along = [1] * pixels.ndim
    along[axis] = size
    shape = list(pixels.shape)
    shape[axis] = size
    result = np.zeros(shape)
    term = np.empty(shape)
    for index, weight in zip(indices.T, weights.T, strict=True):
        np.multiply(pixels.take(index, axis), weight.reshape(along), out=term)
        result += term
    return result


def reduce_plane(
    plane: npt.NDArray[Any], height: int, width: int, peak: int, offset: tuple[float, float] = (0.0, 0.0)
) -> npt.NDArray[Any]:
    """`imresize` of (H, W) or (H, W, C) integers to the same dtype, rounded and clipped to 0 .. peak, fast.

    It computes in float32 and in bands of 64 rows, so that memory grows by one band. offset: how far, in input samples
    (down, across), every output sample is taken from its centred place; chroma that stands beside its luma needs it.
    Differs from imresize of the same by at most one level, where rounding is near a half.
    """
    columns, across = _contributions(plane.shape[1], width, -0.5, offset[1])
    rows, down = _contributions(plane.shape[0], height, -0.5, offset[0])
    result = np.empty((height, width, *plane.shape[2:]), plane.dtype)
    for top in range(0, height, _BAND):
        band = slice(top, min(top + _BAND, height))
        first, matrix = _matrix(rows[band], down[band])
        source = plane[first : first + matrix.shape[1]].astype(np.float32)
        reduced = np.tensordot(matrix, source, 1)
        for left in range(0, width, _BAND):
            part = slice(left, min(left + _BAND, width))
            start, weights = _matrix(columns[part], across[part])
            piece = np.moveaxis(reduced[:, start : start + weights.shape[1]], 1, -1) @ weights.T
            np.clip(np.rint(np.moveaxis(piece, -1, 1)), 0, peak, out=result[band, part], casting="unsafe")
    return result


def _matrix(indices: npt.NDArray[np.intp], weights: Float64) -> tuple[int, npt.NDArray[np.float32]]:
    """Contributions as the first input sample that they need and a matrix over those from it on."""
    first = int(indices.min())
    matrix = np.zeros((len(indices), int(indices.max()) - first + 1), np.float32)
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices - first), weights.astype(np.float32))
    return first, matrix


def _contributions(length: int, size: int, a: float, offset: float = 0.0) -> tuple[npt.NDArray[np.intp], Float64]:
    """For each of `size` results, the input samples (size, taps) that it is made of, and their weights."""
    ratio = size / length
    shrink = min(ratio, 1.0)
    support = 4 / shrink
    centre = (np.arange(size) + 0.5) / ratio - 0.5 + offset
    first = np.floor(centre - support / 2).astype(np.intp)
    indices = first[:, None] + np.arange(int(np.ceil(support)) + 2)
    weights = cubic(shrink * (centre[:, None] - indices), a)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    indices, weights = indices[:, used], weights[:, used]
    mirrored = indices % (2 * length)
    return np.minimum(mirrored, 2 * length - 1 - mirrored), weights
