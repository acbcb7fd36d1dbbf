"""How far two ways of enlarging are apart on the same pictures, and whether that is within a tolerance."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from srdeploy.errors import ParityError
from srdeploy.picture import Pixels
from srdeploy.spec import Parity

Enlarge = Callable[[Pixels], Pixels]
"""uint8 (N, H, W, C) in; out (N, sH, sW, C), either uint8, or float32 on the 0..1 scale, not clipped."""

MAX_ABS = 1e-5
"""What two fp32 computations of one network may differ by, before rounding, on the 0..1 scale; relative to the largest
value where values lie far outside it, as an untrained network's do."""


SAME_DB = 0.05
"""What two measurements of one file's PSNR on the same pictures may differ by: processors sum in other orders, and a
value between two levels then falls to the other."""


class Place(NamedTuple):
    """A sample of a result: the picture's name, output pixel (x, y), channel."""

    picture: str
    x: int
    y: int
    channel: int

    def __str__(self) -> str:
        return f"{self.picture} at x {self.x}, y {self.y}, channel {self.channel}"


@dataclass(frozen=True)
class Comparison:
    """How a comparison went, and where it went worst.

    worst: where the largest difference is. ties: share of samples that rounded to the other
    side because the reference stood within MAX_ABS of the boundary between two levels; they count in
    parity.levels_off, but not against the tolerance `off`.
    """

    parity: Parity
    worst: Place
    ties: float


def compare(
    reference: Enlarge,
    candidate: Enlarge,
    pictures: Mapping[str, Pixels],
    tolerance: Mapping[str, float],
    reference_name: str,
    arithmetic: str = "fp32",
) -> Comparison:
    """Enlarge every picture (uint8, (H, W, C)) by both, and judge the differences over all samples together.

    tolerance, of which all must hold: "max_abs", largest difference on the 0..1 scale; "off" and "off_by_more", share
    of samples one level off, or more; "psnr_db", the least PSNR against the reference; "stamped_db", what it must be,
    up to SAME_DB. When both give floats, max_abs and PSNR are those of the floats; otherwise of the 8-bit levels,
    divided by 255.
    Raises ParityError when the results have other shapes or one is not finite, ValueError without pictures.
    """
    if not pictures:
        raise ValueError("there are no pictures to compare on")
    tally = _Tally()
    for name, pixels in pictures.items():
        expected, found = reference(pixels[None]), candidate(pixels[None])
        if expected.shape != found.shape:
            raise ParityError(f"on {name} the result has shape {found.shape}, the reference's {expected.shape}")
        for whose, values in (("the reference's result", expected), ("the result", found)):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ParityError(f"on {name} {whose} has values that are not finite; it needs sound weights")
        tally.add(name, expected[0], found[0])
    return tally.judge(tolerance, reference_name, arithmetic)


class _Tally:
    """Sums over pictures, and the worst place so far."""

    def __init__(self) -> None:
        self.samples = self.off = self.off_by_more = self.ties = 0
        self.squares = self.max_abs = 0.0
        self.peak = 1.0
        self.worst = Place("", 0, 0, 0)

    def add(self, name: str, expected: Pixels, found: Pixels) -> None:
        floats = expected.dtype.kind == found.dtype.kind == "f"
        a, b = (expected, found) if floats else (levels(expected) / 255, levels(found) / 255)
        difference = np.abs(np.subtract(a, b, dtype=np.float64))
        largest = float(difference.max())
        if largest > self.max_abs or not self.worst.picture:
            y, x, channel = np.unravel_index(int(difference.argmax()), difference.shape)
            self.max_abs, self.worst = largest, Place(name, int(x), int(y), int(channel))
        apart = np.abs(levels(expected) - levels(found))
        self.samples += apart.size
        self.squares += float(np.vdot(difference, difference))
        self.off += int(np.count_nonzero(apart == 1))
        self.off_by_more += int(np.count_nonzero(apart > 1))
        if expected.dtype.kind == "f":
            self.peak = max(self.peak, float(np.abs(expected).max()))
            exact = np.clip(np.multiply(expected, 255, dtype=np.float64), 0, 255)
            near = np.abs(exact - np.floor(exact) - 0.5) <= 255 * MAX_ABS * self.peak
            self.ties += int(np.count_nonzero(near & (apart == 1)))

    def judge(self, tolerance: Mapping[str, float], reference: str, arithmetic: str) -> Comparison:
        mse = self.squares / self.samples
        psnr = None if mse == 0 else -10 * math.log10(mse)
        passed = all(self._within(key, limit, psnr) for key, limit in tolerance.items())
        one, more = self.off / self.samples, self.off_by_more / self.samples
        shares = {"0": (self.samples - self.off - self.off_by_more) / self.samples, "1": one, ">1": more}
        parity = Parity(reference, self.max_abs, psnr, shares, dict(tolerance), passed, arithmetic)
        return Comparison(parity, self.worst, self.ties / self.samples)

    def _within(self, key: str, limit: float, psnr: float | None) -> bool:
        if key == "max_abs":
            return self.max_abs <= limit * self.peak
        if key == "psnr_db":
            return psnr is None or psnr >= limit
        if key == "stamped_db":
            return psnr is not None and abs(psnr - limit) <= SAME_DB
        if key == "off":
            return self.off - self.ties <= max(1, int(limit * self.samples))
        if key == "off_by_more":
            return self.off_by_more <= limit * self.samples
        raise ValueError(f"no tolerance is called {key}")


def levels(pixels: Pixels) -> Pixels:
    """8-bit levels as int16: of floats on the 0..1 scale clipped, times 255 in float32, rounded half to even."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.int16)
    scaled: Pixels = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * np.float32(255))
    return scaled.astype(np.int16)
