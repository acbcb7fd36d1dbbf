"""Pictures like nature, each painted for a size and a seed: hills, facade, owl. Results are uint8 RGB."""

import cv2
import numpy as np
import numpy.typing as npt
from draw import (
    OVERSAMPLING,
    Array,
    Color,
    below,
    bricks,
    disc,
    grid,
    mix,
    noise,
    profile,
    relief,
    shape,
    shrink,
    strokes,
    text,
    text_width,
)

Rgb = npt.NDArray[np.uint8]


def hills(height: int, width: int, seed: int) -> Rgb:
    """A lake among mountains at sunset: gradients, fractal slopes, ripples, pines and grass."""
    rng = np.random.default_rng(seed)
    h, w, unit = height * OVERSAMPLING, width * OVERSAMPLING, height * OVERSAMPLING / 240
    shore = round(0.66 * h)
    canvas = _sky(rng, h, w, shore)
    haze, near = np.float32((0.74, 0.58, 0.60)), np.float32((0.09, 0.15, 0.15))
    for step, (level, swing) in enumerate(((0.37, 0.085), (0.47, 0.05), (0.55, 0.030), (0.63, 0.012))):
        skyline = profile(rng, w, level * h, swing * h, 1.45)
        bare = mix(haze, near, np.full((h, w), 0.2 + 0.25 * step))
        rock = relief(noise(rng, h, w, 1.75), 0.34)[..., None]
        surface = bare * rock
        if step == 0:
            rows, _ = grid(h, w)
            snow = 0.15 - (rows - skyline) / h + 0.05 * noise(rng, h, w, 1.3)
            surface = mix(surface, np.float32((0.98, 0.90, 0.88)) * (0.35 + 0.65 * rock), 14 * snow)
        canvas = mix(canvas, np.clip(surface, 0, 1), below(skyline, h))
        if step >= 2:
            for x in np.sort(rng.random(90)) * (w - 1):
                pine(rng, canvas, x, skyline[int(x)] + 5 * unit, (5 + 4 * step * rng.random()) * unit, 1.9 - 0.3 * step)
    _lake(rng, canvas, shore, unit)
    _meadow(rng, canvas, unit)
    return shrink(canvas, height, width)


def _sky(rng: np.random.Generator, h: int, w: int, horizon: int) -> Array:
    """Evening sky with a sun and thin clouds."""
    rows, columns = grid(h, w)
    t = np.clip(rows / horizon, 0, 1)
    canvas = mix(mix((0.20, 0.31, 0.52), (0.60, 0.58, 0.70), 1.9 * t), (1.0, 0.74, 0.50), 3.0 * t - 0.85)
    away = np.hypot(rows - 0.27 * h, columns - 0.36 * w) / h
    canvas = mix(canvas, (1.0, 0.86, 0.55), 0.75 * np.exp(-((away / 0.16) ** 2)))
    canvas = mix(canvas, (1.0, 0.98, 0.90), (0.040 - away) * h)
    clouds = noise(rng, h, w, 1.55, (1, 3.2))
    lit = mix((0.62, 0.50, 0.58), (1.0, 0.88, 0.76), 0.5 + 0.5 * noise(rng, h, w, 1.5, (1, 3)))
    return mix(canvas, lit, 0.75 * np.clip(clouds - 0.25, 0, 1) * (1 - 0.5 * t))


def _lake(rng: np.random.Generator, canvas: Array, shore: int, unit: float) -> None:
    h, w = canvas.shape[:2]
    rows, columns = grid(h - shore, w)
    depth = rows / (h - shore)
    swell = noise(rng, h - shore, w, 1.1, (1, 5))
    source = shore - 1 - rows * 1.25 + swell * (1 + 9 * depth) * unit
    mirrored = cv2.remap(
        canvas, columns + swell * 2 * unit, source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    water = mix(mirrored, (0.07, 0.15, 0.24), 0.25 + 0.35 * depth)
    canvas[shore:] = np.clip(water * (1 + 0.06 * swell[..., None]), 0, 1)


def _meadow(rng: np.random.Generator, canvas: Array, unit: float) -> None:
    h, w = canvas.shape[:2]
    bank = profile(rng, w, 0.90 * h, 0.018 * h, 1.7) - 0.14 * h * np.linspace(1, 0, w, dtype=np.float32) ** 3
    canvas[:] = mix(canvas, (0.05, 0.08, 0.04), below(bank, h))
    for x, tall in ((0.07, 0.62), (0.185, 0.47), (0.30, 0.30), (0.93, 0.33), (0.865, 0.22)):
        pine(rng, canvas, x * w, float(bank[int(x * w)]) + 2 * unit, tall * h)
    grass(rng, canvas, bank, unit)


def grass(rng: np.random.Generator, canvas: Array, bank: Array, unit: float) -> None:
    """Blades from the line `bank` (one row for each column) to the bottom, the nearer the longer."""
    h, w = canvas.shape[:2]
    count = round(6 * w / unit)
    x = rng.random(count) * w
    y = bank[x.astype(int)] + rng.random(count) ** 1.3 * 0.30 * h
    order = np.argsort(y)
    lean = rng.random(count) - 0.5
    length = (5 + 9 * rng.random(count)) * unit * (0.5 + (y - y.min()) / (0.2 * h)).clip(0.4, 1.5)
    bend, rise = np.float32((0, 0.35, 1)), np.float32((0, 0.6, 1))
    blades = [np.stack((x[i] + lean[i] * length[i] * bend, y[i] - length[i] * rise), 1) for i in order]
    tint = rng.random((count, 1))
    colors = np.float32((0.16, 0.26, 0.07)) * (0.35 + 1.3 * tint) + np.float32((0.30, 0.20, 0.08)) * (tint > 0.86)
    strokes(canvas, blades, colors, [max(1, round(unit * 0.5))] * count)


def pine(rng: np.random.Generator, canvas: Array, x: float, y: float, tall: float, haze: float = 1.0) -> None:
    """A conifer with its foot at x, y: branches as many short strokes. haze above 1 makes it a far, paler one."""
    count = round(tall * 4.2)
    level = np.sort(rng.random(count) ** 0.8)[::-1]  # 1 at the foot, drawn from there to the top
    side = rng.random(count) * 2 - 1
    tiers = 0.72 + 0.28 * np.abs(np.sin(level * 28))
    reach = side * tall * 0.24 * level * tiers
    top, bottom = max(0, int(y - 1.1 * tall)), min(canvas.shape[0], int(y + 0.1 * tall) + 2)
    left, right = max(0, int(x - 0.3 * tall) - 2), min(canvas.shape[1], int(x + 0.3 * tall) + 3)
    canvas, x, y = canvas[top:bottom, left:right], x - left, y - top
    start = np.stack((x + reach * 0.35, y - tall * (1 - level) - 0.03 * tall), 1)
    end = np.stack((x + reach, y - tall * (1 - level) + np.abs(reach) * 0.42), 1)
    sun = 0.55 + 0.75 * rng.random((count, 1)) + 0.35 * (side[:, None] > 0.2)
    strokes(canvas, [np.float32(((x, y), (x, y - tall)))], np.float32([(0.09, 0.06, 0.04)]), [max(1, round(tall / 70))])
    lines = [np.stack((a, (a + b) / 2 + (0, -0.01 * tall), b)) for a, b in zip(start, end, strict=True)]
    strokes(canvas, lines, np.float32((0.07, 0.15, 0.10)) * haze * sun, [max(1, round(tall / 220))] * count)


def facade(height: int, width: int, seed: int) -> Rgb:
    """A bakery's front: bricks, roof tiles, shutters, a clock, and signs in four sizes of letters."""
    rng = np.random.default_rng(seed)
    h, w, unit = height * OVERSAMPLING, width * OVERSAMPLING, height * OVERSAMPLING / 240
    canvas = bricks(rng, h, w, 8 * unit, (0.60, 0.29, 0.20))
    _roof(rng, canvas, unit)
    window(rng, canvas, 0.09 * w, 82 * unit, 0.22 * w, 78 * unit)
    window(rng, canvas, 0.69 * w, 82 * unit, 0.22 * w, 78 * unit)
    clock(canvas, 0.5 * w, 88 * unit, 24 * unit)
    _sign(canvas, unit)
    light = 1.06 - 0.25 * grid(h, w)[1] / w
    return shrink(np.clip(canvas * light[..., None], 0, 1), height, width)


def _roof(rng: np.random.Generator, canvas: Array, unit: float) -> None:
    h, w = canvas.shape[:2]
    rows, columns = grid(h, w)
    row = np.floor(rows / (7 * unit))
    across = columns / (10 * unit) + 0.5 * (row % 2)
    column = np.floor(across)
    x, y = across - column - 0.5, rows / (7 * unit) - row
    curve = y - 0.62 - 0.38 * np.sqrt(np.clip(1 - 4 * x**2, 0, 1))
    tint = rng.random((61, 67))[row.astype(int) % 61, column.astype(int) % 67][..., None]
    tiles = (
        np.float32((0.30, 0.33, 0.40)) * (0.7 + 0.6 * tint) * (0.75 + 0.4 * y + 0.1 * noise(rng, h, w, 0.8))[..., None]
    )
    tiles = mix(tiles, (0.07, 0.08, 0.10), curve * 7 * unit)
    eaves = 44 * unit + 0.035 * (columns - w / 2)
    air = mix((0.36, 0.58, 0.86), (0.80, 0.89, 0.97), rows / (40 * unit))
    ridge = 15 * unit - 0.11 * (columns - w / 2)
    tiles = mix(air, np.clip(tiles, 0, 1), rows - ridge)
    canvas[:] = canvas * (0.45 + 0.55 * np.clip((rows - eaves) / (22 * unit), 0, 1))[..., None]
    canvas[:] = mix(tiles, canvas, rows - eaves)
    canvas[:] = mix(canvas, (0.93, 0.92, 0.88), np.minimum(rows - eaves, eaves + 4.5 * unit - rows) + 0.5)


def window(rng: np.random.Generator, canvas: Array, x: float, y: float, wide: float, tall: float) -> None:
    """A window of six panes with shutters and flowers; x, y is the upper left corner of its glass."""

    def box(left: float, top: float, right: float, bottom: float, color: Color) -> None:
        shape(canvas, [(left, top), (right, top), (right, bottom), (left, bottom)], color)

    edge = tall * 0.035
    box(x - edge, y - edge, x + wide + edge, y + tall + edge, (0.95, 0.94, 0.90))
    top, left = round(y), round(x)
    glass = canvas[top : top + round(tall), left : left + round(wide)]
    rows, columns = grid(*glass.shape[:2])
    shine = noise(rng, *glass.shape[:2], 1.9) * 0.10 + (rows + columns) / (tall + wide)
    glass[:] = mix((0.08, 0.13, 0.19), (0.66, 0.80, 0.92), shine)
    middle = wide * 0.5
    for share in (1 / 3, 2 / 3):
        box(x, y + tall * share - edge / 3, x + wide, y + tall * share + edge / 3, (0.93, 0.92, 0.88))
    box(x + middle - edge / 2, y, x + middle + edge / 2, y + tall, (0.93, 0.92, 0.88))
    for side in (x - wide * 0.30, x + wide * 1.06):
        box(side, y - edge, side + wide * 0.25, y + tall + edge, (0.07, 0.36, 0.34))
        for slat in np.arange(y + edge, y + tall - edge, tall / 17):
            box(side + wide * 0.03, slat, side + wide * 0.22, slat + tall / 34, (0.14, 0.55, 0.50))
    box(x - 2 * edge, y + tall + edge, x + wide + 2 * edge, y + tall + 3.2 * edge, (0.80, 0.78, 0.73))
    count = 340
    spot = np.stack((x + wide * rng.random(count), y + tall - tall * 0.16 * rng.random(count) ** 1.4), 1)
    kind = rng.random((count, 1))
    leaf = np.where(kind < 0.72, np.float32((0.16, 0.45, 0.12)) * (0.5 + kind), np.float32((0.95, 0.10, 0.22)))
    turn = rng.random(count) * 6.3
    reach = np.stack((np.cos(turn), np.sin(turn)), 1) * tall * 0.022
    strokes(
        canvas, [np.stack((a - b, a + b)) for a, b in zip(spot, reach, strict=True)], leaf, [round(tall / 50)] * count
    )


def clock(canvas: Array, x: float, y: float, radius: float) -> None:
    """A station clock around x, y."""
    disc(canvas, x + radius * 0.06, y + radius * 0.10, radius * 1.13, (0.16, 0.09, 0.07))
    disc(canvas, x, y, radius * 1.10, (0.12, 0.12, 0.13))
    disc(canvas, x, y, radius * 0.98, (0.98, 0.97, 0.93))
    turns = np.arange(60) / 60 * 2 * np.pi
    way = np.stack((np.sin(turns), -np.cos(turns)), 1)
    inner = np.where(np.arange(60) % 5 == 0, 0.78, 0.87)[:, None]
    ticks = [(x, y) + np.stack((a * b, a * 0.93)) * radius for a, b in zip(way, inner, strict=True)]
    thick = [max(1, round(radius / (14 if i % 5 == 0 else 40))) for i in range(60)]
    strokes(canvas, ticks, np.full((60, 3), 0.08), thick)
    for turn, length, share in ((0.853, 0.50, 12), (0.237, 0.76, 20)):
        tip = np.float32((np.sin(2 * np.pi * turn), -np.cos(2 * np.pi * turn))) * radius * length
        hand = np.float32((x, y)) + np.stack((tip * -0.15, tip))
        strokes(canvas, [hand], np.float32([(0, 0, 0)]), [round(radius / share)])
    disc(canvas, x, y, radius * 0.07, (0.85, 0.08, 0.06))


def _sign(canvas: Array, unit: float) -> None:
    h, w = canvas.shape[:2]
    top, bottom = 178 * unit, h
    board = [(0.04 * w, top), (0.96 * w, top), (0.96 * w, bottom), (0.04 * w, bottom)]
    shape(canvas, [(x, y + 3 * unit) for x, y in board], (0.10, 0.07, 0.06))
    shape(canvas, board, (0.08, 0.20, 0.17))
    gold, cream = (0.95, 0.78, 0.36), (0.97, 0.95, 0.88)
    frame = np.float32(((0.05 * w, bottom), (0.05 * w, top + 3 * unit), (0.95 * w, top + 3 * unit), (0.95 * w, bottom)))
    strokes(canvas, [frame], np.float32([gold]), [max(1, round(unit))])
    lines = (
        ("OLD MILL BAKERY", 18, 27, gold, True),
        ("fresh bread, rolls & pastries since 1887", 8.2, 43, cream, False),
        ("Mon-Fri 6:30-18:00   Sat 7-13   tel. 0471 / 358 260", 5.2, 55, cream, False),
    )
    for words, size, down, color, bold in lines:
        tall = min(size * unit, size * unit * 0.86 * w / text_width(words, size * unit, bold))
        text(canvas, words, (w - text_width(words, tall, bold)) / 2, top + down * unit, tall, color, bold)


def owl(height: int, width: int, seed: int) -> Rgb:
    """An owl's face: thousands of feather strokes around two bright eyes."""
    rng = np.random.default_rng(seed)
    h, w, unit = height * OVERSAMPLING, width * OVERSAMPLING, height * OVERSAMPLING / 240
    rows, columns = grid(h, w)
    canvas = mix((0.16, 0.22, 0.16), (0.40, 0.46, 0.30), 0.45 + 0.25 * noise(rng, h, w, 2.3) + 0.2 * (rows / h - 0.5))
    eyes = np.float32(((w / 2 - 44 * unit, 104 * unit), (w / 2 + 44 * unit, 104 * unit)))
    count = round(13000 * (w / unit / 320))
    root = rng.random((count, 2)) * (w, h * 1.06)
    # A head and shoulders: an ellipse, widening downwards.
    spread = 118 * unit + np.clip(root[:, 1] - 130 * unit, 0, None) * 0.75
    inside = ((root[:, 0] - w / 2) / spread) ** 2 + (np.clip(118 * unit - root[:, 1], 0, None) / (104 * unit)) ** 2 < 1
    root = root[inside]
    under = 1 - ((columns - w / 2) / (112 * unit + np.clip(rows - 130 * unit, 0, None) * 0.75)) ** 2
    under -= (np.clip(118 * unit - rows, 0, None) / (98 * unit)) ** 2
    canvas = mix(canvas, (0.30, 0.22, 0.14), under * 30)
    offset = root[:, None] - eyes[None]
    which = np.argmin((offset**2).sum(2), 1)
    away = offset[np.arange(len(root)), which]
    distance = np.hypot(*away.T) / unit
    disc_share = np.clip((66 - distance) / 14, 0, 1)[:, None]
    outward = away / (distance * unit + 1e-6)[:, None]
    down = np.stack(((root[:, 0] - w / 2) / (220 * unit), np.ones(len(root))), 1)
    way = outward * disc_share + down * (1 - disc_share)
    way /= np.hypot(*way.T)[:, None]
    order = np.argsort(-distance * disc_share[:, 0] + (1 - disc_share[:, 0]) * (root[:, 1] / unit - 600))
    turn = (rng.random(len(root)) - 0.5) * 0.5
    way = np.stack((way[:, 0] - turn * way[:, 1], way[:, 1] + turn * way[:, 0]), 1)
    colors = _plumage(rng, root, distance, disc_share, unit)
    length = (11 + 9 * rng.random(len(root))) * unit * (1 - 0.35 * disc_share[:, 0])
    curl = np.stack((-way[:, 1], way[:, 0]), 1) * (rng.random((len(root), 1)) - 0.5) * 0.35
    lines = [root[i] + length[i] * np.stack((0 * way[i], way[i] * 0.55, way[i] + curl[i])) for i in order]
    widths = np.where(rng.random(len(root)) < 0.25, 2, 1) * max(1, round(unit * 0.45))
    strokes(canvas, lines, colors[order], widths[order].tolist())
    for x, y in eyes:
        _eye(rng, canvas, float(x), float(y), 27 * unit)
    _beak(canvas, w / 2, 118 * unit, unit)
    return shrink(canvas, height, width)


def _plumage(
    rng: np.random.Generator, root: npt.NDArray[np.float64], distance: Array, face: Array, unit: float
) -> npt.NDArray[np.float64]:
    cream, brown, dark = np.array((0.90, 0.82, 0.66)), np.array((0.50, 0.34, 0.19)), np.array((0.13, 0.09, 0.06))
    bars = 0.5 + 0.5 * np.sin(root[:, 1] / (5.2 * unit) + 2.2 * np.sin(root[:, 0] / (9 * unit)))[:, None]
    body = brown + (cream - brown) * bars**2
    body = np.where(bars < 0.25, dark, body)
    rings = 0.5 + 0.5 * np.sin(distance / 3.1)[:, None]
    disk = cream + (brown - cream) * (0.25 + 0.5 * rings)
    rim = np.exp(-(((distance - 62) / 4.5) ** 2))[:, None]
    color = body + (disk - body) * face
    color = color + (dark - color) * rim * 0.85
    return np.asarray(color * (0.62 + 0.62 * rng.random((len(root), 1))))


def _eye(rng: np.random.Generator, canvas: Array, x: float, y: float, radius: float) -> None:
    rows, columns = grid(*canvas.shape[:2])
    away = np.hypot(rows - y, columns - x)
    angle = np.arctan2(rows - y, columns - x)
    rays = np.zeros_like(away)
    for waves in (17, 29, 43, 61, 89):
        rays += np.sin(waves * angle + 6.3 * rng.random() + 4 * rng.random() * away / radius)
    r = away / radius
    iris = mix((1.0, 0.80, 0.08), (0.86, 0.30, 0.01), 1.5 * r - 0.45 + 0.12 * rays)
    iris = iris * np.clip(1.25 - 0.55 * r**3 - 0.18 * (rows - y < -0.45 * radius), 0, 1.2)[..., None]
    disc(canvas, x, y, radius * 1.13, (0.06, 0.04, 0.03))
    canvas[:] = mix(canvas, np.clip(iris, 0, 1), radius - away + 0.5)
    disc(canvas, x, y, radius * 0.53, (0.0, 0.0, 0.0))
    disc(canvas, x - radius * 0.26, y - radius * 0.30, radius * 0.15, (1.0, 1.0, 1.0))
    disc(canvas, x + radius * 0.27, y + radius * 0.26, radius * 0.06, (0.62, 0.72, 0.82))


def _beak(canvas: Array, x: float, y: float, unit: float) -> None:
    t = np.linspace(0, 1, 24)
    left = np.stack((x - 12 * unit * np.sin(np.pi * (0.25 + 0.75 * t)), y + 44 * unit * t**1.1), 1)
    shape(canvas, np.concatenate((left, left[::-1] * (-1, 1) + (2 * x, 0))), (0.12, 0.11, 0.10))
    shine = left[3:18] * (0.35, 1) + (0.65 * x, 0)
    strokes(canvas, [shine], np.float32([(0.55, 0.53, 0.48)]), [max(1, round(1.6 * unit))])
