"""Which input samples an output sample depends on, along one axis, for one operator.

Each kind maps an interval [first, last] of output indices, far from any border, to the interval of input indices it is
computed from, and the size of its input to the size of its output. Sizes are ratio * n + extra, where n is the
side of the network's own input; n is taken to be a multiple of every stride (facts.multiple).
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Protocol

Interval = tuple[int, int]
Size = tuple[Fraction, int]


class Window(Protocol):
    """One operator along one axis."""

    def reads(self, first: int, last: int) -> Interval | None:
        """The input indices that output indices first..last depend on; None when on none."""

    def size(self, ratio: Fraction, extra: int) -> Size:
        """The output's size for an input of size ratio * n + extra."""


@dataclass(frozen=True)
class Gather:
    """Convolution, pooling, padding, slicing, space to depth: output o reads o * stride - begin + j * dilation."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0
    round_up: bool = False

    def reads(self, first: int, last: int) -> Interval | None:
        return first * self.stride - self.begin, last * self.stride - self.begin + (self.kernel - 1) * self.dilation

    def size(self, ratio: Fraction, extra: int) -> Size:
        spare = Fraction(extra + self.begin + self.end - (self.kernel - 1) * self.dilation - 1, self.stride)
        return ratio / self.stride, (ceil(spare) if self.round_up else floor(spare)) + 1


@dataclass(frozen=True)
class Scatter:
    """Transposed convolution and depth to space: input i reaches outputs i * stride - begin + j * dilation."""

    kernel: int
    stride: int
    dilation: int = 1
    begin: int = 0
    end: int = 0

    def reads(self, first: int, last: int) -> Interval | None:
        low = ceil(Fraction(first + self.begin - (self.kernel - 1) * self.dilation, self.stride))
        high = floor(Fraction(last + self.begin, self.stride))
        return (low, high) if low <= high else None

    def size(self, ratio: Fraction, extra: int) -> Size:
        reach = (self.kernel - 1) * self.dilation + 1
        return ratio * self.stride, (extra - 1) * self.stride + reach - self.begin - self.end


@dataclass(frozen=True)
class Sample:
    """Resize by a constant scale (ONNX Resize): `support` 0 = nearest, 1 = linear, 2 = cubic."""

    scale: Fraction
    support: int
    asymmetric: bool
    nearest_mode: str
    antialias: bool

    def reads(self, first: int, last: int) -> Interval | None:
        return self._taps(first)[0], self._taps(last)[1]

    def _taps(self, index: int) -> Interval:
        at = index / self.scale if self.asymmetric else (index + Fraction(1, 2)) / self.scale - Fraction(1, 2)
        if self.support == 0:
            nearest = self._nearest(at)
            return nearest, nearest
        width = self.support / min(self.scale, Fraction(1)) if self.antialias else Fraction(self.support)
        # The kernels are zero at their ends, so that a tap exactly `width` away counts for nothing.
        return floor(at - width) + 1, ceil(at + width) - 1

    def _nearest(self, at: Fraction) -> int:
        if self.nearest_mode == "floor":
            return floor(at)
        if self.nearest_mode == "ceil":
            return ceil(at)
        half = Fraction(1, 2)
        return floor(at + half) if self.nearest_mode == "round_prefer_ceil" else ceil(at - half)

    def size(self, ratio: Fraction, extra: int) -> Size:
        return ratio * self.scale, floor(extra * self.scale)


SAME = Gather()
"""Output sample o depends on input sample o alone."""
