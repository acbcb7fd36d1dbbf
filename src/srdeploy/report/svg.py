"""Plots as SVG text, small enough to read on a phone: bars, points, lines. Standard library only."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
"""Of every plot, in its own units: on a phone one to a pixel, so that its letters of 12 stay readable."""

COLOURS = ("#1f6fb2", "#c2571a", "#2b8a3e", "#7b4bb3", "#b0273c", "#0f7f86", "#8a6d1a", "#555f6b")
"""By series, in order; each has a contrast of more than 4 to white."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44
_LETTER = 6.4
"""Width of a letter at 12 units, about: to keep labels from covering each other."""


_STEP, _NEAR = 13, 45
"""Between two lines of labels; and between points that share a label."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of something drawn."""


@dataclass(frozen=True)
class Bar:
    """One bar and what is written above it. low, high: the interval drawn across its end. series: its colour."""

    label: str
    value: float
    low: float
    high: float
    series: str


@dataclass(frozen=True)
class Point:
    """One point of a plot; its label stands beside it. hollow: drawn as a ring, for what others published."""

    x: float
    y: float
    label: str
    series: str
    hollow: bool = False


def bars(rows: Sequence[Bar], colours: Mapping[str, str]) -> str:
    """Horizontal bars of milliseconds from zero, label and value above each. colours: of each series (`palette`)."""
    most = max(max(row.high, row.value) for row in rows)
    step = 36
    parts: list[str] = []
    for index, row in enumerate(rows):
        top = index * step
        time = f"{_number(row.value)} ms" if row.value < 1000 else f"{_number(row.value / 1000)} s"
        length = row.value / most * (WIDTH - 4)
        low, high = (bound / most * (WIDTH - 4) for bound in (row.low, row.high))
        parts += [
            f'<text x="0" y="{top + 13}">{escape(row.label)}</text>',
            f'<text x="{WIDTH}" y="{top + 13}" text-anchor="end" font-weight="600">{time}</text>',
            f'<rect x="0" y="{top + 18}" width="{length:.1f}" height="10" rx="2" fill="{colours[row.series]}"/>',
            f'<path d="M{low:.1f} {top + 23}H{high:.1f}" stroke="#111" stroke-width="2"/>',
        ]
    return _svg(len(rows) * step, parts)


def scatter(points: Sequence[Point], x_label: str, y_label: str, colours: Mapping[str, str], height: int = 320) -> str:
    """Points over a logarithmic x axis, labels beside them, and a legend below. All x are above 0.

    Of points near each other with the same label one is labelled; a label further off has a line to its point, and one
    that has no place is shown as the point is pointed at, as every one is.
    """
    frame = _Frame([p.x for p in points], [p.y for p in points], height, log_y=False)
    parts = [*frame.axes(x_label, y_label)]
    taken: list[Box] = []
    named: dict[str, list[tuple[float, float]]] = {}
    for point in sorted(points, key=lambda p: -p.y):
        x, y = frame.place(point.x, point.y)
        colour = colours[point.series]
        inside = f'fill="#fff" stroke="{colour}" stroke-width="2"' if point.hollow else f'fill="{colour}"'
        title = f"<title>{escape(point.label)}, {escape(point.series)}: {_number(point.x)}, {point.y:.2f}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {inside}>{title}</circle>')
        taken.append((x - 5, y - 5, x + 5, y + 5))
    for point in sorted(points, key=lambda p: -p.y):
        x, y = frame.place(point.x, point.y)
        near = (math.hypot(x - a, y - b) < _NEAR for a, b in named.get(point.label, ()))
        box = None if any(near) else _free(x, y, len(point.label) * _LETTER, taken, height)
        if box is None:
            continue
        taken.append(box)
        named.setdefault(point.label, []).append((x, y))
        middle, nearest = (box[1] + box[3]) / 2, min(max(x, box[0]), box[2])
        if abs(middle - y) > _STEP:
            parts.append(f'<path d="M{x:.1f} {y:.1f}L{nearest:.1f} {middle:.1f}" stroke="#8a929c" stroke-width="0.8"/>')
        place = f'x="{box[2]:.1f}" text-anchor="end"' if box[2] < x else f'x="{box[0]:.1f}"'
        parts.append(f'<text {place} y="{box[3] - 3:.1f}">{escape(point.label)}</text>')
    shown = {name: colours[name] for name in dict.fromkeys(point.series for point in points)}
    return _with_legend(height, parts, shown)


def lines(points: Sequence[Point], x_label: str, y_label: str, colours: Mapping[str, str], height: int = 320) -> str:
    """One line for each series over two logarithmic axes, and a legend below. All values are above 0."""
    frame = _Frame([p.x for p in points], [p.y for p in points], height, log_y=True)
    parts = [*frame.axes(x_label, y_label)]
    for name, colour in colours.items():
        places = [frame.place(p.x, p.y) for p in sorted(points, key=lambda p: p.x) if p.series == name]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return _with_legend(height, parts, colours)


def palette(series: Sequence[str]) -> dict[str, str]:
    """A colour for each series, in the order in which they first come."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(series))}


class _Frame:
    """Where values stand in a plot, and its axes."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], height: int, log_y: bool) -> None:
        self.height = height
        self.log_y = log_y
        self.x0, self.x1 = _log_range(xs)
        if log_y:
            self.y0, self.y1 = _log_range(ys)
        else:
            space = max((max(ys) - min(ys)) * 0.12, (0.4 - (max(ys) - min(ys))) / 2)
            self.y0, self.y1 = min(ys) - space, max(ys) + space

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - self.x0) / (self.x1 - self.x0)
        up = ((math.log10(y) if self.log_y else y) - self.y0) / (self.y1 - self.y0)
        return (
            _LEFT + across * (WIDTH - _LEFT - _RIGHT),
            self.height - _BOTTOM - up * (self.height - _TOP - _BOTTOM),
        )

    def axes(self, x_label: str, y_label: str) -> Iterator[str]:
        bottom, right = self.height - _BOTTOM, WIDTH - _RIGHT
        for value in _log_ticks(self.x0, self.x1):
            x, _ = self.place(value, 10**self.y0 if self.log_y else self.y0)
            yield f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#e3e6ea"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>'
        ticks = _log_ticks(self.y0, self.y1) if self.log_y else _linear_ticks(self.y0, self.y1)
        for value in ticks:
            _, y = self.place(10**self.x0, value)
            yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e3e6ea"/>'
            text = _number(value) if self.log_y else f"{value:.2f}".rstrip("0").rstrip(".")
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        yield f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#8a929c"/>'
        yield f'<text x="{(right + _LEFT) / 2:.1f}" y="{self.height - 8}" text-anchor="middle">{escape(x_label)}</text>'
        middle = (bottom + _TOP) / 2
        yield (
            f'<text transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )


def _free(x: float, y: float, width: float, taken: Sequence[Box], height: int) -> Box | None:
    """A place for a label near (x, y) that covers nothing yet: right or left of the point, then up and down."""
    for shift in (0, *(sign * _STEP * step for step in range(1, 8) for sign in (-1, 1))):
        for start in (x + 9, x - 9 - width):
            box = (start, y + shift - 6, start + width, y + shift + 7)
            inside = box[0] >= _LEFT and box[2] <= WIDTH and box[1] >= _TOP - 8 and box[3] <= height - _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                return box
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    """Decimal logarithms of the ends of an axis: some space around the values, and a factor of 2.5 at least."""
    low, high = math.log10(min(values)), math.log10(max(values))
    space = max((high - low) * 0.08, (0.4 - (high - low)) / 2)
    return low - space, high + space


def _log_ticks(low: float, high: float) -> list[float]:
    """As many round values as have room: at every half, at 1, 2, 5, at 1, 3, or at powers of ten."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for steps in ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) <= 6:
            break
    return ticks


def _linear_ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (step * times) <= 7)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _with_legend(height: int, parts: list[str], colours: Mapping[str, str]) -> str:
    for index, (name, colour) in enumerate(colours.items()):
        y = height + 4 + index * 18
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 18}" y="{y + 10.5}">{escape(name)}</text>')
    return _svg(height + 8 + len(colours) * 18, parts)


def _number(value: float) -> str:
    """Three digits, as a person writes them."""
    if value >= 1e9:
        return f"{_number(value / 1e9)} G"
    if value >= 1e6:
        return f"{_number(value / 1e6)} M"
    if value >= 1e4:
        return f"{_number(value / 1e3)} k"
    return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.3g}'):g}"


def _svg(height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#1c2127">'
    )
    background = f'<rect width="{WIDTH}" height="{height:g}" fill="#fff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
