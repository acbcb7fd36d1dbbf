"""Between RGB and Y'CbCr, with the matrix, range, depth and chroma siting that a source's tags name.

ITU-T H.273 gives the formulas: E'Y = Kr R + (1 - Kr - Kb) G + Kb B, E'Pb = (B - Y) / (2 (1 - Kb)), E'Pr = (R - Y) /
(2 (1 - Kr)); BT.601, BT.709 and BT.2020 the constants; JFIF 1.02 is BT.601 at full range.
"""

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError
from srdeploy.media.enlarge import chroma_siting, clipped, depth_code, enlarge_axes
from srdeploy.picture import ColorTags, Picture, Pixels

BT709 = 1
BT601 = 6

Float32 = npt.NDArray[np.float32]

# Kr and Kb by H.273's MatrixCoefficients.
_CONSTANTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


def assumed_matrix(matrix: int | None, height: int) -> int:
    """The matrix code itself, or where it is None what players assume: BT.601 below 720 lines, else BT.709."""
    if matrix is not None:
        return matrix
    return BT601 if height < 720 else BT709


def ycbcr_from_rgb(rgb: Pixels, peak: int = 255) -> tuple[Pixels, Pixels, Pixels]:
    """(H, W, 3) RGB to full-range BT.601 (JFIF) planes y, cb, cr, each (H, W), of the same dtype, 0 .. peak."""
    planes = _forward(rgb, BT601, full=True, peak=peak)
    y, cb, cr = cv2.split(_rounded(planes, rgb.dtype, peak))
    return y, cb, cr


def rgb_from_ycbcr(y: Pixels, cb: Pixels, cr: Pixels, peak: int = 255) -> Pixels:
    """Full-range BT.601 (JFIF) planes, each (H, W), to (H, W, 3) RGB of the same dtype, 0 .. peak."""
    return _backward((y, cb, cr), BT601, full=True, peak=peak)


def rgb_from_yuv(picture: Picture) -> Pixels:
    """The RGB pixels (H, W, 3) of a picture of layout "yuv", full range, of its dtype and depth.

    Matrix, range and chroma location are those of its tags: an unknown matrix is BT.601 below 720 lines and BT.709
    from there on, an unknown range is limited, an unknown location is left; chroma is enlarged by bicubic.
    Raises InputError for a matrix that is no such formula (ICtCp, YCgCo, RGB in planes called YUV).
    """
    luma = picture.planes[0]
    across, down = picture.subsampling
    chroma = picture.planes[1:]
    if (across, down) != (1, 1):
        sited = chroma_siting(picture.subsampling, picture.color.chroma_location)
        # A luma sample's middle, seen from chroma samples that stand `sited` away from the middle of theirs.
        offset = -sited[0], -sited[1]
        height, width = luma.shape
        chroma = tuple(enlarge_axes(c, (down, across), offset, picture.peak)[:height, :width] for c in chroma)
    matrix = assumed_matrix(picture.color.matrix, picture.height)
    return _backward((luma, *chroma), matrix, full=bool(picture.color.full_range), peak=picture.peak)


def yuv_from_rgb(rgb: Pixels, like: Picture) -> Picture:
    """A picture of layout "yuv" from (H, W, 3) RGB: matrix, range, depth, subsampling and siting are those of `like`.

    Its size may differ from that of `like`, by whose height an unknown matrix is assumed.
    """
    full = bool(like.color.full_range)
    matrix = assumed_matrix(like.color.matrix, like.height)
    y, cb, cr = (cast(Float32, plane) for plane in cv2.split(_forward(rgb, matrix, full=full, peak=like.peak)))
    chroma = (_reduced(c, like.subsampling, like.color.chroma_location) for c in (cb, cr))
    planes = tuple(_rounded(plane, rgb.dtype, like.peak) for plane in (y, *chroma))
    return replace(like, layout="yuv", planes=planes)


def rgb_to_yuv(picture: Picture, color: ColorTags, subsampling: tuple[int, int]) -> Picture:
    """A picture of layout "rgb" as "yuv" with the tags and subsampling given."""
    like = replace(picture, color=color, subsampling=subsampling)
    return yuv_from_rgb(picture.planes[0], like)


def gray_to_yuv(picture: Picture, subsampling: tuple[int, int]) -> Picture:
    """A picture of layout "gray" as "yuv" with chroma that says no colour; its luma stays as it is."""
    across, down = subsampling
    size = -(-picture.height // down), -(-picture.width // across)
    neutral = np.full(size, 1 << (picture.depth - 1), picture.dtype)
    return replace(picture, layout="yuv", planes=(picture.planes[0], neutral, neutral), subsampling=subsampling)


def _forward(rgb: Pixels, matrix: int, *, full: bool, peak: int) -> Float32:
    """RGB to float32 (H, W, 3) of Y, Cb, Cr in code values, neither rounded nor clipped."""
    formula = _formula(matrix, full=full, peak=peak)
    return _transformed(rgb, formula)


def _backward(planes: tuple[Pixels, ...], matrix: int, *, full: bool, peak: int) -> Pixels:
    """Y, Cb, Cr in code values, each (H, W), to (H, W, 3) RGB.

    Red has no Cb in it and blue no Cr, so each is one pass over two planes, which OpenCV sums in float32 and rounds to
    the nearest. A transform of all three in float32, and rounding that, takes several times as long.
    """
    y, cb, cr = planes
    code = depth_code(y.dtype)
    (r_y, _, r_cr, r), (g_y, g_cb, g_cr, g), (b_y, b_cb, _, b) = np.linalg.inv(
        np.vstack((_formula(matrix, full=full, peak=peak), (0, 0, 0, 1)))
    )[:3]
    chroma = cv2.addWeighted(cb, g_cb, cr, g_cr, g, dtype=cv2.CV_32F)
    green = cv2.addWeighted(y.astype(np.float32), g_y, chroma, 1, 0, dtype=code)
    rgb = cv2.merge((cv2.addWeighted(y, r_y, cr, r_cr, r), green, cv2.addWeighted(y, b_y, cb, b_cb, b)))
    return clipped(cast(Pixels, rgb), peak)


def _transformed(pixels: Pixels, formula: npt.NDArray[np.float64]) -> Float32:
    # On integers cv2.transform works in fixed point with few bits; on float32 it is exact to well below a level.
    return cast(Float32, cv2.transform(pixels.astype(np.float32), formula))


def _formula(matrix: int, *, full: bool, peak: int) -> npt.NDArray[np.float64]:
    """The 3x4 matrix from RGB code values (0 .. peak) to Y, Cb, Cr code values (H.273, equations 38 to 43)."""
    if matrix not in _CONSTANTS:
        raise InputError(
            f"colour matrix {matrix} (ITU-T H.273) is not computed here; convert the source to BT.709 with ffmpeg first"
        )
    kr, kb = _CONSTANTS[matrix]
    y = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0, 0, 1]) - y) / (2 * (1 - kb))
    red = (np.array([1, 0, 0]) - y) / (2 * (1 - kr))
    unit = (peak + 1) / 256  # one level of 8 bits
    luma, chroma, black = (peak, peak, 0.0) if full else (219 * unit, 224 * unit, 16 * unit)
    rows = np.vstack((y * luma, blue * chroma, red * chroma)) / peak
    return np.column_stack((rows, (black, 128 * unit, 128 * unit)))


def _rounded(values: Float32, dtype: npt.DTypeLike, peak: int) -> Pixels:
    """Rounded to the nearest and clipped to 0 .. peak."""
    # A sum rounds and saturates in one pass, in a third of the time of a product with 1.
    return clipped(cast(Pixels, cv2.addWeighted(values, 1, values, 0, 0, dtype=depth_code(np.dtype(dtype)))), peak)


def _reduced(plane: Float32, subsampling: tuple[int, int], location: int | None) -> Float32:
    """Chroma reduced to its subsampling and siting: the mean of two samples, or 1 2 1 around the one it stands on."""
    across, down = subsampling
    sited = chroma_siting(subsampling, location)
    for axis, step, site in ((0, down, sited[0]), (1, across, sited[1])):
        if step == 1:
            continue
        kernel = np.array([0, 1, 1] if site == 0 else [1, 2, 1], np.float32)
        kernel /= kernel.sum()
        one = np.ones(1, np.float32)
        x, y = (one, kernel) if axis == 0 else (kernel, one)
        plane = cast(Float32, cv2.sepFilter2D(plane, -1, x, y, borderType=cv2.BORDER_REPLICATE))
        first = 1 if site > 0 else 0
        kept = plane.take(range(first, plane.shape[axis], step), axis)
        if kept.shape[axis] < -(-plane.shape[axis] // step):
            kept = np.concatenate((kept, plane.take([-1], axis)), axis)
        plane = np.ascontiguousarray(kept)
    return plane
