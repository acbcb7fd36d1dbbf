"""The test chart, painted for a size and a seed; the result is uint8 RGB."""

import numpy as np
import numpy.typing as npt
from draw import OVERSAMPLING, Array, cloth, fill, grid, mix, shape, shrink, text


def chart(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """A test chart: zone plate, star, cloth, letters in seven sizes, pure colours, ramps; black and white in full."""
    rng = np.random.default_rng(seed)
    h, w, unit = height * OVERSAMPLING, width * OVERSAMPLING, height * OVERSAMPLING / 240
    canvas = fill(h, w, (1, 1, 1))
    third = w // 3
    _zone_plate(canvas[: h // 2, :third])
    _star(canvas[: h // 2, third : 2 * third])
    canvas[: h // 2, 2 * third :] = cloth(
        rng, h // 2, w - 2 * third, 4.2 * unit, (0.18, 0.28, 0.62), (0.88, 0.80, 0.62)
    )
    _letters(canvas[h // 2 : round(0.83 * h)], unit)
    _patches(canvas[round(0.83 * h) :])
    return shrink(canvas, height, width)


def _zone_plate(panel: Array) -> None:
    rows, columns = grid(*panel.shape[:2])
    half = min(panel.shape[:2]) / 2
    r = np.hypot(rows - panel.shape[0] / 2, columns - panel.shape[1] / 2)
    # The frequency reaches half a cycle a picture pixel at 1.1 times the panel's half side.
    rings = 0.5 + 0.5 * np.cos(np.pi * r**2 / (2.2 * half * OVERSAMPLING))
    panel[:] = np.where(r[..., None] < half * 1.02, rings[..., None], np.float32(0.5))


def _star(panel: Array) -> None:
    rows, columns = grid(*panel.shape[:2])
    y, x = rows - panel.shape[0] / 2, columns - panel.shape[1] / 2
    r, half = np.hypot(x, y), min(panel.shape[:2]) / 2
    spokes = np.clip(0.5 + np.sin(36 * np.arctan2(y, x)) * r / 24, 0, 1)
    panel[:] = mix(
        (1, 1, 1), (0, 0, 0), np.where(r < half * 0.96, spokes, np.hypot(x, y) % (half * 0.12) < half * 0.05)
    )


def _letters(panel: Array, unit: float) -> None:
    h, w = panel.shape[:2]
    words = "Sphinx of black quartz, judge my vow 0123456789"
    shape(panel, [(0, 0.60 * h), (w, 0.46 * h), (w, h), (0, h)], (0.05, 0.06, 0.10))
    y = 0.0
    for size in (11, 8.5, 6.5):
        y += size * 1.36 * unit
        text(panel, words, 3 * unit, y, size * unit, (0, 0, 0))
    y = h - 2.5 * unit
    for size, color in ((5, (0.5, 0.9, 1)), (7.5, (1, 1, 1)), (12, (1, 0.85, 0.1))):
        text(panel, "Edge 17 & Moire" if size == 12 else words, 3 * unit, y, size * unit, color, size == 12)
        y -= size * 1.45 * unit


def _patches(panel: Array) -> None:
    h, w = panel.shape[:2]
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0), (1, 1, 1)]
    for index, color in enumerate(colors):
        panel[: h // 2, index * w // 8 : (index + 1) * w // 8] = color
    ramp = np.linspace(0, 1, w, dtype=np.float32)
    panel[h // 2 : 3 * h // 4] = ramp[None, :, None]
    hue = np.float32((0, 1 / 3, 2 / 3))
    panel[3 * h // 4 :] = (0.5 + 0.5 * np.cos(2 * np.pi * (ramp[:, None] - hue)))[None]
