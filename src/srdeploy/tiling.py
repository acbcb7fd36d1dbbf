"""Exact tiles: which box of the input to read, and which part of its result to keep.

With a halo of the network's receptive radius, what is kept of each tile equals the same part of the whole result:
zero padding inside the network then reaches only pixels that are thrown away, except at the picture's own border,
where the whole picture has it too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

COMMON = range(64, 1025, 32)
"""Tiles for pictures whose sizes differ."""

BOX_PIXELS = 1 << 14
"""What calling an engine costs beside its pixels."""


@dataclass(frozen=True)
class Span:
    """One axis of a tile, in input pixels: read [read, read + size), keep [keep, keep_end)."""

    read: int
    size: int
    keep: int
    keep_end: int


@dataclass(frozen=True)
class Tile:
    """The box to read and the box to keep, rows then columns."""

    rows: Span
    columns: Span


def spans(length: int, tile: int, halo: int, multiple: int = 1, minimum: int = 1) -> list[Span]:
    """Cut an axis of `length` pixels into spans that keep at most `tile` pixels each and read the same size each.

    Every read box has the size tile + 2 * halo (at least `minimum`, rounded up to `multiple`), shifted inwards at the
    ends, and begins at a multiple of `multiple` where the network needs it; so an engine meets one shape only. An axis
    no longer than one read box is one span. Raises ValueError when `length` is no multiple of `multiple` (pad it).
    """
    if length % multiple:
        raise ValueError(f"length {length} is not a multiple of {multiple}")
    size = _up(max(tile + 2 * halo, minimum), multiple) + (multiple if multiple > 1 else 0)
    if size >= length:
        return [Span(0, length, 0, length)]
    count = -(-length // tile)
    step = -(-length // count)  # even tiles: the last one is not a sliver
    result = []
    for keep in range(0, length, step):
        keep_end = min(keep + step, length)
        read = min(max(keep - halo, 0) // multiple * multiple, length - size)
        result.append(Span(read, size, keep, keep_end))
    return result


def common_tile(height: int, width: int, halo: int, limit: int, multiple: int = 1, minimum: int = 1) -> int | None:
    """A tile for a picture of any size whose read boxes have one of few shapes, so that an engine that prepares itself
    for each shape has few to prepare for; None when the picture is smaller than the smallest.

    Of COMMON, the one that reads the fewest pixels, each box counted as BOX_PIXELS more than it has. limit: the most
    pixels that a side of a read box may have.
    """
    best: tuple[int, int] | None = None
    for tile in COMMON:
        size = _up(max(tile + 2 * halo, minimum), multiple) + (multiple if multiple > 1 else 0)
        if size > min(height, width, limit):
            break
        cost = -(-height // tile) * -(-width // tile) * (size * size + BOX_PIXELS)
        if best is None or cost <= best[0]:
            best = cost, tile
    return None if best is None else best[1]


def powers_of_two(count: int, most: int) -> list[int]:
    """So many things in groups of 2**n, the largest first and none above `most`: groups of few sizes, and none left."""
    groups = []
    while count:
        size = 1 << (min(count, max(1, most)).bit_length() - 1)
        groups.append(size)
        count -= size
    return groups


def window_count(length: int, size: int, halo: int, multiple: int = 1) -> int:
    """How many spans `windows` would give; 0 where it would raise."""
    step = (size - 2 * halo) // multiple * multiple
    return 0 if length < size or step < 1 or length % multiple else 1 + -(-(length - size) // step)


def windows(length: int, size: int, halo: int, multiple: int = 1) -> list[Span]:
    """Cut an axis into spans that read exactly `size` pixels each, for a network that takes no other number.

    Windows lie `size` - 2 * `halo` apart, the last one shifted inwards, and begin at a multiple of `multiple`; each
    keeps what lies `halo` inside. Raises ValueError when the axis is shorter than a window or no multiple (pad it
    first), or when the halo leaves nothing to keep.
    """
    if not window_count(length, size, halo, multiple):
        raise ValueError(f"{length} pixels in windows of {size} with a halo of {halo}, multiples of {multiple}")
    step = (size - 2 * halo) // multiple * multiple
    reads = [*range(0, length - size, step), length - size]
    cuts = [0, *(read + halo for read in reads[1:]), length]
    return [Span(read, size, cuts[i], cuts[i + 1]) for i, read in enumerate(reads)]


def window_plan(height: int, width: int, size: tuple[int, int], halo: int, multiple: int = 1) -> Iterator[Tile]:
    """Yield the windows of one (height, width) that cover a picture, row by row."""
    columns = windows(width, size[1], halo, multiple)
    for row in windows(height, size[0], halo, multiple):
        for column in columns:
            yield Tile(row, column)


def plan(height: int, width: int, tile: int | None, halo: int, multiple: int = 1, minimum: int = 1) -> Iterator[Tile]:
    """Yield the tiles of a picture, row by row; `tile` None gives one tile, the whole picture."""
    if tile is None:
        yield Tile(Span(0, height, 0, height), Span(0, width, 0, width))
        return
    columns = spans(width, tile, halo, multiple, minimum)
    for row in spans(height, tile, halo, multiple, minimum):
        for column in columns:
            yield Tile(row, column)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
