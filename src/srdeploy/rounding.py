"""Weights rounded to int8 so that what they compute stays, not so that each stays near itself.

Neighbouring samples of a picture are nearly equal, so errors of rounding that are small one by one add up; rounded in
turn, each weight takes up the errors of those before it (E. Frantar et al., "GPTQ", ICLR 2023). Measured on five
super-resolution networks: 1.5 to 5.4 dB lost by rounding to nearest, 0.01 to 0.11 dB in this way.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

DAMPING = 1e-3
"""Added to the diagonal, as a share of its mean, so that inputs that never vary leave their weights alone."""


PAIR = 128
"""255 * 128 is the largest product of a byte and the sum of two weights that 16 bits hold. VNNI sums in 32 bits; AVX2
and AVX-512 without it add products in pairs and saturate (vpmaddubsw). Measured on an emulated Haswell, ONNX Runtime
1.32: without this limit 30 % of the samples of ESPCN x4 differ, by up to 36 levels; with it none."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """Weights of a convolution: levels int8 (O, I, h, w), steps float32 (O,), bias float64 (O,)."""

    levels: npt.NDArray[np.int8]
    steps: Float32
    bias: Float64


class Moments:
    """Second moments of what a convolution is given (rounded) and should have been given (exact), summed up.

    Each is counted with a constant 1 behind it, the input of the bias.
    """

    def __init__(self) -> None:
        self.rounded: Float64 | None = None
        self.mixed: Float64 | None = None
        self.count = 0

    def add(self, rounded: Float32, exact: Float32) -> None:
        """Both float32 (K, M): K inputs of the kernel, at M places."""
        a, b = (np.vstack((rows, np.ones((1, rows.shape[1]), rows.dtype))) for rows in (rounded, exact))
        square, mixed = (a @ a.T).astype(np.float64), (b @ a.T).astype(np.float64)
        self.rounded = square if self.rounded is None else self.rounded + square
        self.mixed = mixed if self.mixed is None else self.mixed + mixed
        self.count += rounded.shape[1]


def patches(planes: Float32, kernel: tuple[int, int], every: int) -> Float32:
    """The inputs of a kernel: (C, H, W) to (C * h * w, M), at every `every`-th place where it lies wholly inside."""
    views = np.lib.stride_tricks.sliding_window_view(planes, kernel, axis=(1, 2))
    places = views.reshape(planes.shape[0], -1, *kernel)[:, ::every]
    return np.ascontiguousarray(places.transpose(0, 2, 3, 1).reshape(-1, places.shape[1]))


def partners(shape: tuple[int, ...], few: int) -> npt.NDArray[np.int64]:
    """Which input of a kernel (O, I, h, w) each of its I * h * w inputs is multiplied beside; -1 for none.

    Processors without VNNI add products two by two in 16 bits: those of neighbouring channels of one place, or, of a
    kernel with fewer than `few` channels, of what follows in its row.
    """
    _, channels, height, width = shape
    place = np.arange(channels * height * width).reshape(channels, height, width)
    line = place.transpose(1, 2, 0).reshape(height, -1) if channels < few else place.reshape(channels, -1).T
    beside = np.full(place.size, -1)
    even = line.shape[1] // 2 * 2
    beside[line[:, 0:even:2]], beside[line[:, 1:even:2]] = line[:, 1:even:2], line[:, 0:even:2]
    return beside


def round_weights(weight: Float64, bias: Float64, moments: Moments, beside: npt.NDArray[np.int64]) -> Rounded:
    """The int8 weights and the bias whose results on rounded inputs are nearest to the exact ones.

    weight: (O, I, h, w); bias: (O,). First the best real weights (least squares), then their levels one after another.
    beside: of `partners`. Two levels beside each other sum to PAIR at most, so that no processor's sums saturate.
    """
    assert moments.rounded is not None and moments.mixed is not None
    flat = np.hstack((weight.reshape(len(weight), -1), bias[:, None]))
    square, mixed = moments.rounded / moments.count, moments.mixed / moments.count
    damped = square + np.eye(len(square)) * DAMPING * float(np.mean(np.diag(square)))
    # Least squares with a pull towards the weights there were, instead of towards zero.
    best = np.asarray(np.linalg.solve(damped, (flat @ (mixed + damped - square)).T).T, np.float64)
    paired = np.where(beside >= 0, best[:, :-1][:, beside], 0)
    sums = np.where(paired * best[:, :-1] > 0, np.abs(best[:, :-1] + paired), 0)
    steps = np.maximum(np.abs(best[:, :-1]).max(axis=1) / 127, sums.max(axis=1) / PAIR)
    steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
    levels = _in_turn(best, steps.astype(np.float64), damped, beside)
    left = best[:, :-1] - levels * steps[:, None]
    # The bias is not rounded to a coarse grid, so it takes up what the levels left, on average.
    final = best[:, -1] + left @ square[:-1, -1]
    return Rounded(levels.astype(np.int8).reshape(weight.shape), steps, final)


def _in_turn(best: Float64, steps: Float64, square: Float64, beside: npt.NDArray[np.int64]) -> Float64:
    """Levels (O, K) of weights (O, K + 1, bias last): the inputs of most energy first, the bias free to the end."""
    size = len(square) - 1
    order = np.append(np.argsort(-np.diag(square)[:-1], kind="stable"), size)
    rest = best[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(square[np.ix_(order, order)])).T
    levels = np.zeros((len(best), size))
    for i in range(size):
        # 0 while the partner's turn is still to come.
        other = levels[:, beside[order[i]]] if beside[order[i]] >= 0 else np.zeros(len(best))
        most, least = np.minimum(127, PAIR - other), np.maximum(-127, -PAIR - other)
        level = np.clip(np.rint(rest[:, i] / steps), least, most)
        levels[:, order[i]] = level
        rest[:, i:] -= ((rest[:, i] - level * steps) / upper[i, i])[:, None] * upper[i, i:]
    return levels
