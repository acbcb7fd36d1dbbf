"""What pictures say in their heads: size, colour model, resolution. Read by plain Python, before any decoder runs."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from srdeploy.errors import InputError
from srdeploy.media import jxl, png, tiff
from srdeploy.picture import ColorTags

_PNM = re.compile(rb"P[1-6Ff](?:\s|#[^\n]*\n)+(\d{1,20})(?:\s|#[^\n]*\n)+(\d{1,20})")
_PAM = re.compile(rb"P7\s(?:(?!ENDHDR).)*?WIDTH\s+(\d{1,20})\s+HEIGHT\s+(\d{1,20})", re.DOTALL)
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def claimed_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height as a file of `kind` (see kinds.sniff) claims them; None where they are not found."""
    try:
        if kind == "png":
            return struct.unpack_from(">II", data, 16)
        if kind == "bmp" and data[14:18] == b"\x0c\0\0\0":  # OS/2 1.x
            return struct.unpack_from("<HH", data, 18)
        if kind == "bmp":
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(width), abs(height)
        if kind == "gif":
            return struct.unpack_from("<HH", data, 6)
        if kind == "jpeg":
            return next(
                (
                    (width, height)
                    for height, width in (struct.unpack_from(">HH", data, at + 3) for at in _frames(data))
                ),
                None,
            )
        if kind in ("pnm", "pfm") and (found := _PNM.match(data[:4096])):
            return int(found[1]), int(found[2])
        if kind == "pam" and (found := _PAM.match(data[:4096])):
            return int(found[1]), int(found[2])
        if kind == "tiff":
            return page_size((tiff.pages(data, 1) or [{}])[0])
        if kind == "webp":
            return _webp_size(data)
        if kind == "jxl" and (head := jxl.head_of(data)):
            return head.width, head.height
        if kind in ("avif", "heif"):  # of several items the largest
            sizes = (struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data))
            return max(sizes, key=lambda size: size[0] * size[1], default=None)
    except (struct.error, IndexError, KeyError):
        return None
    return None


def page_size(page: tiff.Directory) -> tuple[int, int] | None:
    """Width and height of a TIFF's page."""
    width, height = tiff.numbers(page, tiff.WIDTH), tiff.numbers(page, tiff.HEIGHT)
    return (width[0], height[0]) if width and height else None


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Raise InputError for a picture that claims more than `max_pixels`."""
    if width * height > max_pixels:
        raise InputError(
            f"{path} claims {width}x{height} pixels, more than {max_pixels}; cut or reduce it first, or, if it is what "
            f"it says, type: --max-pixels {width * height}"
        )


def has_bmp_alpha(data: bytes) -> bool:
    """Whether a BMP's head (version 3 with masks, 4 or 5) gives a mask to alpha."""
    return len(data) >= 70 and data[14] >= 56 and any(data[66:70])


def color(data: bytes, kind: str) -> ColorTags:
    """The code points of PNG's cICP, and of the colr box of AVIF and HEIF (ISO 23008-12, 6.5.5)."""
    if kind == "png":
        return png.color(data)
    at = data.find(b"colrnclx") if kind in ("avif", "heif") else -1
    if not 0 <= at <= len(data) - 14:
        return ColorTags()
    primaries, transfer, matrix = struct.unpack_from(">HHH", data, at + 8)
    return ColorTags(matrix, primaries, transfer, full_range=True)  # once it is RGB


def bmp_profile(data: bytes) -> bytes | None:
    """The ICC profile inside a BMP of version 5 whose colour space is PROFILE_EMBEDDED."""
    if len(data) < 138 or data[14] != 124 or data[70:74] != b"DEBM":
        return None
    at, length = struct.unpack_from("<II", data, 126)
    return data[14 + at : 14 + at + length] or None


def jpeg_components(data: bytes) -> int:
    """How many components a JPEG's first frame has: 1 gray, 3 colour, 4 CMYK or YCCK; 0 where none is found."""
    return next((data[at + 7] for at in _frames(data) if at + 7 < len(data)), 0)


def jpeg_precision(data: bytes) -> int:
    """Bits of a sample of a JPEG's first frame, 8 nearly always; 0 where none is found."""
    return next((data[at + 2] for at in _frames(data) if at + 2 < len(data)), 0)


def avif_depth(data: bytes) -> int:
    """Bits of a sample by AVIF's av1C box (AV1-ISOBMFF 2.3): 8, 10 or 12."""
    at = data.find(b"av1C")
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def dpi(data: bytes, kind: str, exif: bytes | None) -> tuple[float, float] | None:
    """Pixels for one inch, across and down, as the file or its EXIF says; None where neither does."""
    try:
        if kind == "png" and (body := png.chunk(data, b"pHYs")) is not None:
            across, down, unit = struct.unpack(">IIB", body)
            if unit == 1 and across and down:
                return across * 0.0254, down * 0.0254
        elif kind == "jpeg" and data[6:11] == b"JFIF\0":
            unit, across, down = struct.unpack_from(">BHH", data, 13)
            if unit in (1, 2) and across and down:
                factor = 2.54 if unit == 2 else 1.0
                return across * factor, down * factor
        elif kind == "bmp" and data[14] >= 40:
            across, down = struct.unpack_from("<ii", data, 38)
            if across > 0 and down > 0:
                return across * 0.0254, down * 0.0254
    except struct.error:
        return None
    return tiff.exif_resolution(exif)


def with_dpi(data: bytes, kind: str, dpi: tuple[float, float]) -> bytes:
    """The file with its resolution in its own head; kind: png, jpeg (with a JFIF head) or bmp."""
    across, down = dpi
    if kind == "png":
        return png.with_chunk(data, b"pHYs", struct.pack(">IIB", round(across / 0.0254), round(down / 0.0254), 1))
    if kind == "jpeg":
        return data[:13] + struct.pack(">BHH", 1, *(min(65535, round(n)) for n in dpi)) + data[18:]
    return data[:38] + struct.pack("<ii", *(round(n / 0.0254) for n in dpi)) + data[46:]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas of an extended WebP, or the frame of a simple one (RFC 9649, 2.5 to 2.7)."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _frames(data: bytes) -> Iterator[int]:
    """Where the frame headers (SOF) of a JPEG begin, after their marker (ITU-T T.81, B.1)."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            yield at + 2
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
        elif marker in (0xD9, 0xDA):
            return
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
