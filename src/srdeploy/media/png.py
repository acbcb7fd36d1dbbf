"""The chunks of a PNG, beside those of its pixels (W3C Recommendation, third edition)."""

import struct
import zlib
from collections.abc import Iterator

from srdeploy.picture import ColorTags

_XMP = b"XML:com.adobe.xmp\0"
_MOST = 64 << 20
_CALIBRATION = ((b"gAMA", 4), (b"cHRM", 32))


def is_cut(data: bytes) -> bool:
    """Whether its last chunk is missing, or beyond the file by what another says of its own length, for which OpenCV
    takes memory before it looks."""
    return not any(name == b"IEND" for name, _, _ in _chunks(data))


def is_gray(data: bytes) -> bool:
    """Whether the colour type is gray with alpha, which OpenCV gives as four channels."""
    return len(data) > 25 and data[25] == 4


def chunk(data: bytes, name: bytes) -> bytes | None:
    """The body of the first chunk of that name before the pixels."""
    for found, begin, length in _chunks(data):
        if found == name:
            return data[begin : begin + length]
        if found in (b"IDAT", b"IEND"):
            return None
    return None


def xmp(data: bytes) -> bytes | None:
    """The XMP packet: an iTXt chunk before the pixels or after (XMP part 3, 1.1.5), compressed or not."""
    for name, begin, length in _chunks(data):
        body = data[begin : begin + length]
        if name != b"iTXt" or not body.startswith(_XMP):
            continue
        rest = body.removeprefix(_XMP)
        # Two bytes for the compression, then a language tag and a translated keyword, each ended by a NUL.
        if rest[2:].count(b"\0") < 2:
            return None
        packet = rest[2:].split(b"\0", 2)[2]
        if rest[:1] == b"\0":
            return packet
        try:
            return zlib.decompressobj().decompress(packet, _MOST)
        except zlib.error:
            return None
    return None


def color(data: bytes) -> ColorTags:
    """How cICP says that the samples are to be read (H.273's code points)."""
    body = chunk(data, b"cICP") or b""
    if len(body) != 4:
        return ColorTags()
    return ColorTags(matrix=body[2], primaries=body[0], transfer=body[1], full_range=bool(body[3]))


def calibration(data: bytes) -> bytes | None:
    """gAMA and cHRM, whole chunks, as they stand in the file."""
    bodies = ((name, size, chunk(data, name)) for name, size in _CALIBRATION)
    return b"".join(_chunk(name, body) for name, size, body in bodies if body and len(body) == size) or None


def with_color(data: bytes, tags: ColorTags, calibrated: bytes | None) -> bytes:
    """A PNG that says how its samples are to be read: cICP where both code points are known."""
    chunks = calibrated or b""
    if is_said(tags):
        chunks += _chunk(b"cICP", bytes((tags.primaries or 0, tags.transfer or 0, 0, tags.full_range is not False)))
    return data[:33] + chunks + data[33:]


def is_said(tags: ColorTags) -> bool:
    """Whether primaries and transfer are known (2 is H.273's "unspecified"), and are not those of sRGB."""
    pair = (tags.primaries, tags.transfer)
    return not {None, 0, 2} & set(pair) and pair != (1, 13)


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """A PNG with the XMP packet after its first chunk, IHDR."""
    return with_chunk(data, b"iTXt", _XMP + b"\0\0\0\0" + packet)


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk after its first, IHDR."""
    return data[:33] + _chunk(name, body) + data[33:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the body and its length."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], at + 8, length
        at += 12 + length
