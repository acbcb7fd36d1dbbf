"""The clip: a camera that passes a village and closes in on it, a windmill that turns, a small tune."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from draw import Array, below, bricks, fill, grid, mix, noise, profile, relief, shape, shrink, strokes, text, text_width
from scenes import clock, grass, pine, window

HEIGHT, WIDTH, FRAMES, RATE = 270, 480, 100, 25
SOUND_RATE = 48000
SEED = 2026

_ZOOM = 2  # canvas pixels for one pixel of the clip
_TALL, _WIDE = HEIGHT * _ZOOM, WIDTH * _ZOOM
_SPEEDS = (1, 2, 3)  # canvas pixels a frame: sky, hills, village
_MILL = (700, 176)  # hub of the windmill on the hills' canvas

Painter = Callable[[np.random.Generator, Array], None]
Layer = tuple[Array, Array]


def frames() -> Iterator[npt.NDArray[np.uint8]]:
    """The clip's FRAMES frames, uint8 RGB (HEIGHT, WIDTH, 3)."""
    layers = scenery()
    for number in range(FRAMES):
        yield frame(layers, number)


def scenery() -> list[Layer]:
    """Sky, hills and village, each wide enough for the whole journey: colours times coverage, and coverage."""
    painters: tuple[Painter, ...] = (_sky, _hills, _village)
    return [_layer(paint, _WIDE + FRAMES * speed, SEED) for paint, speed in zip(painters, _SPEEDS, strict=True)]


def frame(layers: list[Layer], number: int) -> npt.NDArray[np.uint8]:
    """One frame, uint8 RGB (HEIGHT, WIDTH, 3)."""
    canvas = fill(_TALL, _WIDE, (0, 0, 0))
    for index, ((colors, coverage), speed) in enumerate(zip(layers, _SPEEDS, strict=True)):
        part = slice(speed * number, speed * number + _WIDE)
        canvas = canvas * (1 - coverage[:, part]) + colors[:, part]
        if index == 1:
            _sails(canvas, _MILL[0] - speed * number, _MILL[1], number / RATE)
    closer = 1 + 0.14 * (0.5 - 0.5 * np.cos(np.pi * number / FRAMES))
    turn = cv2.getRotationMatrix2D((_WIDE * 0.5, _TALL * 0.62), 0, closer)
    return shrink(cv2.warpAffine(canvas, turn, (_WIDE, _TALL), flags=cv2.INTER_LINEAR), HEIGHT, WIDTH)


def tune() -> npt.NDArray[np.float32]:
    """The sound of the clip: float32 (2, samples), -1 .. 1, plucked notes and a soft bass, SOUND_RATE a second."""
    length = SOUND_RATE * FRAMES // RATE
    result = np.zeros((2, length))
    melody = (67, 71, 74, 76, 74, 71, 69, 71, 67, 64, 67, 71, 69, 66, 67, 79)
    for index, note in enumerate(melody):
        _pluck(result, index * 0.25, note, 0.22, 0.30 + 0.4 * (index % 2))
    for index, note in enumerate((43, 40, 36, 38)):
        for third in (0, 7, 12):
            _pluck(result, index * 1.0 + third * 0.004, note + third, 0.11, 0.5)
    fade = np.clip((length - np.arange(length)) / (0.15 * SOUND_RATE), 0, 1)
    return (result * fade).astype(np.float32)


def write(path: Path) -> None:
    """Encode the clip: H.264 4:2:0 in BT.709, AAC stereo, MP4. libx264's bytes are not the same in each run."""
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        settings = {"crf": "20", "preset": "slow", "threads": "1"}
        video = container.add_stream(
            "libx264", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p", options=settings
        )
        context = video.codec_context
        context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        context.color_trc, context.color_range = ColorTrc.BT709, ColorRange.MPEG
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="stereo", bit_rate=96000)
        for number, pixels in enumerate(frames()):
            rgb = av.VideoFrame.from_ndarray(pixels, "rgb24")
            yuv = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            yuv.pts, yuv.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(yuv))
        container.mux(video.encode(None))
        samples = tune()
        for start in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "stereo")
            block.sample_rate, block.pts, block.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))


def _layer(paint: Painter, width: int, seed: int) -> Layer:
    """Paint on black and on white: where the two differ, what is behind shows through."""
    black, white = fill(_TALL, width, (0, 0, 0)), fill(_TALL, width, (1, 1, 1))
    for canvas in (black, white):
        paint(np.random.default_rng(seed), canvas)
    return black, np.clip(1 - (white - black).mean(2, keepdims=True), 0, 1)


def _sky(rng: np.random.Generator, canvas: Array) -> None:
    h, w = canvas.shape[:2]
    rows, _ = grid(h, w)
    air = mix((0.22, 0.46, 0.80), (0.80, 0.89, 0.96), rows / (0.6 * h))
    clouds = noise(rng, h, w, 1.6, (1, 2.2))
    shade = mix((0.74, 0.79, 0.86), (1, 1, 0.98), 0.6 * relief(noise(rng, h, w, 2.2), 0.7))
    canvas[:] = mix(air, shade, 1.1 * np.clip(clouds - 0.1, 0, 1))


def _hills(rng: np.random.Generator, canvas: Array) -> None:
    h, w = canvas.shape[:2]
    for level, color in ((0.44, (0.46, 0.55, 0.62)), (0.55, (0.28, 0.44, 0.26))):
        skyline = profile(rng, w, level * h, 0.045 * h, 1.7)
        rock = relief(noise(rng, h, w, 1.5), 0.26)[..., None]
        canvas[:] = mix(canvas, np.clip(np.float32(color) * rock, 0, 1), below(skyline, h))
    for x in np.sort(rng.random(110)) * (w - 1):
        pine(rng, canvas, x, skyline[int(x)] + 12 + 40 * rng.random(), 26 + 34 * rng.random(), 1.5)
    x, y = _MILL
    shape(canvas, [(x - 24, y + 4), (x + 24, y + 4), (x + 42, y + 190), (x - 42, y + 190)], (0.90, 0.87, 0.80))
    shape(canvas, [(x + 4, y + 4), (x + 24, y + 4), (x + 42, y + 190), (x + 12, y + 190)], (0.74, 0.70, 0.64))
    shape(canvas, [(x - 30, y + 8), (x, y - 34), (x + 30, y + 8)], (0.45, 0.18, 0.12))
    shape(canvas, [(x - 7, y + 50), (x + 7, y + 50), (x + 7, y + 70), (x - 7, y + 70)], (0.15, 0.16, 0.2))


def _sails(canvas: Array, x: float, y: float, seconds: float) -> None:
    lines, widths = [], []
    for quarter in range(4):
        angle = 0.3 + 0.9 * seconds + quarter * np.pi / 2
        along, aside = np.array((np.cos(angle), np.sin(angle))), np.array((-np.sin(angle), np.cos(angle)))
        hub = np.array((x, y))
        for side in (0, 11, 22):
            lines.append(np.stack((hub + 22 * along + side * aside, hub + 108 * along + side * aside)))
        lines += [np.stack((hub + r * along, hub + r * along + 22 * aside)) for r in range(22, 109, 9)]
        lines.append(np.stack((hub, hub + 112 * along)))
        widths += [1] * 13 + [4]
    strokes(canvas, lines, np.full((len(lines), 3), (0.20, 0.14, 0.10)), widths)


def _village(rng: np.random.Generator, canvas: Array) -> None:
    h, w = canvas.shape[:2]
    walls = ((0.60, 0.29, 0.20), (0.80, 0.66, 0.42), (0.52, 0.24, 0.20), (0.72, 0.70, 0.66), (0.66, 0.38, 0.24))
    signs = ("CAFE MERIDIAN", "Books & Maps", "STATION", "Tailor since 1887", "OLD MILL BAKERY")
    wide = w / len(walls)
    for index, (wall, sign) in enumerate(zip(walls, signs, strict=True)):
        _house(rng, canvas, round(index * wide), round(wide), wall, sign)
    clock(canvas, 2.5 * wide, 0.595 * h, 24)
    bank = profile(rng, w, 0.93 * h, 0.006 * h, 1.7)
    canvas[:] = mix(canvas, (0.07, 0.11, 0.05), below(bank, h))
    grass(rng, canvas, bank, 1.6)


def _house(rng: np.random.Generator, canvas: Array, x: int, wide: int, wall: tuple[float, ...], sign: str) -> None:
    h = canvas.shape[0]
    eaves = round((0.58 + 0.05 * rng.random()) * h)
    ridge = eaves - round((0.10 + 0.05 * rng.random()) * h)
    front = canvas[eaves:, x : x + wide]
    front[:] = bricks(rng, *front.shape[:2], 13, wall)
    inset = 0.10 * wide
    roof = [(x - 6, eaves), (x + inset, ridge), (x + wide - inset, ridge), (x + wide + 6, eaves)]
    shape(canvas, roof, (0.33, 0.15, 0.12) if wall[0] > 0.7 else (0.25, 0.28, 0.34))
    for row in np.arange(ridge + 6, eaves, 7):
        reach = inset * (eaves - row) / (eaves - ridge)
        columns = np.arange(x + reach, x + wide - reach, 5.0)
        scallops = np.stack((columns, row + 2.5 * (np.arange(len(columns)) % 2)), 1)
        strokes(canvas, [scallops], np.float32([(0.10, 0.09, 0.10)]), [1])
    strokes(canvas, [np.float32(((x - 6, eaves), (x + wide + 6, eaves)))], np.float32([(0.95, 0.94, 0.90)]), [5])
    for share in (0.17, 0.65):
        window(rng, canvas, x + share * wide, eaves + 0.05 * h, 0.18 * wide, 0.13 * h)
    board = np.float32(((0.08, 0.225), (0.92, 0.225), (0.92, 0.295), (0.08, 0.295))) * (wide, h) + (x, eaves)
    shape(canvas, board, tuple(0.12 + 0.2 * rng.random(3)))
    size = min(20.0, 20 * 0.76 * wide / text_width(sign, 20))
    left = x + (wide - text_width(sign, size)) / 2
    text(canvas, sign, left, eaves + 0.26 * h + size / 2, size, (0.97, 0.93, 0.80))


def _pluck(result: npt.NDArray[np.float64], start: float, note: int, loudness: float, right: float) -> None:
    """Add a plucked string: harmonics that fade the faster the higher; note as in MIDI, 69 = 440 Hz."""
    begin = round(start * SOUND_RATE)
    seconds = np.arange(result.shape[1] - begin) / SOUND_RATE
    frequency = 440 * 2 ** ((note - 69) / 12)
    tone = np.zeros_like(seconds)
    for harmonic in range(1, 7):
        fade = np.exp(-seconds * (2.2 + 1.5 * harmonic))
        tone += fade * np.sin(2 * np.pi * harmonic * frequency * seconds) / harmonic**1.4
    tone *= loudness * np.clip(seconds / 0.004, 0, 1)
    result[:, begin:] += np.array(((1 - right,), (right,))) * tone
