"""Which channels to carry in parts: what helps most for what it costs comes first."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

Parts = Mapping[str, Counts]
"""By tensor, in how many parts each of its channels is carried, (C,); 0 where it never was anything but 0."""

LANES = 4
"""Channels are added in fours: CPU kernels take them in fours (srdeploy.graph.lanes)."""

STEPS = 6
"""So many times a tensor is given more channels."""

Move = tuple[str, Counts]


def moves_by_worth(
    noise: Mapping[str, npt.NDArray[np.float64]], alive: Mapping[str, npt.NDArray[np.bool_]], costs: Mapping[str, int]
) -> list[Move]:
    """Steps, each a tensor and the parts of its channels from then on, in the order in which they should be taken.

    noise: by tensor, the error in the result that rounding each channel makes, mean squared, (C,); k parts make it
    k * k times smaller. alive: which channels were ever other than 0: the others' places cost nothing. costs: products
    a pixel that one more channel costs.
    """
    steps: list[tuple[float, str, Counts]] = []
    for name, errors in noise.items():
        counts = np.where(alive[name], 1, 0).astype(np.int64)
        free = int(np.count_nonzero(counts == 0))
        left, worth = float(errors.sum()), np.inf
        for slots in [free] * (free > 0) + [LANES] * STEPS:
            counts = _given(counts, errors, slots)
            after = float((errors / np.maximum(counts, 1) ** 2).sum())
            # Never before the step of the same tensor that it builds on.
            cost = 0 if slots == free and np.isinf(worth) else slots * costs[name]
            worth = min(worth, (left - after) / (cost + 1))
            steps.append((worth, name, counts))
            left = after
    steps.sort(key=lambda step: -step[0])  # stable: equals stay in order
    return [(name, counts) for _, name, counts in steps]


def parts_after(moves: Sequence[Move]) -> Parts:
    """Where a number of moves leads."""
    return dict(moves)


def _given(counts: Counts, errors: npt.NDArray[np.float64], slots: int) -> Counts:
    """The counts when so many channels more are given one by one to where each takes away most."""
    counts = counts.copy()
    for _ in range(slots):
        most = np.maximum(counts, 1).astype(np.float64)
        gains = np.where(counts > 0, errors * (1 / most**2 - 1 / (most + 1) ** 2), -1.0)
        counts[int(np.argmax(gains))] += 1
    return counts
