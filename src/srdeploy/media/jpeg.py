"""What stands beside the pixels of a JPEG, read and written here: OpenCV joins all APP2 segments as if each were ICC,
those of several pictures (MPF, in most phones' files) too, and writes no block of more than 64 KB."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_MPF = b"MPF\0"
_APP1, _APP2 = 0xE1, 0xE2

LARGEST = 65533
"""Bytes of a segment, without the two that say its length (ITU-T T.81, B.1.1.4)."""

MOST_EXIF = LARGEST - len(_EXIF)
MOST_XMP = LARGEST - len(XMP)
_MOST_ICC = LARGEST - len(_ICC) - 2


@dataclass(frozen=True)
class Beside:
    """The blocks of a JPEG; pictures: how many it says it holds (CIPA DC-007); more_xmp: beyond the first packet."""

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    pictures: int = 1
    more_xmp: bool = False


def beside(data: bytes) -> Beside:
    """What stands before the pixels. Of a profile of which a part is missing nothing is taken."""
    exif = xmp = None
    pictures, more = 1, False
    parts: dict[int, bytes] = {}
    count = 0
    for marker, body in _segments(data):
        if marker == _APP1 and body.startswith(_EXIF):
            exif = exif or body.removeprefix(_EXIF)
        elif marker == _APP1 and body.startswith(XMP):
            xmp = xmp or body.removeprefix(XMP)
        elif marker == _APP1 and body.startswith(_MORE_XMP):
            more = True
        elif marker == _APP2 and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
            number, count = body[len(_ICC)], body[len(_ICC) + 1]
            parts.setdefault(number, body[len(_ICC) + 2 :])
        elif marker == _APP2 and body.startswith(_MPF):
            pictures = _pictures(body.removeprefix(_MPF))
    whole = bool(count) and all(number in parts for number in range(1, count + 1))
    icc = b"".join(parts[number] for number in range(1, count + 1)) if whole else None
    return Beside(exif or None, xmp or None, icc or None, pictures, more)


def with_blocks(data: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    """A JPEG that begins with JFIF's segment, with the blocks after it. exif: at most MOST_EXIF; xmp: MOST_XMP."""
    bodies = []
    if exif:
        bodies.append((_APP1, _EXIF + exif))
    if xmp:
        bodies.append((_APP1, XMP + xmp))
    count = -(-len(icc or b"") // _MOST_ICC)
    for number in range(count):
        part = (icc or b"")[number * _MOST_ICC : (number + 1) * _MOST_ICC]
        bodies.append((_APP2, _ICC + bytes((number + 1, count)) + part))
    at = 4 + struct.unpack_from(">H", data, 4)[0]
    segments = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in bodies)
    return data[:at] + segments + data[at:]


def is_long(icc: bytes | None) -> bool:
    """Whether a profile needs more than one segment."""
    return len(icc or b"") > _MOST_ICC


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment before the first scan (ITU-T T.81, B.1)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0x00, 0x01, 0xD9, 0xDA) or 0xD0 <= marker <= 0xD8:
            return
        length = struct.unpack_from(">H", data, at + 2)[0]
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _pictures(index: bytes) -> int:
    """How many pictures an MP index says (NumberOfImages, tag 0xB001, in a directory like TIFF's)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
    try:
        if order is None:
            return 1
        (at,) = struct.unpack_from(order + "I", index, 4)
        (entries,) = struct.unpack_from(order + "H", index, at)
        for number in range(min(entries, 64)):
            tag, _, _, value = struct.unpack_from(order + "HHII", index, at + 2 + 12 * number)
            if tag == 0xB001:
                return max(1, int(value))
    except struct.error:
        pass
    return 1
