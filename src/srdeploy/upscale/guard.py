"""Is a result one? Black where the picture is plainly not black is none, nor is white where it is plainly dark."""

from collections.abc import Callable

import numpy as np

from srdeploy.picture import Pixels

VISIBLE = 32 / 255
"""Darker pixels may well become black: a network rings beside edges."""

DARK = 127 / 255
"""Brighter pixels may well become white, as networks that sharpen make them."""

SIDE = 3
"""So many input pixels by as many, all visible, never make black: a network that computes gives nothing of the kind."""


def is_lost(pixels: Pixels, big: Pixels, peak: int, white: bool = True) -> bool:
    """Whether a result (sH, sW, C) is black, or white, somewhere that its input (H, W, C) is plainly not.

    That is how what is no number looks in bytes: ONNX Runtime makes 0 of NaN, OpenVINO the largest value, and either
    of them of infinities, as when half precision overflows. One value of the result is looked at for each input pixel;
    black must cover SIDE by SIDE of them, where no channel of the result is above 0, and white likewise.
    white: whether to look for white; integers, which are all numbers, need not be.
    """
    scale = big.shape[0] // pixels.shape[0]
    sample = big[scale // 2 :: scale, scale // 2 :: scale]
    if _is_lost(sample <= 0, lambda: pixels >= int(VISIBLE * peak)):
        return True
    return white and _is_lost(sample >= peak, lambda: pixels <= int(DARK * peak))


def _is_lost(gone: Pixels, there: Callable[[], Pixels]) -> bool:
    """Whether SIDE by SIDE places have every channel `gone` of the result and one channel `there` in the input."""
    lost = _over_channels(np.logical_and, gone)
    if not lost.any():
        return False
    lost = lost & _over_channels(np.logical_or, there())
    # A picture smaller than that is looked at whole.
    for axis in (0, 1):
        length = lost.shape[axis] - min(SIDE, lost.shape[axis]) + 1
        parts = [lost.take(range(first, first + length), axis) for first in range(min(SIDE, lost.shape[axis]))]
        lost = np.logical_and.reduce(parts)
    return bool(lost.any())


def _over_channels(join: np.ufunc, flags: Pixels) -> Pixels:
    """(H, W, C) to (H, W); numpy's reduction over a short last axis takes many times as long."""
    result = flags[..., 0]
    for channel in range(1, flags.shape[2]):
        result = join(result, flags[..., channel])
    return result
