"""Directories of tags, as TIFF files and EXIF blocks have them (TIFF 6.0, section 2; Exif 2.32; BigTIFF).

OpenCV reads and writes a TIFF's pixels but none of its tags, and of EXIF it gives the block and nothing in it.
"""

import struct
from dataclasses import dataclass
from mmap import mmap

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 332, 338, 339
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
XMP, ICC, EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY = 700, 34675, 0x8769, 0x8825, 0xA005
PIXELS_ACROSS, PIXELS_DOWN = 0xA002, 0xA003

_SUB_DIRECTORIES, _DNG_VERSION = 330, 50706

MOST_PAGES = 1000

_NESTED = frozenset({EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY})
# Of a TIFF's first directory, what describes the picture and not how its pixels are laid out.
_DESCRIBING = frozenset(
    {269, 270, 271, 272, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, 285, RESOLUTION_UNIT, 305, 306, 315, 316, 33432}
    | {EXIF_DIRECTORY, GPS_DIRECTORY}
)
# Bytes of one value of each type, and bytes of the units in which it is swapped.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}


@dataclass(frozen=True)
class Entry:
    """One tag: its type and its values' bytes, in little-endian order whatever the file's was."""

    kind: int
    data: bytes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The values of a tag of whole numbers; of a rational one its numerators and denominators."""
        form = "I" if self.kind == 5 else _INTEGERS.get(self.kind)
        if form is None:
            return ()
        size = struct.calcsize(form)
        return struct.unpack(f"<{len(self.data) // size}{form}", self.data)


Directory = dict[int, "Entry | Directory"]
Bytes = bytes | mmap | memoryview
"""A file's bytes, wherever they are; a memoryview is of bytes and read-only."""


def short(value: int) -> Entry:
    """A tag of one 16-bit number."""
    return Entry(3, struct.pack("<H", value))


def rational(value: float) -> Entry:
    """A tag of one positive fraction, to four decimals."""
    return Entry(5, struct.pack("<II", round(value * 10000), 10000))


def numbers(directory: Directory, tag: int) -> tuple[int, ...]:
    """The whole numbers of a tag; () where it is missing or of another type."""
    entry = directory.get(tag)
    return entry.numbers if isinstance(entry, Entry) else ()


def is_raw(data: Bytes, page: Directory) -> bool:
    """Whether a file that begins with this page is what a camera's sensor gave: a DNG, a CR2, or a preview before the
    directories of others (SubIFDs of a reduced picture, TIFF/EP)."""
    reduced = numbers(page, 254)[:1] == (1,)
    return _DNG_VERSION in page or data[8:11] == b"CR\2" or (reduced and _SUB_DIRECTORIES in page)


def pages(data: Bytes, most: int = MOST_PAGES) -> list[Directory]:
    """The directories of a TIFF's pages, at most `most`. What is damaged is left out, never an error."""
    form = _Form.of(data)
    found: list[Directory] = []
    if form is None:
        return found
    seen: set[int] = set()
    at = form.first
    while at and at not in seen and len(found) < most:
        seen.add(at)
        try:
            directory, at = _read(data, at, form, depth=0)
        except struct.error:
            break
        found.append(directory)
    return found


def exif_of_page(directory: Directory) -> bytes | None:
    """What a TIFF's page says of itself, as an EXIF block; None where it says nothing."""
    kept = {tag: entry for tag, entry in directory.items() if tag in _DESCRIBING}
    return b"II*\0\x08\0\0\0" + _written(kept, 8) if kept else None


def with_tags(data: bytes, exif: bytes | None, tags: Directory) -> bytes:
    """A TIFF of one page with more tags; see tags_added."""
    head, tail, _ = tags_added(data, exif, tags)
    return head + data[8:] + tail


def tags_added(data: Bytes, exif: bytes | None, tags: Directory, at: int = 0) -> tuple[bytes, bytes, int]:
    """A TIFF of one page gets more tags: what goes over its first eight bytes and what behind its last one, and where
    its directory's link to the next stands then.

    data: a little-endian TIFF. exif: a block whose description is taken over. tags: go before the block's own.
    at: where in a file of several pages the bytes will stand; all places in the result count from that file's start.
    """
    (page,) = pages(data, 1)
    page[STRIPS] = Entry(4, struct.pack(f"<{len(numbers(page, STRIPS))}I", *(n + at for n in numbers(page, STRIPS))))
    describing: Directory = {}
    if exif is not None:
        describing = {tag: entry for tag, entry in (pages(exif, 1) or [{}])[0].items() if tag in _DESCRIBING}
    start = len(data) + len(data) % 2
    merged = describing | page | tags
    tail = b"\0" * (start - len(data)) + _written(merged, start + at)
    return b"II*\0" + struct.pack("<I", start + at), tail, start + 2 + 12 * len(merged) + at


def orientation(exif: bytes | None) -> int:
    """EXIF orientation 1..8 (tag 0x0112); 1 where the block has none or is damaged."""
    found = numbers((pages(exif or b"", 1) or [{}])[0], ORIENTATION)
    return found[0] if found and 1 <= found[0] <= 8 else 1


def says_orientation(exif: bytes | None) -> bool:
    """Whether an EXIF block has the tag of orientation at all."""
    return ORIENTATION in (pages(exif or b"", 1) or [{}])[0]


def resolution(directory: Directory) -> tuple[float, float] | None:
    """Pixels for one inch, across and down; None where they are not said."""
    across, down = numbers(directory, X_RESOLUTION), numbers(directory, Y_RESOLUTION)
    unit = (numbers(directory, RESOLUTION_UNIT) or (2,))[0]
    if (
        len(across) != 2
        or len(down) != 2
        or not (across[0] and across[1] and down[0] and down[1])
        or unit not in (2, 3)
    ):
        return None
    factor = 2.54 if unit == 3 else 1.0
    return across[0] / across[1] * factor, down[0] / down[1] * factor


def exif_resolution(exif: bytes | None) -> tuple[float, float] | None:
    """`resolution` of an EXIF block."""
    return resolution((pages(exif or b"", 1) or [{}])[0])


def patched_exif(exif: bytes, values: dict[int, int]) -> bytes:
    """The block with new numbers in those of the tags `values` that it has, and without its thumbnail.

    Written in place, so that everything else, makers' notes with their offsets included, stays where it is.
    """
    form = _Form.of(exif)
    if form is None or form.big:
        return exif
    block = bytearray(exif)
    _patch(block, form, form.first, values, depth=0)
    return bytes(block)


def _patch(block: bytearray, form: "_Form", at: int, values: dict[int, int], depth: int) -> None:
    try:
        (count,) = struct.unpack_from(form.order + "H", block, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(form.order + "HHI", block, entry)
            if tag in values and kind in (3, 4) and values[tag] < 1 << (16 if kind == 3 else 32):
                struct.pack_into(form.order + _INTEGERS[kind], block, entry + 8, values[tag])
            elif tag == EXIF_DIRECTORY and depth == 0:
                (nested,) = struct.unpack_from(form.order + "I", block, entry + 8)
                _patch(block, form, nested, values, depth + 1)
        if depth == 0:  # the second directory is the thumbnail: small, and not turned as the picture now is
            struct.pack_into(form.order + "I", block, at + 2 + 12 * count, 0)
    except struct.error:  # a damaged block stays as it is
        return


@dataclass(frozen=True)
class _Form:
    """Byte order, TIFF or BigTIFF, and where the first directory stands."""

    order: str
    big: bool
    first: int

    @staticmethod
    def of(data: Bytes) -> "_Form | None":
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
        if order is None or len(data) < 8:
            return None
        (magic,) = struct.unpack_from(order + "H", data, 2)
        if magic == 42:
            return _Form(order, False, struct.unpack_from(order + "I", data, 4)[0])
        if magic == 43 and len(data) >= 16:
            return _Form(order, True, struct.unpack_from(order + "Q", data, 8)[0])
        return None


def _read(data: Bytes, at: int, form: _Form, depth: int) -> tuple[Directory, int]:
    if at >= len(data):  # of a BigTIFF it may be more than Python's own buffers can count
        raise struct.error("a directory beyond the end")
    counter, record, offset = ("Q", "HHQ", "Q") if form.big else ("H", "HHI", "I")
    step, inline = (20, 8) if form.big else (12, 4)
    (count,) = struct.unpack_from(form.order + counter, data, at)
    at += struct.calcsize(form.order + counter)
    # What does not fit into the file is cut here and not met one by one.
    whole = min(count, max(0, len(data) - at) // step)
    directory: Directory = {}
    for entry in range(at, at + step * whole, step):
        tag, kind, values = struct.unpack_from(form.order + record, data, entry)
        size = _SIZES.get(kind, 0) * values
        place = entry + step - inline
        if size > inline:
            (place,) = struct.unpack_from(form.order + offset, data, place)
        if size == 0 or place + size > len(data):
            continue
        value = Entry(kind, _little(bytes(data[place : place + size]), kind, form.order))
        if tag in _NESTED and depth < 2:
            try:
                directory[tag] = _read(data, value.numbers[0], form, depth + 1)[0]
            except (struct.error, IndexError):
                continue
        else:
            directory[tag] = value
    (following,) = struct.unpack_from(form.order + offset, data, at + step * count) if whole == count else (0,)
    return directory, following


def _little(data: bytes, kind: int, order: str) -> bytes:
    unit = _UNITS.get(kind, 1)
    if order == "<" or unit == 1:
        return data
    return b"".join(data[i : i + unit][::-1] for i in range(0, len(data), unit))


def _written(directory: Directory, at: int) -> bytes:
    """A directory as it stands at `at` in a little-endian file, its values and nested directories behind it."""
    head, tail = struct.pack("<H", len(directory)), b""
    behind = at + 2 + 12 * len(directory) + 4
    for tag, entry in sorted(directory.items()):
        if isinstance(entry, dict):
            kind, count, data = 4, 1, b""
        else:
            kind, count, data = entry.kind, len(entry.data) // _SIZES[entry.kind], entry.data
        if isinstance(entry, Entry) and len(data) <= 4:
            head += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
            continue
        head += struct.pack("<HHII", tag, kind, count, behind + len(tail))
        tail += _written(entry, behind + len(tail)) if isinstance(entry, dict) else data
        tail += b"\0" * (len(tail) % 2)
    return head + struct.pack("<I", 0) + tail
