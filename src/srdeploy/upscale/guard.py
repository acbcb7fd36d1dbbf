"""Is a result one? Black where the picture is plainly not black is none."""

import numpy as np

from srdeploy.picture import Pixels

VISIBLE = 32 / 255
"""Darker pixels may well become black: a network rings beside edges."""

SIDE = 3
"""So many input pixels by as many, all visible, never make black: a network that computes gives nothing of the kind."""


def is_black(pixels: Pixels, big: Pixels, peak: int) -> bool:
    """Whether a result (sH, sW, C) is black somewhere that its input (H, W, C) is plainly not.

    That is how overflow of half precision looks in bytes: NaN and -inf become 0. One value of the result is looked at
    for each input pixel; black must cover SIDE by SIDE of them, where no channel of the result is above 0.
    """
    scale = big.shape[0] // pixels.shape[0]
    sample = big[scale // 2 :: scale, scale // 2 :: scale]
    lost = sample[..., 0] <= 0
    if not lost.any():
        return False
    for channel in range(1, sample.shape[2]):
        lost &= sample[..., channel] <= 0
    limit = int(VISIBLE * peak)
    bright = pixels[..., 0] >= limit
    for channel in range(1, pixels.shape[2]):
        bright |= pixels[..., channel] >= limit
    lost &= bright
    # A picture smaller than that is looked at whole.
    for axis in (0, 1):
        length = lost.shape[axis] - min(SIDE, lost.shape[axis]) + 1
        parts = [lost.take(range(first, first + length), axis) for first in range(min(SIDE, lost.shape[axis]))]
        lost = np.logical_and.reduce(parts)
    return bool(lost.any())
