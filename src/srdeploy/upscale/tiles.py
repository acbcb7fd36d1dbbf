"""A session over pixels of any size: in tiles that fit memory, every result looked at."""

import math
import threading
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from srdeploy.backends import Session
from srdeploy.errors import ModelError, OutOfMemory
from srdeploy.inorder import in_order
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec
from srdeploy.tiling import Tile, common_tile, plan, powers_of_two, window_plan
from srdeploy.upscale.guard import is_lost
from srdeploy.upscale.memory import free_bytes, resident_bytes
from srdeploy.upscale.shapes import Shapes

TileChoice = int | Literal["auto", "none"]

MOST_BYTES = 256 << 20
"""What `auto` lets the network's tensors take at most; more makes nothing faster."""

SMALL_BYTES = 64 << 20
"""A picture that needs no more than this runs whole, and nothing is measured for it."""

LEAST_TILE = 32
"""When there is no memory for this many pixels by as many, there is none for anything."""

TILES = tuple(sorted((part << power for power in range(5, 13) for part in (2, 3)), reverse=True))
"""12288, 8192, 6144 ... 96, 64: few, so that what `auto` takes does not change with every megabyte of free memory."""

WINDOW_OVERLAP = 16
"""Pixels around a window of a file of one size whose network reads the whole picture, when none are asked for."""

BUSY_PIXELS = 1 << 20
"""That keep a GPU busy: smaller tiles go through it several at once."""

_PROBE = 192
_MARGIN = 1.25


class Log:
    """What an upscaler has to tell a person: sentences, each once, and how many results were computed again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: dict[str, None] = {}
        self._retried = 0

    def say(self, text: str) -> None:
        with self._lock:
            self._notes[text] = None

    def count_retry(self) -> None:
        with self._lock:
            self._retried += 1

    def take(self) -> tuple[int, tuple[str, ...]]:
        """How many results were computed again and what was said, since this was last asked."""
        with self._lock:
            found = self._retried, tuple(self._notes)
            self._retried, self._notes = 0, {}
            return found


class Tiled:
    """A session that takes any size. tile, halo: as in Upscaler. Several threads may call it.

    fp32: opens the session that computes again what came out wrong.
    """

    def __init__(
        self, session: Session, tile: TileChoice, halo: int | None, fp32: Callable[[], Session | None], log: Log
    ) -> None:
        self.session = session
        self._tile = tile
        self._halo = halo
        self._fp32 = fp32
        self._log = log
        self._most: int | None = None
        """A tile no larger than this, once memory has run out."""
        self._expected: set[tuple[int, int]] = set()
        self._chosen: dict[tuple[int, int], int | None] = {}
        self._bytes_per_pixel: float | None = None
        self._shapes: Shapes | None = None
        radius = session.spec.halo
        if session.prepares and tile == "auto" and halo is not None and radius is not None and halo >= radius:
            self._shapes = Shapes(session.spec, halo)
        self._lock = threading.Lock()

    def tile_for(self, height: int, width: int) -> int | None:
        """The tile side that a picture of this size is cut by; None = it runs whole, or the file has one size."""
        if self.session.spec.size is not None:
            return None
        if self._tile == "none" or self._halo is None:
            return None
        if self._tile != "auto":
            return self._tile if self._most is None else min(self._tile, self._most)
        with self._lock:
            if (height, width) not in self._chosen:
                self._chosen[height, width] = self._choose(height, width, self._halo)
            chosen = self._chosen[height, width]
        if self._most is None or (chosen is None and max(height, width) <= self._most):
            return chosen
        return self._most if chosen is None else min(chosen, self._most)

    def expect(self, height: int, width: int) -> None:
        """Many pictures of this size will come: it is worth preparing a GPU for."""
        with self._lock:
            self._expected.add((height, width))
            self._chosen.pop((height, width), None)
        if self._shapes is not None:
            self._shapes.expect(*_padded(height, width, self.session.spec))

    def __call__(self, pixels: Pixels, peak: int, out: Pixels) -> None:
        """Enlarge (H, W, C) integers, 0 .. peak, into `out`, (sH, sW, C) of the same dtype and any strides."""
        height, width, _ = pixels.shape
        spec = self.session.spec
        padded = _pad(pixels, _padded(height, width, spec))
        while True:
            tile = self.tile_for(height, width)
            try:
                return self._fill(padded, peak, out, tile)
            except (OutOfMemory, MemoryError) as error:
                self._halve(tile or max(height, width), error)

    def _fill(self, padded: Pixels, peak: int, out: Pixels, tile: int | None) -> None:
        spec, halo = self.session.spec, self._halo or 0
        scale, tall, wide = spec.scale, padded.shape[0], padded.shape[1]
        size = spec.size
        if self._shapes is not None and tile is None and (side := self._shapes.choose(tall, wide)):
            size = side, side
        if size is None:
            boxes = plan(tall, wide, tile, halo, spec.multiple, spec.minimum)
        else:
            boxes = window_plan(tall, wide, size, halo, spec.multiple)
        if self.session.at_once > 1 and tile is not None:
            self._fill_together(padded, peak, out, list(boxes))
            return
        for box in boxes:
            r, c = box.rows, box.columns
            given = padded[r.read : r.read + r.size, c.read : c.read + c.size]
            place = out[r.keep * scale : r.keep_end * scale, c.keep * scale : c.keep_end * scale]
            if place.shape[:2] == (given.shape[0] * scale, given.shape[1] * scale):
                self._enlarge(given, peak, place)
                continue
            big = np.empty((given.shape[0] * scale, given.shape[1] * scale, given.shape[2]), out.dtype)
            self._enlarge(given, peak, big)
            _keep(box, big, out, scale)

    def _fill_together(self, padded: Pixels, peak: int, out: Pixels, boxes: list[Tile]) -> None:
        """On a GPU: boxes of one shape several at once, and several such calls in flight."""
        scale = self.session.spec.scale
        tall, wide = boxes[0].rows.size, boxes[0].columns.size
        most = BUSY_PIXELS // (tall * wide) if self._most is None else 1
        groups = [[boxes.pop() for _ in range(size)] for size in powers_of_two(len(boxes), most)]

        def enlarge(group: list[Tile]) -> None:
            given = np.stack([padded[b.rows.read :, b.columns.read :][:tall, :wide] for b in group])
            big = np.empty((len(group), tall * scale, wide * scale, padded.shape[2]), out.dtype)
            for box, one, made, found in zip(group, given, big, infer(self.session, given, peak, big), strict=True):
                if found != "sound":
                    self._again(one, peak, made)
                _keep(box, made, out, scale)

        for _ in in_order(enlarge, groups, self.session.at_once):
            pass

    def _enlarge(self, given: Pixels, peak: int, big: Pixels) -> None:
        """One box through the session; at fp32 once more when what comes out is no result."""
        began = time.perf_counter()
        found = infer(self.session, given[None], peak, big[None])
        if self._shapes is not None:
            self._shapes.took(given.shape[0], given.shape[1], time.perf_counter() - began)
        if found != ["sound"]:
            self._again(given, peak, big)

    def _again(self, given: Pixels, peak: int, big: Pixels) -> None:
        self._log.count_retry()
        again = self.session if self.session.arithmetic == "fp32" else self._fp32()
        name, arithmetic = self.session.path.name, self.session.arithmetic
        if again is None:
            raise ModelError(
                f"{name} gives no numbers in {arithmetic}, and there is no fp32 file of it to compute that "
                "again; type: srdeploy export and what it was made from"
            )
        (found,) = infer(again, given[None], peak, big[None])
        if found == "no numbers":
            raise ModelError(
                f"{again.path.name} gives values that are not finite in fp32 too; export it from sound weights"
            )
        if found == "lost":
            self._log.say(f"{again.path.name} gives black or white where the picture is not, in fp32 too")
        else:
            self._log.say(f"{name} gave no numbers in {arithmetic}; those parts were computed again in fp32")

    def _halve(self, tile: int, error: Exception) -> None:
        """Note that a tile was too large. Raises what was raised when there is no smaller one to try."""
        smaller = tile // 2
        if self._tile == "none" or self._halo is None or self.session.spec.size or smaller < LEAST_TILE:
            if isinstance(error, OutOfMemory):
                raise error
            raise OutOfMemory(f"memory ran out for a tile of {tile}; close other programs") from None
        with self._lock:
            self._most = smaller if self._most is None else min(self._most, smaller)
        self._log.say("memory ran out; gone on with smaller tiles, which give the same result")

    def _choose_on_gpu(self, height: int, width: int, halo: int) -> int | None:
        """Whole, what is expected to come again and fits; else tiles of few shapes, whatever sizes come."""
        spec, free = self.session.spec, self.session.free_bytes()
        most = self.session.largest or (height, width)
        pixels = height * width
        if free is not None:  # an engine keeps two layers at a time and what it works with
            pixels = free // (2 * self.session.at_once * max(1, spec.activation_bytes))
        fits = height <= most[0] and width <= most[1] and height * width <= pixels
        if fits and (height, width) in self._expected:
            return None
        side = min(math.isqrt(pixels), *most)
        tile = common_tile(height, width, halo, side, spec.multiple, spec.minimum)
        return tile if tile is not None or fits else max(LEAST_TILE, side - 2 * halo)

    def _choose(self, height: int, width: int, halo: int) -> int | None:
        if self.session.at_once > 1:
            return self._choose_on_gpu(height, width, halo)
        spec = self.session.spec
        estimate = max(1, spec.activation_bytes)
        if height * width * estimate <= SMALL_BYTES:
            return None
        # The result has an address, but its memory is taken only as it is written.
        result = height * width * spec.scale**2 * 3 * (1 if spec.pixels == "uint8" else 2)
        free = free_bytes(result)
        budget = MOST_BYTES if free is None else min(MOST_BYTES, free // 2)
        if self._bytes_per_pixel is None and budget >= SMALL_BYTES // 2:
            self._bytes_per_pixel = self._measured(estimate)
        pixels = int(budget / (self._bytes_per_pixel or estimate))
        if height * width <= pixels:
            return None
        side = math.isqrt(pixels) - 2 * halo
        return next((tile for tile in TILES if tile <= side), LEAST_TILE)

    def _measured(self, estimate: int) -> float:
        """Bytes that this engine takes for each input pixel; engines keep what they took, so that it can be seen."""
        spec = self.session.spec
        dtype = np.uint8 if spec.pixels == "uint8" else np.float32
        side, small = (-(-max(s, spec.minimum) // spec.multiple) * spec.multiple for s in (_PROBE, 16))
        try:
            self.session.run(np.zeros((1, small, small, spec.channels), dtype))
            before = resident_bytes()
            self.session.run(np.zeros((1, side, side, spec.channels), dtype))
            after = resident_bytes()
        except OutOfMemory:
            return 4 * estimate
        if before is None or after is None:
            return estimate
        # Memory that was given back before, and not to the system, does not show: never less than a quarter.
        return max(estimate / 4, min(4 * estimate, _MARGIN * (after - before) / side**2))


def infer(session: Session, given: Pixels, peak: int, big: Pixels) -> list[Literal["sound", "lost", "no numbers"]]:
    """(N, H, W, C) integers through a uint8 or a float session into `big`, and what came out of each."""
    if session.spec.pixels == "uint8":
        session.run(given, big)
        sound = [True] * len(given)
    else:
        values = session.run(given.astype(np.float32) / np.float32(peak))
        sound = [bool(np.isfinite(one).all()) for one in values]
        np.clip(values, 0, 1, out=values)
        values *= np.float32(peak)
        for one, made, whole in zip(values, big, sound, strict=True):
            if whole:
                made[...] = np.rint(one, out=one)
    white = session.arithmetic != "int8"
    return [
        "no numbers" if not whole else "lost" if is_lost(one, made, peak, white) else "sound"
        for one, made, whole in zip(given, big, sound, strict=True)
    ]


def _keep(box: Tile, big: Pixels, out: Pixels, scale: int) -> None:
    """Put what is kept of a box's result into its place; rows and columns that only pad have none."""
    r, c = box.rows, box.columns
    place = out[r.keep * scale : r.keep_end * scale, c.keep * scale : c.keep_end * scale]
    top, left = (r.keep - r.read) * scale, (c.keep - c.read) * scale
    place[...] = big[top : top + place.shape[0], left : left + place.shape[1]]


def window_overlap(spec: ModelSpec) -> int:
    """Pixels around what is kept of each window of a file of one size: its halo, or what leaves half of the window."""
    assert spec.size is not None
    half = min(spec.size) // 4
    if spec.halo is None:
        return min(WINDOW_OVERLAP, half)
    return spec.halo if min(spec.size) - 2 * spec.halo >= spec.multiple else half


def _padded(height: int, width: int, spec: ModelSpec) -> tuple[int, int]:
    """The sides that a picture gets before it goes into a network, which may want multiples, or as many pixels."""
    low, narrow = spec.size or (spec.minimum, spec.minimum)
    multiple = spec.multiple
    return -(-max(height, low) // multiple) * multiple, -(-max(width, narrow) // multiple) * multiple


def _pad(pixels: Pixels, sides: tuple[int, int]) -> Pixels:
    """Repeat the last row and column until a picture has these sides."""
    bottom, right = sides[0] - pixels.shape[0], sides[1] - pixels.shape[1]
    if not bottom and not right:
        return pixels
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")
