"""What pictures say in their heads: size, pages, orientation. Read by the standard library, before any decoder runs."""

import re
import struct
import zlib
from collections.abc import Iterator

ORIENTATION = 0x0112

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_PHOTOMETRIC = 256, 257, 262
_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,20})(?:\s|#[^\n]*\n)+(\d{1,20})")
_PNG_XMP = b"XML:com.adobe.xmp\0"
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
        if kind == "tiff":
            tags = tiff_pages(data)[0]
            return tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
        if kind == "pnm" and (found := _PNM.match(data[:4096])):
            return int(found[1]), int(found[2])
    except (struct.error, IndexError, KeyError):
        return None
    return None


def is_cut_png(data: bytes) -> bool:
    """Whether a chunk of a PNG says that it is longer than the file. OpenCV takes memory for it before it looks."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + length
    return True


def is_gray_png(data: bytes) -> bool:
    """Whether a PNG's colour type is gray with alpha, which OpenCV gives as four channels."""
    return len(data) > 25 and data[25] == 4


def has_bmp_alpha(data: bytes) -> bool:
    """Whether a BMP's head (version 3 with masks, 4 or 5) gives a mask to alpha."""
    return len(data) >= 70 and data[14] >= 56 and any(data[66:70])


def png_xmp(data: bytes) -> bytes | None:
    """The XMP packet of a PNG: an uncompressed iTXt chunk before the pixels or after (XMP part 3, 1.1.5)."""
    at = data.find(b"iTXt" + _PNG_XMP)
    if at < 4:
        return None
    (length,) = struct.unpack_from(">I", data, at - 4)
    body = data[at + 4 + len(_PNG_XMP) : at + 4 + length]
    # Two bytes for the compression, then a language tag and a translated keyword, each ended by a NUL.
    if body[:1] != b"\0" or body[2:].count(b"\0") < 2:
        return None
    return body[2:].split(b"\0", 2)[2]


def with_png_xmp(data: bytes, xmp: bytes) -> bytes:
    """A PNG with the XMP packet after its first chunk, IHDR."""
    body = b"iTXt" + _PNG_XMP + b"\0\0\0\0" + xmp
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def is_animated_webp(data: bytes) -> bool:
    """Whether a WebP's extended head has its animation flag set."""
    return data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)


def tiff_pages(data: bytes, most: int = 1000) -> list[dict[int, int]]:
    """The first value of each short or long tag, for every page of a TIFF (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    pages: list[dict[int, int]] = []
    seen: set[int] = set()
    (offset,) = struct.unpack_from(order + "I", data, 4)
    while offset and offset not in seen and len(pages) < most:
        seen.add(offset)
        try:
            (count,) = struct.unpack_from(order + "H", data, offset)
            pages.append(dict(_tags(data, order, offset + 2, count)))
            (offset,) = struct.unpack_from(order + "I", data, offset + 2 + 12 * count)
        except struct.error:
            break
    return pages


def tiff_color_model(data: bytes) -> str | None:
    """The name of a TIFF's colour model when it is none that OpenCV reads rightly; else None."""
    names = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab"}
    return next((names.get(page.get(_TIFF_PHOTOMETRIC, 2)) for page in tiff_pages(data)), None)


def orientation(exif: bytes | None) -> int:
    """EXIF orientation 1..8 (Exif 2.32, tag 0x0112); 1 where the block has none or is damaged."""
    at = _orientation_at(exif)
    if exif is None or at is None:
        return 1
    (value,) = struct.unpack_from(("<" if exif[:2] == b"II" else ">") + "H", exif, at)
    return value if 1 <= value <= 8 else 1


def with_orientation_reset(exif: bytes) -> bytes:
    """The same block saying that the picture is upright."""
    at = _orientation_at(exif)
    if at is None:
        return exif
    return exif[:at] + struct.pack(("<" if exif[:2] == b"II" else ">") + "H", 1) + exif[at + 2 :]


def _orientation_at(exif: bytes | None) -> int | None:
    """Where the value of the orientation tag stands in the first directory of an EXIF block."""
    if exif is None or exif[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == ORIENTATION and kind == 3 and entry + 10 <= len(exif):
                return entry + 8
    except struct.error:
        return None
    return None


def _tags(data: bytes, order: str, start: int, count: int) -> Iterator[tuple[int, int]]:
    for entry in range(start, start + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
        if kind in (3, 4):
            yield tag, struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)[0]


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
