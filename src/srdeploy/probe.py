"""What somebody else's graph does not say, found out by running it: scale, multiple, and the form of its pixels."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from srdeploy import metrics, zoo
from srdeploy.errors import ModelError, NoSuchNetwork
from srdeploy.graph.forms import Layout, from_theirs, to_theirs
from srdeploy.media.pictures import read_picture
from srdeploy.resample import imresize_uint8
from srdeploy.spec import PixelForm

Planes = npt.NDArray[np.float32]
Theirs = Callable[[Planes], npt.NDArray[Any]]
"""Runs the graph on pixels in its own form."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""What the sides of a picture may have to be a multiple of; tried in this order."""

LARGEST_SCALE = 64
"""Output pixels for one input pixel, per side: no network enlarges by more, and what does takes time and memory."""

_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
_SIDE = 48
"""Low-resolution pixels a side of the pictures that forms are judged on."""

_PICTURE_DB = 6.0
"""What is this far below plain repetition of pixels is no picture of what it was made from: an untrained network's."""

_CLEARLY_DB = 1.0
_ORDER_DB = 0.3
"""How much better another range, or another order of channels, must be than ours. Channels are so alike that a trained
network loses little by their order; an untrained one prefers none."""


def scale_and_multiple(
    run: Theirs, channels: int, layout: Layout, size: tuple[int, int] | None, path: str
) -> tuple[int, int]:
    """The scale, and the least multiple of the sides at which results have it; (scale, 1) of a graph of one size.

    Raises ModelError when no size that is tried gives pictures enlarged by a whole number, the same for both sides;
    at once for what is no picture, of other channels, or enlarged by more than LARGEST_SCALE.
    """
    why = ""
    for multiple in MULTIPLES[:1] if size else MULTIPLES:
        low = -(-_SIDE // (2 * multiple)) * 2 * multiple
        sizes = [size] if size else [(low + multiple, low + 3 * multiple), (low + 3 * multiple, low + 5 * multiple)]
        try:
            found = {_scale(run, channels, layout, sides, path) for sides in sizes}
        except NoSuchNetwork:
            raise
        except ModelError as error:
            why = why or str(error)
            continue
        if len(found) == 1:
            return found.pop(), multiple
        why = why or f"{path} enlarges by {' and by '.join(map(str, sorted(found)))}, at two sizes"
    raise ModelError(why)


def _scale(run: Theirs, channels: int, layout: Layout, sides: tuple[int, int], path: str) -> int:
    planes = np.random.default_rng(0).random((1, channels, *sides), dtype=np.float32)
    form = PixelForm(layout=layout)
    made = from_theirs(run(to_theirs(planes, form)), form)
    if made.ndim != 4 or made.shape[:2] != (1, channels):
        raise NoSuchNetwork(
            f"{path} takes {channels} channels and gives {made.shape}; a super-resolution network gives a picture"
        )
    if max(big / small for big, small in zip(made.shape[2:], sides, strict=True)) > LARGEST_SCALE:
        raise NoSuchNetwork(
            f"{path} makes {made.shape[2]}x{made.shape[3]} of {sides[0]}x{sides[1]} pixels; srdeploy exports networks "
            f"that enlarge by {LARGEST_SCALE} at most"
        )
    tall, wide = (Fraction(big, small) for big, small in zip(made.shape[2:], sides, strict=True))
    if tall != wide or tall.denominator != 1 or tall < 1:
        raise ModelError(
            f"{path} makes {made.shape[2]}x{made.shape[3]} of {sides[0]}x{sides[1]} pixels; srdeploy exports networks "
            "that enlarge by a whole number"
        )
    return int(tall)


def form_of(
    run: Theirs, channels: int, layout: Layout, size: tuple[int, int] | None, scale: int, multiple: int, levels: bool
) -> tuple[PixelForm, bool]:
    """How the graph takes and gives its pixels, and whether that could be told.

    Pictures are made small and enlarged by the graph in each form; that one is taken whose result is nearest to what
    they were, if it is clearly nearer than in ours (0..1, RGB). levels: its pixels are uint8, which says their range.
    """
    pairs = list(_pairs(channels, size, scale, multiple))
    ranges = [(0.0, 255.0)] if levels else list(_RANGES)
    ours = PixelForm(*ranges[0], *ranges[0], layout=layout)
    scores: dict[PixelForm, float] = {}
    for low, high in ranges:
        scores |= _scores(run, pairs, PixelForm(low, high, layout=layout), ranges)
    best = max(scores, key=lambda form: (scores[form], form == ours))
    if scores[best] < _enlarged_db(pairs) - _PICTURE_DB:
        return ours, levels
    best = best if scores[best] > scores[ours] + _CLEARLY_DB else ours
    if channels == 3:
        turned = _scores(run, pairs, replace(best, bgr=True), [(best.low_out, best.high_out)])
        other = max(turned, key=lambda form: turned[form])
        best = other if turned[other] > scores[best] + _ORDER_DB else best
    return best, True


def _scores(
    run: Theirs, pairs: list[tuple[Planes, Planes]], form: PixelForm, ranges_out: list[tuple[float, float]]
) -> dict[PixelForm, float]:
    """The mean PSNR, in dB, of one form on the way in with every form on the way out."""
    results = [run(to_theirs(small, form)) for small, _ in pairs]
    orders = (False, True) if pairs[0][0].shape[1] == 3 else (False,)
    scores = {}
    for (low, high), bgr_out in product(ranges_out, orders):
        whole = replace(form, low_out=low, high_out=high, bgr_out=bgr_out)
        found = [
            _psnr(np.clip(from_theirs(result, whole), 0, 1), picture)
            for result, (_, picture) in zip(results, pairs, strict=True)
        ]
        scores[whole] = sum(found) / len(found)
    return scores


def _enlarged_db(pairs: list[tuple[Planes, Planes]]) -> float:
    """The mean PSNR of the small pictures with every pixel repeated: what any network that enlarges comes near to."""
    found = []
    for small, picture in pairs:
        times = picture.shape[2] // small.shape[2]
        found.append(_psnr(small.repeat(times, axis=2).repeat(times, axis=3), picture))
    return min(sum(found) / len(found), 40.0)


def _psnr(made: Planes, picture: Planes) -> float:
    error = float(np.mean(np.square(made - picture, dtype=np.float64)))
    return -10 * math.log10(max(error, 1e-10)) if math.isfinite(error) else 0.0


def _pairs(channels: int, size: tuple[int, int] | None, scale: int, multiple: int) -> Iterator[tuple[Planes, Planes]]:
    """Shipped pictures made small, and as they were: float32 (1, C, H, W) and (1, C, sH, sW), 0..1."""
    side = -(-_SIDE // multiple) * multiple
    height, width = size or (side, side)
    for path in zoo.parity_pictures():
        rgb = read_picture(path).planes[0]
        times = [max(0, -(-need * scale // have) - 1) for need, have in zip((height, width), rgb.shape, strict=False)]
        rgb = np.pad(
            rgb, [(0, t * have) for t, have in zip(times, rgb.shape, strict=False)] + [(0, 0)], mode="symmetric"
        )
        top, left = (rgb.shape[0] - height * scale) // 2, (rgb.shape[1] - width * scale) // 2
        whole = np.ascontiguousarray(rgb[top : top + height * scale, left : left + width * scale])
        small = imresize_uint8(whole, height, width) if scale > 1 else whole
        yield _planes(small, channels), _planes(whole, channels)


def _planes(rgb: npt.NDArray[np.uint8], channels: int) -> Planes:
    values = rgb if channels == 3 else np.rint(metrics.luma(rgb)).astype(np.uint8)[:, :, None]
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
