"""What the samples are painted with: noise, strokes, bricks, cloth, letters; RGB float32 0..1 on an enlarged canvas."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Color = Sequence[float]

OVERSAMPLING = 3
"""Canvas pixels for one pixel of the picture, per side; `shrink` averages them, so that every edge is antialiased."""


def grid(height: int, width: int) -> tuple[Array, Array]:
    """Row and column numbers, two arrays (height, width)."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return rows, columns


def fill(height: int, width: int, color: Color) -> Array:
    """A canvas of one colour."""
    return np.broadcast_to(np.float32(color), (height, width, 3)).copy()


def mix(a: npt.ArrayLike, b: npt.ArrayLike, share: npt.ArrayLike) -> Array:
    """`a` where share (H, W) is 0, `b` where it is 1, both colours or canvases; between them, a blend."""
    part = np.clip(np.float32(share), 0, 1)[..., None]
    return (np.float32(a) * (1 - part) + np.float32(b) * part).astype(np.float32)


def noise(
    rng: np.random.Generator, height: int, width: int, exponent: float = 1.5, stretch: tuple[float, float] = (1, 1)
) -> Array:
    """Fractal noise of mean 0 and deviation 1: amplitude falls as frequency ** -exponent.

    stretch lengthens the features down and across.
    """
    down = np.fft.fftfreq(height)[:, None] * stretch[0]
    across = np.fft.rfftfreq(width)[None, :] * stretch[1]
    radius = np.hypot(down, across)
    radius[0, 0] = np.inf
    turns = rng.random(radius.shape)
    spectrum = radius**-exponent * np.exp(2j * np.pi * turns)
    field = np.fft.irfft2(spectrum, (height, width))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def relief(height_map: Array, strength: float) -> Array:
    """Brightness (H, W) around 1 of a rough surface lit from the upper left; its mean slope does not matter."""
    down, across = np.gradient(height_map)
    slope = down + across
    return (1 - strength * np.tanh(slope / slope.std())).astype(np.float32)


def profile(rng: np.random.Generator, width: int, level: float, swing: float, exponent: float = 1.25) -> Array:
    """The skyline of a ridge: for each column, the row at which it begins."""
    line = noise(rng, 2, 2 * width, exponent)[0, :width]
    return (level - swing * (line - line.mean()) / max(float(line.std()), 1e-6)).astype(np.float32)


def below(skyline: Array, height: int) -> Array:
    """Share (H, W): 1 below the skyline, antialiased on it."""
    rows, _ = grid(height, len(skyline))
    return np.clip(rows - skyline[None, :] + 0.5, 0, 1)


def strokes(canvas: Array, lines: Sequence[npt.NDArray[Any]], colors: npt.NDArray[Any], widths: Sequence[int]) -> None:
    """Draw polylines (n, 2) of x, y in canvas pixels, each in its colour and width, in order, onto the canvas."""
    part, corner = _around(canvas, np.concatenate(lines), max(widths))
    if part.size == 0:
        return
    page = to_bytes(part)
    for line, color, width in zip(lines, np.clip(colors, 0, 1) * 255, widths, strict=True):
        points = np.round((line - corner) * 16).astype(np.int32)
        cv2.polylines(page, [points], False, color.tolist(), width, cv2.LINE_AA, 4)
    part[:] = page / np.float32(255)


def shape(canvas: Array, points: npt.ArrayLike, color: Color) -> None:
    """Fill a polygon of x, y in canvas pixels."""
    corners = np.asarray(points, np.float64)
    part, corner = _around(canvas, corners, 1)
    if part.size == 0:
        return
    page = to_bytes(part)
    cv2.fillPoly(page, [np.round((corners - corner) * 16).astype(np.int32)], [255 * c for c in color], cv2.LINE_AA, 4)
    part[:] = page / np.float32(255)


def disc(canvas: Array, x: float, y: float, radius: float, color: Color) -> None:
    """Fill a circle."""
    rows, columns = grid(*canvas.shape[:2])
    canvas[:] = mix(canvas, color, radius - np.hypot(rows - y, columns - x) + 0.5)


def text(canvas: Array, words: str, x: float, y: float, size: float, color: Color, bold: bool = False) -> None:
    """Write `words` with the left end of their base line at x, y; size is about the height of a capital, in pixels."""
    page = to_bytes(canvas)
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    width = max(1, round(size / 12))
    place = (round(x), round(y))
    cv2.putText(page, words, place, font, size / 21, [255 * c for c in color], width, cv2.LINE_AA)
    canvas[:] = page / np.float32(255)


def text_width(words: str, size: float, bold: bool = False) -> float:
    """Width in pixels of what `text` writes."""
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    return float(cv2.getTextSize(words, font, size / 21, max(1, round(size / 12)))[0][0])


def bricks(rng: np.random.Generator, height: int, width: int, course: float, color: Color) -> Array:
    """A wall of bricks in running bond; `course` is the height of a brick with its joint."""
    rows, columns = grid(height, width)
    wobble = noise(rng, height, width, 1.8) * course * 0.035
    row = np.floor((rows + wobble) / course)
    shifted = (columns + wobble) / (2.2 * course) + 0.5 * (row % 2)
    column = np.floor(shifted)
    down = (rows + wobble) / course - row
    across = (shifted - column) * 2.2
    joint = np.minimum(np.minimum(down, 1 - down), np.minimum(across, 2.2 - across))
    face = np.clip((joint - 0.07) * course / 1.5, 0, 1)
    tints = rng.random((97, 89, 3))
    tint = tints[row.astype(int) % 97, column.astype(int) % 89].astype(np.float32)
    grain = noise(rng, height, width, 0.7)
    body = np.float32(color) * (0.72 + 0.5 * tint[..., :1]) + 0.05 * (tint - 0.5)
    body = body * (1 + 0.09 * grain[..., None]) * (1 + 0.10 * np.clip(0.5 - down, -0.5, 0.5)[..., None])
    mortar = np.float32((0.66, 0.62, 0.56)) * (0.92 + 0.09 * grain[..., None])
    return np.clip(mix(mortar, body, face), 0, 1)


def cloth(rng: np.random.Generator, height: int, width: int, thread: float, warp: Color, weft: Color) -> Array:
    """Twill: threads of two colours, two over and two under, one step to the side in each row."""
    rows, columns = grid(height, width)
    bend = noise(rng, height, width, 2.0) * thread * 0.18
    u, v = (columns + bend) / thread, (rows - bend) / thread
    over = (np.floor(u) + np.floor(v)) % 4 < 2
    across, along = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    light = np.where(over, 1 - 2.2 * across**2, 1 - 2.2 * along**2)
    fibre = 1 + 0.07 * noise(rng, height, width, 0.5)
    colors = np.where(over[..., None], np.float32(warp), np.float32(weft))
    return np.clip(colors * (light * fibre)[..., None], 0, 1).astype(np.float32)


def to_bytes(canvas: Array) -> npt.NDArray[np.uint8]:
    """uint8 RGB of a canvas, rounded, in memory that OpenCV can draw on."""
    return np.ascontiguousarray(np.floor(np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))


def shrink(canvas: Array, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The finished picture: the canvas averaged down to height x width, uint8 RGB."""
    tall, wide = canvas.shape[0] // height, canvas.shape[1] // width
    blocks = canvas[: tall * height, : wide * width].reshape(height, tall, width, wide, 3)
    return to_bytes(blocks.mean(axis=(1, 3)))


def _around(canvas: Array, points: npt.NDArray[Any], margin: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The part of the canvas (a view) that holds the points, empty if they lie outside, and the x, y of its corner."""
    first = np.maximum(np.floor(points.min(0)).astype(np.int64) - margin - 2, 0)
    last = np.ceil(points.max(0)).astype(np.int64) + margin + 3
    last = np.maximum(last, first)
    return canvas[first[1] : last[1], first[0] : last[0]], first
