"""Which of a tensor's values its 256 levels reach: the methods that quantisation chooses from."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]

Range = tuple[float, float]
"""The least and the largest value that a tensor's 256 levels reach; what lies outside is clipped."""

Choose = Callable[[Values], Range]


def _minmax(values: Values) -> Range:
    return float(values.min()), float(values.max())


def _percentile(share: float) -> Choose:
    def choose(values: Values) -> Range:
        low, high = np.percentile(values, (100 - share, share))
        return float(low), float(high)

    return choose


def _least_error(values: Values) -> Range:
    """The range, shrunk from least and largest in steps of 4 %, whose 256 levels lie nearest to the values."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    spans = [(low * part, high * part) for part in np.arange(1.0, 0.2, -0.04).tolist()]
    return min(spans, key=lambda span: _error(values[::8], span))


def _error(values: Values, span: Range) -> float:
    scale = np.float32((span[1] - span[0]) / 255 or 1.0)
    zero = np.rint(-span[0] / scale)
    rounded = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float(np.mean(np.square(rounded - values, dtype=np.float64)))


METHODS: Mapping[str, Choose] = {
    "minmax": _minmax,
    "percentile 99.99": _percentile(99.99),
    "mse": _least_error,
}
"""How a tensor's range is chosen from the values it held."""
