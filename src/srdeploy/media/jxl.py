"""JPEG XL: its head read here, before any decoder runs; its pixels, with all their bits, by imagecodecs."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srdeploy.errors import InputError
from srdeploy.extras import require
from srdeploy.media.samples import in_two, scaled, to_picture, unassociated
from srdeploy.picture import Picture, Pixels
from srdeploy.quiet import captured_stderr

_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_MOST = 64 << 20
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
ALPHA, BLACK = 0, 4


@dataclass(frozen=True)
class Head:
    """What a JPEG XL says of itself (ISO/IEC 18181-1, annex D).

    width, height: as stored, before it is turned. bits: of a sample. extra: what the first channel beside the colours
    is (ALPHA, BLACK), None without one. premultiplied: colours are stored multiplied by alpha.
    """

    width: int
    height: int
    bits: int
    animated: bool
    extra: int | None
    premultiplied: bool


def head_of(data: bytes) -> Head | None:
    """The head of a file, bare or in its container; None where it is not understood."""
    try:
        return _head(_Bits(_codestream(data)[:4096]))
    except (IndexError, ValueError):
        return None


def decode(path: Path, data: bytes, notes: list[str]) -> Picture:
    """The picture of a file, upright, with all its bits; of an animation the first, which `notes` then say.

    Raises InputError for what is damaged or CMYK, MissingExtra without the libraries.
    """
    from srdeploy.media import pillow  # which reads heads, and so this module

    head = head_of(data)
    if head is None:
        raise InputError(f"{path} is damaged or cut off (jxl: its head is not understood); fetch or make it again")
    if head.extra == BLACK:
        raise InputError(f"{path} is a JPEG XL of CMYK, which is not read; convert it to RGB first")
    pixels, exif, xmp = _read(path, data)
    if pixels.dtype.kind == "u" and head.bits not in (8, 16):
        pixels = scaled(pixels, (1 << head.bits) - 1, 255 if head.bits < 8 else 65535)
    rgb, alpha = in_two(pixels)
    if alpha is not None and head.extra != ALPHA:
        alpha = None
        notes.append(f"{path.name} has a channel beside its colours that is not alpha; it is not kept")
    if head.animated:
        notes.append(f"{path.name} is an animation; its first picture is read")
    picture = to_picture(path, rgb, alpha, notes)
    if head.premultiplied and picture.alpha is not None:
        picture = replace(picture, planes=(unassociated(picture.planes[0], picture.alpha),))
    return replace(picture, icc=pillow.jxl_profile(path, data), exif=exif, xmp=xmp)


def _read(path: Path, data: bytes) -> tuple[Pixels, bytes | None, bytes | None]:
    """Rows x columns x channels of the file's own type (uint8, uint16 for more bits, floats); EXIF and XMP."""
    library: Any = require("imagecodecs", "pictures")
    try:
        with captured_stderr([]):
            pixels: Pixels = library.jpegxl_decode(data, index=0, numthreads=1)
            exif, xmp = _blocks(data, library)
    except Exception as error:  # noqa: BLE001 - decoders raise nearly everything on damaged files
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged or cut off (jxl: {said}); fetch or make it again") from None
    return pixels if pixels.ndim == 3 else pixels[..., None], exif, xmp


def _blocks(data: bytes, library: Any) -> tuple[bytes | None, bytes | None]:
    found: dict[bytes, bytes] = {}
    for name, body in _boxes(data):
        if name == b"brob" and body[:4] in (b"Exif", b"xml "):  # compressed
            name, body = body[:4], bytes(library.brotli_decode(body[4:], out=_MOST))
        found.setdefault(name, body)
    exif, xmp = found.get(b"Exif", b""), found.get(b"xml ")
    # Four bytes say where TIFF's head begins after them; some writers leave them out.
    start = 0 if exif[:4] in (b"II*\0", b"MM\0*") else 4 + int.from_bytes(exif[:4])
    return exif[start:] or None, xmp or None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of the boxes of a container (ISO/IEC 18181-2)."""
    at = 0 if data.startswith(_SIGNATURE) else len(data)
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        begin = at + 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        end = len(data) if size == 0 else at + size
        if end < begin:
            return
        yield data[at + 4 : at + 8], data[begin:end]
        at = end


def _codestream(data: bytes) -> bytes:
    if not data.startswith(_SIGNATURE):
        return data
    parts = [body if name == b"jxlc" else body[4:] for name, body in _boxes(data) if name in (b"jxlc", b"jxlp")]
    return b"".join(parts)


class _Bits:
    """Bits of a codestream, the lowest of a byte first."""

    def __init__(self, data: bytes) -> None:
        if data[:2] != b"\xff\x0a":
            raise ValueError("no JPEG XL")
        self._value, self._left = int.from_bytes(data[2:], "little"), 8 * (len(data) - 2)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("the head is cut off")
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return taken

    def choice(self, *ways: tuple[int, int]) -> int:
        """One of four (least value, bits to add to it)."""
        least, count = ways[self.take(2)]
        return least + self.take(count)


def _head(bits: _Bits) -> Head:
    width, height = _size(bits)
    if bits.take(1):  # all as it mostly is
        return Head(width, height, 8, False, None, False)
    animated = bool(bits.take(1)) and _fields(bits)
    depth = _depth(bits)
    bits.take(1)  # whether 16 bits suffice inside
    extra, premultiplied = None, False
    if bits.choice((0, 0), (1, 0), (2, 4), (1, 12)):
        extra, premultiplied = _extra(bits)
    return Head(width, height, depth, animated, extra, premultiplied)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    up, down = _RATIOS[ratio - 1]
    return height * up // down, height


def _fields(bits: _Bits) -> bool:
    """Skip orientation (which the decoder applies), intrinsic size and preview; whether it is an animation."""
    bits.take(3)
    if bits.take(1):
        _size(bits)
    if bits.take(1):
        eighths = bits.take(1)
        ways = ((16, 0), (32, 0), (1, 5), (33, 9)) if eighths else ((1, 6), (65, 8), (321, 10), (1345, 12))
        bits.choice(*ways)
        if not bits.take(3):
            bits.choice(*ways)
    if not bits.take(1):
        return False
    bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
    bits.take(1)
    return True


def _depth(bits: _Bits) -> int:
    if not bits.take(1):
        return bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)
    return depth


def _extra(bits: _Bits) -> tuple[int, bool]:
    if bits.take(1):
        return ALPHA, False
    kind = bits.choice((0, 0), (1, 0), (2, 4), (18, 6))
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    return kind, kind == ALPHA and bool(bits.take(1))
