"""Colour conversions against the textbook formulas in float64, and against swscale."""

from typing import Any

import numpy as np
import pytest

from srdeploy.errors import InputError
from srdeploy.media.colour import (
    assumed_matrix,
    gray_to_yuv,
    rgb_from_ycbcr,
    rgb_from_yuv,
    rgb_to_yuv,
    ycbcr_from_rgb,
    yuv_from_rgb,
)
from srdeploy.picture import ColorTags, Picture

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def noise(peak: int = 255, shape: tuple[int, ...] = (24, 34, 3)) -> Any:
    return np.random.default_rng(7).integers(0, peak + 1, shape).astype(np.uint8 if peak == 255 else np.uint16)


@pytest.mark.parametrize("peak", [255, 1023, 65535])
def test_jfif_equals_its_formula(peak: int) -> None:
    rgb = noise(peak)
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    middle = (peak + 1) / 2
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = (y, (blue - y) / 1.772 + middle, (red - y) / 1.402 + middle)
    for plane, wanted in zip(ycbcr_from_rgb(rgb, peak), expected, strict=True):
        assert plane.dtype == rgb.dtype
        assert np.abs(plane - np.clip(wanted, 0, peak)).max() <= 0.5 + peak * 1e-6


@pytest.mark.parametrize("peak", [255, 1023])
def test_jfif_there_and_back_is_within_a_level(peak: int) -> None:
    rgb = noise(peak)
    assert np.abs(rgb_from_ycbcr(*ycbcr_from_rgb(rgb, peak), peak).astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("matrix", sorted(KR_KB))
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_yuv_equals_its_formula(matrix: int, full: bool, depth: int) -> None:
    """Decode random in-gamut 4:4:4 by hand and compare: H.273 equations, no OpenCV."""
    kr, kb = KR_KB[matrix]
    peak, unit = (1 << depth) - 1, 1 << (depth - 8)
    rgb = noise(peak).astype(np.float64) / peak
    luma = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    pb, pr = (rgb[..., 2] - luma) / (2 - 2 * kb), (rgb[..., 0] - luma) / (2 - 2 * kr)
    if full:
        codes = (luma * peak, pb * peak + 128 * unit, pr * peak + 128 * unit)
    else:
        codes = ((219 * luma + 16) * unit, (224 * pb + 128) * unit, (224 * pr + 128) * unit)
    dtype = np.uint8 if depth == 8 else np.uint16
    planes = tuple(np.clip(np.rint(code), 0, peak).astype(dtype) for code in codes)
    tags = ColorTags(matrix=matrix, full_range=full)
    picture = Picture("yuv", planes, depth, (1, 1), tags)
    assert np.abs(rgb_from_yuv(picture) - rgb * peak).max() <= 2
    back = yuv_from_rgb(np.rint(rgb * peak).astype(dtype), picture)
    for plane, code in zip(back.planes, codes, strict=True):
        assert np.abs(plane - np.clip(code, 0, peak)).max() <= 0.51
    assert (back.color, back.depth, back.subsampling) == (tags, depth, (1, 1))


def test_unknown_matrix_goes_by_height() -> None:
    assert assumed_matrix(None, 719) == 6
    assert assumed_matrix(None, 720) == 1
    assert assumed_matrix(9, 100) == 9
    for height, matrix in ((64, 6), (720, 1)):
        planes = tuple(np.full((height, 16), value, np.uint8) for value in (100, 90, 200))
        unknown, known = (Picture("yuv", planes, color=ColorTags(matrix=m)) for m in (None, matrix))
        assert np.array_equal(rgb_from_yuv(unknown), rgb_from_yuv(known))


@pytest.mark.parametrize("location", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("size", [(16, 24), (15, 23)])
@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1)])
def test_chroma_is_where_its_tags_say(
    location: int | None, size: tuple[int, int], subsampling: tuple[int, int]
) -> None:
    """A smooth ramp survives RGB -> subsampled -> RGB; a wrong siting would shift it by half a pixel."""
    height, width = size
    down, across = np.mgrid[0:height, 0:width]
    rgb = np.dstack((across * 6 + 40, 100 + 0 * across, 220 - down * 8)).astype(np.uint8)
    tags = ColorTags(1, 1, 1, False, location)
    yuv = rgb_to_yuv(Picture("rgb", (rgb,)), tags, subsampling)
    assert yuv.planes[1].shape == (-(-height // subsampling[1]), -(-width // subsampling[0]))
    back = rgb_from_yuv(yuv)
    assert np.abs(back.astype(int) - rgb)[3:-3, 3:-3].max() <= 3


def test_result_may_be_larger_than_the_picture_it_is_like() -> None:
    small = Picture(
        "yuv", tuple(np.full(s, 128, np.uint8) for s in ((10, 14), (5, 7), (5, 7))), 8, (2, 2), ColorTags(1)
    )
    big = yuv_from_rgb(noise(shape=(40, 56, 3)), small)
    assert [p.shape for p in big.planes] == [(40, 56), (20, 28), (20, 28)]


def test_gray_gets_chroma_without_colour() -> None:
    gray = Picture("gray", (noise(1023, (5, 7)),), 10)
    yuv = gray_to_yuv(gray, (2, 2))
    assert [p.shape for p in yuv.planes] == [(5, 7), (3, 4), (3, 4)]
    assert (yuv.planes[1] == 512).all()
    assert yuv.planes[1].dtype == np.uint16


def test_matrix_without_a_formula_is_refused() -> None:
    picture = Picture("yuv", (np.zeros((4, 4), np.uint8),) * 3, color=ColorTags(matrix=14))
    with pytest.raises(InputError, match="matrix 14"):
        rgb_from_yuv(picture)


def test_swscale_agrees() -> None:
    """FFmpeg's own converter, with every accuracy flag, on flat fields (its chroma filter is another one)."""
    av = pytest.importorskip("av")
    for matrix, name in ((1, "itu709"), (6, "itu601")):
        frame = av.VideoFrame(32, 32, "yuv444p")
        values = (120, 90, 170)
        for plane, value in zip(frame.planes, values, strict=True):
            np.frombuffer(plane, np.uint8)[:] = value
        theirs = frame.reformat(format="rgb24", src_colorspace=name).to_ndarray()[16, 16].astype(int)
        planes = tuple(np.full((32, 32), value, np.uint8) for value in values)
        ours = rgb_from_yuv(Picture("yuv", planes, color=ColorTags(matrix=matrix, full_range=False)))[16, 16]
        assert np.abs(ours - theirs).max() <= 1
