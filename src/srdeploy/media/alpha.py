"""Colour under transparent pixels, which nobody sees until an enlargement mixes it into its neighbours."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from srdeploy.picture import Picture, Pixels


def with_colour_under_alpha(picture: Picture) -> Picture:
    """The picture with its wholly transparent pixels in the colours around them; the others stay as they are.

    Encoders leave black there, and a network that reads it draws a dark fringe along every edge. Colours are
    averaged weighted by alpha at halves of the size, and pixels without any are filled from the next coarser one.
    """
    if picture.alpha is None or picture.layout == "yuv" or (picture.alpha > 0).all():
        return picture
    hidden = picture.alpha == 0
    if hidden.all():
        return picture
    filled = picture.planes[0].copy()
    filled[hidden] = _spread(picture.planes[0], picture.alpha, picture.peak)[hidden]
    return replace(picture, planes=(filled,))


def _spread(colour: Pixels, alpha: Pixels, peak: int) -> Pixels:
    weight = alpha.astype(np.float32) / peak
    weighted: Any = colour.astype(np.float32) * (weight if colour.ndim == 2 else weight[:, :, None])
    levels: list[tuple[Any, Any]] = [(weighted, weight)]
    while max(levels[-1][1].shape) > 1:
        height, width = levels[-1][1].shape
        size = (-(-width // 2), -(-height // 2))
        weighted, smaller = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in levels[-1])
        levels.append((weighted, smaller))
    found = _divided(*levels.pop())
    for weighted, weight in reversed(levels):
        found = cv2.resize(found, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR)
        seen = weight > 0
        found[seen] = _divided(weighted[seen], weight[seen])
    spread: Pixels = np.rint(np.clip(found, 0, peak)).astype(colour.dtype)
    return spread


def _divided(weighted: Any, weight: Any) -> Any:
    share = np.maximum(weight, np.float32(1e-12))
    return weighted / (share if weighted.ndim == weight.ndim else share[..., None])
