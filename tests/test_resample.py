"""Bicubic resampling against its definition, polynomials that it must reproduce, and OpenCV."""

import cv2
import numpy as np
import pytest

from srdeploy.resample import cubic, imresize, imresize_uint8, modcrop, phases


def test_cubic_is_the_published_kernel() -> None:
    # Keys 1981: 1 at 0, 0 at the other whole numbers; at 0.5 and 1.5 with a = -1/2: 9/16 and -1/16.
    x = np.array([0, 1, 2, 2.5, -1, 0.5, -0.5, 1.5])
    assert cubic(x) == pytest.approx([1, 0, 0, 0, 0, 9 / 16, 9 / 16, -1 / 16])
    assert cubic(1.5, a=-0.75) == pytest.approx(-3 / 32)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", [-0.5, -0.375, 0.0, 0.25, 0.5])
def test_phases_reproduce_polynomials(scale: int, offset: float) -> None:
    position = (np.arange(scale) + 0.5) / scale - 0.5 + offset
    taps, at = phases(scale, offset), np.arange(-2, 3)
    assert taps.shape == (scale, 5) and taps.dtype == np.float64
    assert taps.sum(1) == pytest.approx(np.ones(scale), abs=1e-12)
    assert taps @ at == pytest.approx(position, abs=1e-12)
    assert taps @ at**2 == pytest.approx(position**2, abs=1e-12)  # only a = -1/2 is exact to the second order


def test_phases_refuse_what_five_taps_cannot_hold() -> None:
    with pytest.raises(ValueError, match="five taps"):
        phases(4, 0.75)
    with pytest.raises(ValueError, match="below 1"):
        phases(0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_phases_are_opencv_bicubic(scale: int) -> None:
    line = np.random.default_rng(1).random((1, 40)).astype(np.float32)
    taps = phases(scale, a=-0.75)
    padded = np.pad(line[0].astype(np.float64), 2, mode="edge")
    ours = np.stack([np.convolve(padded, row[::-1], "valid") for row in taps], 1).ravel()
    theirs = cv2.resize(line, (40 * scale, 1), interpolation=cv2.INTER_CUBIC)[0]
    assert np.abs(ours - theirs).max() < 1e-5


def _by_definition(line: np.ndarray, size: int, a: float) -> np.ndarray:
    """One axis of MATLAB's imresize, sample by sample."""
    length = len(line)
    ratio = size / length
    shrink = min(ratio, 1)
    result = []
    for k in range(size):
        centre = (k + 0.5) / ratio - 0.5
        total = weight = 0.0
        for i in range(int(centre - 2 / shrink) - 2, int(centre + 2 / shrink) + 3):
            share = float(cubic(shrink * (centre - i), a))
            mirror = i
            while not 0 <= mirror < length:
                mirror = -1 - mirror if mirror < 0 else 2 * length - 1 - mirror
            total, weight = total + share * line[mirror], weight + share
        result.append(total / weight)
    return np.array(result)


@pytest.mark.parametrize(("length", "size"), [(48, 12), (37, 9), (21, 7), (12, 48), (13, 30), (9, 9), (5, 2), (3, 1)])
@pytest.mark.parametrize("a", [-0.5, -0.75])
def test_imresize_is_its_definition(length: int, size: int, a: float) -> None:
    line = np.random.default_rng(2).random(length) * 255
    expected = _by_definition(line, size, a)
    assert imresize(line[:, None], size, 1, a)[:, 0] == pytest.approx(expected, abs=1e-9)
    assert imresize(line[None, :], 1, size, a)[0] == pytest.approx(expected, abs=1e-9)


def test_imresize_takes_planes_and_pictures_of_any_depth() -> None:
    pixels = np.random.default_rng(3).integers(0, 65536, (31, 44, 3), dtype=np.uint16)
    whole = imresize(pixels, 13, 90)
    assert whole.shape == (13, 90, 3) and whole.dtype == np.float64
    assert np.array_equal(whole[..., 1], imresize(pixels[..., 1], 13, 90))
    assert np.array_equal(imresize(pixels, 31, 44), pixels)
    for bad in (pixels[:0], pixels[..., None]):
        with pytest.raises(ValueError, match="cannot resize"):
            imresize(bad, 4, 4)


def test_imresize_uint8_rounds_and_clips() -> None:
    step = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=1)
    wide = imresize(step, 1, 64)
    assert wide.min() < -5 and wide.max() > 260  # the kernel overshoots
    assert np.array_equal(imresize_uint8(step, 1, 64), np.floor(np.clip(wide, 0, 255) + 0.5))


def test_modcrop_cuts_at_the_far_sides() -> None:
    pixels = np.arange(11 * 13).reshape(11, 13)
    assert np.array_equal(modcrop(pixels, 4), pixels[:8, :12])
    assert modcrop(pixels, 1).shape == (11, 13)
