"""Which shape to give an engine that prepares itself for each: a picture's own, or that of few common boxes."""

import threading
from collections import deque

from srdeploy.spec import ModelSpec
from srdeploy.tiling import window_count

SIDES = (48, 64, 80, 96, 112, 144, 160, 192, 240, 320, 400, 480, 640, 800)
"""Of square boxes, in input pixels."""

CALL_PIXELS = 1 << 12
"""What calling an engine on a CPU costs beside its pixels."""

_FIRST_PRICE = float(1 << 16)
_MOST_PRICE = float(1 << 19)
_REMEMBERED = 512
_PRICES = 3

Shape = tuple[int, int]


class Shapes:
    """Chooses for picture after picture, as they come, so that preparing is paid for by what it saves.

    All costs are in pixels' worth of the engine's own time, as it is seen: the price of preparing is what the first
    call of a shape took longer than later ones took for as many pixels. A shape is prepared when not having had it has
    cost its price (ski rental: Karlin, Manasse, Rudolph and Sleator 1988, at most twice what who knows the future
    pays). So pictures of one size run whole, and of a hundred sizes in boxes of a few. Several threads may use one.
    """

    def __init__(self, spec: ModelSpec, halo: int) -> None:
        self._halo = halo
        self._multiple = spec.multiple
        self._sides = [side for side in SIDES if side >= spec.minimum and side % spec.multiple == 0]
        self._lock = threading.Lock()
        self._ready: set[Shape] = set()
        self._missed: dict[Shape, float] = {}
        self._run: set[Shape] = set()
        self._seconds_per_pixel: float | None = None
        self._prices: deque[float] = deque([_FIRST_PRICE], _PRICES)

    def expect(self, height: int, width: int) -> None:
        """Many pictures of this shape will come."""
        with self._lock:
            self._ready.add((height, width))

    def choose(self, height: int, width: int) -> int | None:
        """The side of the square boxes for a picture of this size, or None: it runs whole."""
        with self._lock:
            if (height, width) in self._ready:  # as each frame of a video is; boxes overlap, so none are cheaper
                return None
            costs = self._costs(height, width)
            price = max(self._prices)

            def asked(shape: Shape) -> float:
                return costs[shape] + (0 if shape in self._ready else max(0, price - self._missed.get(shape, 0)))

            chosen = min(costs, key=asked)
            paid = costs[chosen] + (0 if chosen in self._ready else price)
            if len(self._ready) + len(self._missed) > _REMEMBERED:  # an engine forgets them too
                self._ready.clear()
                self._missed.clear()
            self._ready.add(chosen)
            for shape in costs.keys() - self._ready:
                self._missed[shape] = self._missed.get(shape, 0) + max(0, paid - costs[shape])
        return None if chosen == (height, width) else chosen[0]

    def took(self, height: int, width: int, seconds: float) -> None:
        """A call with one picture or box of this size took so long."""
        pixels = height * width + CALL_PIXELS
        with self._lock:
            if (height, width) in self._run:
                rate = seconds / pixels
                self._seconds_per_pixel = min(rate, self._seconds_per_pixel or rate)
                return
            if len(self._run) > _REMEMBERED:
                self._run.clear()
            self._run.add((height, width))
            if self._seconds_per_pixel:
                self._prices.append(min(_MOST_PRICE, max(0.0, seconds / self._seconds_per_pixel - pixels)))

    def _costs(self, height: int, width: int) -> dict[Shape, float]:
        """Of the picture as a whole, and in boxes of every side that lies within it."""
        costs: dict[Shape, float] = {(height, width): height * width + CALL_PIXELS}
        for side in self._sides:
            if side > min(height, width):
                break
            rows, columns = (window_count(length, side, self._halo, self._multiple) for length in (height, width))
            if rows and columns:
                costs.setdefault((side, side), rows * columns * (side * side + CALL_PIXELS))
        return costs
