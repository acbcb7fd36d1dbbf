"""What OpenCV reads wrongly: PAM (its colours are swapped), PNM of an odd MAXVAL (its samples are not stretched), BMP
with channels behind masks (its bits are filled with zeros)."""

import re
import struct
from pathlib import Path

import numpy as np

from srdeploy.errors import InputError
from srdeploy.picture import Pixels

_PAM_HEAD = re.compile(rb"P7\n(.*?)^ENDHDR[ \t\r]*\n", re.DOTALL | re.MULTILINE)
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE)[ \t]+(\S+)[ \t\r]*$", re.MULTILINE)
_PAM_TUPLES = {b"BLACKANDWHITE": 1, b"GRAYSCALE": 1, b"RGB": 3}
_PNM_HEAD = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})\s")


def read(path: Path, data: bytes, kind: str) -> Pixels | None:
    """Rows x columns x channels of such a file, alpha last, as 8 or 16 bits; None for all that OpenCV reads rightly.

    Raises InputError when it is damaged or cut off, or a PAM of neither gray nor RGB.
    """
    if kind == "pam":
        return _pam(path, data)
    if kind == "pnm" and (head := _PNM_HEAD.match(data[:65536])) and int(head[4]) not in (255, 65535):
        return _pnm(path, data, head)
    if kind == "bmp" and _has_masks(data):
        return _masked_bmp(path, data)
    return None


def _pnm(path: Path, data: bytes, head: re.Match[bytes]) -> Pixels:
    """A PGM or PPM (Netpbm's pgm(5), ppm(5)), binary or plain."""
    width, height, peak = (int(head[i]) for i in (2, 3, 4))
    shape = (height, width, 3 if head[1] in b"36" else 1)
    if head[1] in b"56":
        return _raster(path, "pnm", data, head.end(), shape, peak)
    words = re.sub(rb"#[^\n]*", b"", data[head.end() :]).split()[: height * width * shape[2]]
    if not all(word.isdigit() and len(word) < 6 and int(word) <= peak for word in words):
        raise _damaged(path, "pnm", "its samples are no numbers up to its MAXVAL")
    numbers = np.array(words, np.int64)
    return _raster(path, "pnm", numbers.astype("u1" if peak < 256 else ">u2").tobytes(), 0, shape, peak)


def _pam(path: Path, data: bytes) -> Pixels:
    """A PAM (Netpbm's pam(5))."""
    head = _PAM_HEAD.match(data[:65536])
    fields = dict(_PAM_FIELD.findall(head[1])) if head else {}
    try:
        width, height, depth, peak = (int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    except (KeyError, ValueError):
        raise _damaged(path, "pam", "its head is not understood") from None
    tuples = fields.get(b"TUPLTYPE", {1: b"GRAYSCALE", 3: b"RGB"}.get(depth, b""))
    named = _PAM_TUPLES.get(tuples.removesuffix(b"_ALPHA"), 0)
    if not named or depth != named + tuples.endswith(b"_ALPHA"):
        said = tuples.decode("ascii", "replace") or "no TUPLTYPE"
        raise InputError(
            f"{path} is a PAM of {said} with {depth} channels; GRAYSCALE and RGB are read, with _ALPHA or without"
        )
    if head is None:
        raise _damaged(path, "pam", "its head is not understood")
    return _raster(path, "pam", data, head.end(), (height, width, depth), peak)


def _raster(path: Path, kind: str, data: bytes, start: int, shape: tuple[int, int, int], peak: int) -> Pixels:
    """Samples of 0 to `peak` (Netpbm's MAXVAL) that begin at `start`, stretched over the whole range of their type."""
    sample = np.dtype("u1" if peak < 256 else ">u2")
    count = shape[0] * shape[1] * shape[2]
    if min(shape) < 1 or not 0 < peak < 65536:
        raise _damaged(path, kind, "its head is not understood")
    if len(data) - start < count * sample.itemsize:
        raise _damaged(path, kind, "it ends before its last row")
    values = np.frombuffer(data, sample, count, start).reshape(shape)
    if values.max() > peak:
        raise _damaged(path, kind, "it has samples above its MAXVAL")
    return _stretched(values, peak, np.uint8 if peak < 256 else np.uint16)


def _has_masks(data: bytes) -> bool:
    """Whether a BMP has 16 bits a pixel, or 32 behind masks (BI_BITFIELDS, BI_ALPHABITFIELDS)."""
    if len(data) < 54 or struct.unpack_from("<I", data, 14)[0] < 40:
        return False
    bits, compression = struct.unpack_from("<HI", data, 28)
    return (bits == 16 and compression in (0, 3, 6)) or (bits == 32 and compression in (3, 6))


def _masked_bmp(path: Path, data: bytes) -> Pixels:
    """Such a BMP, each channel stretched to 0..255, with alpha where it has a mask."""
    start, size, width, rows, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    height = abs(rows)
    masks = [0x7C00, 0x3E0, 0x1F, 0] if compression == 0 else _masks(path, data, size, compression)
    step = (width * bits // 8 + 3) // 4 * 4
    if width <= 0 or height == 0 or any(mask == 0 or mask >> bits for mask in masks[:3]) or masks[3] >> bits:
        raise _damaged(path, "bmp", "its head is not understood")
    if start < 14 + size or len(data) - start < step * height:
        raise _damaged(path, "bmp", "it ends before its last row")
    lines = np.frombuffer(data, np.uint8, step * height, start).reshape(height, step)
    words = np.ascontiguousarray(lines[:, : width * bits // 8]).view(f"<u{bits // 8}").astype(np.uint32)
    channels = []
    for mask in masks if masks[3] else masks[:3]:
        shift = (mask & -mask).bit_length() - 1
        channels.append(_stretched((words & mask) >> shift, mask >> shift, np.uint8))
    pixels = np.stack(channels, axis=-1)
    return pixels if rows < 0 else pixels[::-1]


def _masks(path: Path, data: bytes, size: int, compression: int) -> list[int]:
    """The masks of red, green, blue and alpha, inside a head of 52 bytes and more or behind one of 40."""
    four = size >= 56 or compression == 6
    if len(data) < 54 + (16 if four else 12):
        raise _damaged(path, "bmp", "it ends inside its head")
    return [*struct.unpack_from("<4I" if four else "<3I", data, 54), 0][:4]


def _stretched(values: Pixels, peak: int, kind: type) -> Pixels:
    """Numbers of 0 to `peak` over the whole range of a type, rounded."""
    top = np.iinfo(kind).max
    return values.astype(kind) if peak == top else np.rint(values * (top / peak)).astype(kind)


def _damaged(path: Path, kind: str, what: str) -> InputError:
    return InputError(f"{path} is damaged or cut off ({kind}: {what}); fetch or make it again")
