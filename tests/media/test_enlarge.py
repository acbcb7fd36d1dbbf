"""Bicubic enlargement of planes against a dense matrix in float64."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srdeploy.media.enlarge import chroma_offset, chroma_siting, enlarge_axes, enlarge_part, enlarge_plane

LEFT, CENTER, TOPLEFT, TOP, BOTTOMLEFT, BOTTOM = range(1, 7)


def keys(x: npt.NDArray[Any], a: float = -0.5) -> npt.NDArray[Any]:
    """Keys' kernel, written out once more and independently of the code under test."""
    x = np.abs(x)
    return np.where(
        x < 1,
        (a + 2) * x**3 - (a + 3) * x**2 + 1,
        np.where(x < 2, a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a, 0),
    )


def matrix(length: int, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights (positions, length) of cubic interpolation with replicated borders."""
    taps = np.arange(-4, length + 4)
    weights = keys(positions[:, None] - taps[None, :])
    result = np.zeros((len(positions), length))
    for column, tap in zip(weights.T, taps, strict=True):
        result[:, min(max(tap, 0), length - 1)] += column
    return result


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 1023), (np.uint16, 65535)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("location", [LEFT, CENTER, TOPLEFT, BOTTOM])
def test_equals_the_dense_matrix(dtype: Any, peak: int, scale: int, location: int) -> None:
    plane = np.random.default_rng(scale).integers(0, peak + 1, (11, 17)).astype(dtype)
    offset = chroma_offset((2, 2), location, scale)
    rows, columns = (
        matrix(n, (np.arange(n * scale) + 0.5) / scale - 0.5 + o) for n, o in zip(plane.shape, offset, strict=True)
    )
    expected = np.clip(rows @ plane @ columns.T, 0, peak)
    result = enlarge_plane(plane, scale, offset, peak)
    assert result.dtype == dtype
    assert result.shape == (11 * scale, 17 * scale)
    assert np.abs(result - expected).max() <= 0.5 + peak * 1e-6


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_left_sited_chroma_stays_left_sited(scale: int) -> None:
    """A ramp over luma positions: enlarged chroma must lie on the enlarged luma's ramp, away from the borders."""
    luma_positions = 2 * np.arange(40)  # of left-sited 4:2:0: chroma k stands on luma 2k
    chroma = np.tile((luma_positions * 300 + 5000).astype(np.uint16), (4, 1))
    big = enlarge_plane(chroma, scale, chroma_offset((2, 1), LEFT, scale), 65535)
    # Luma sample 2k of the result lies at ((2k + 0.5) / scale - 0.5) of the source's luma.
    expected = ((2 * np.arange(40 * scale) + 0.5) / scale - 0.5) * 300 + 5000
    inner = slice(3 * scale, -3 * scale)
    assert np.abs(big[scale] - expected)[inner].max() <= 0.51


def test_offsets_of_the_standard_sitings() -> None:
    assert chroma_offset((2, 2), LEFT, 4) == pytest.approx((0, 0.25 - 0.25 / 4))
    assert chroma_offset((2, 2), None, 4) == chroma_offset((2, 2), LEFT, 4)
    assert chroma_offset((2, 2), CENTER, 4) == (0, 0)
    assert chroma_offset((2, 2), TOPLEFT, 2) == pytest.approx((0.125, 0.125))
    assert chroma_offset((2, 2), BOTTOMLEFT, 2) == pytest.approx((-0.125, 0.125))
    assert chroma_offset((2, 1), LEFT, 2) == pytest.approx((0, 0.125))
    assert chroma_offset((1, 1), LEFT, 4) == (0, 0)
    assert chroma_siting((2, 2), TOP) == pytest.approx((-0.25, 0))


def test_axes_may_have_scales_of_their_own() -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert enlarge_axes(plane, (1, 2), (0, 0), 255).shape == (3, 8)
    assert np.array_equal(enlarge_axes(plane, (1, 1), (0, 0), 255), plane)


def test_single_pixel_and_views() -> None:
    assert np.array_equal(enlarge_plane(np.array([[7]], np.uint8), 4), np.full((4, 4), 7))
    wide = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    view = wide[::2, 3:21]
    assert np.array_equal(enlarge_plane(view, 2), enlarge_plane(view.copy(), 2))


@pytest.mark.parametrize("plane", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8)])
def test_other_arrays_are_refused(plane: Any) -> None:
    with pytest.raises(ValueError, match="is enlarged"):
        enlarge_plane(plane, 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("dtype", "peak", "off"), [(np.uint8, 255, 0), (np.uint16, 65535, 1)])
def test_parts_are_parts_of_the_whole(scale: int, dtype: type[np.generic], peak: int, off: int) -> None:
    plane = np.random.default_rng(scale).integers(0, peak + 1, (61, 83)).astype(dtype)
    whole = enlarge_plane(plane, scale, peak=peak).astype(np.int64)
    for rows, columns in product(
        (slice(0, 1), slice(0, 61), slice(20, 41), slice(60, 61)), (slice(0, 83), slice(1, 2), slice(40, 83))
    ):
        part = enlarge_part(plane, (rows, columns), scale, peak)
        expected = whole[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
        assert part.shape == expected.shape and np.abs(part - expected).max() <= off
