"""What a file is, by its first bytes and not by its name, and which suffix its result gets."""

import os
from pathlib import Path

from srdeploy import urls
from srdeploy.errors import InputError
from srdeploy.media.base import MAX_PIXELS
from srdeploy.shortage import shortage_said

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".pfm"})
"""Suffixes of pictures that are read and written."""

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".ts", ".webm"})
"""Suffixes of videos that are read and written."""

_READ_ONLY_PICTURES = frozenset(
    {".apng", ".avif", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".mpo", ".pam", ".pbm", ".pgm", ".pnm", ".ppm"}
)
_READ_ONLY_VIDEOS = frozenset(
    {".3gp", ".flv", ".gif", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".vob", ".wmv", ".y4m"}
)

# The suffixes under which results of a kind are written.
_OWN = {
    "jpeg": (".jpg", ".jpeg", ".jpe"),
    "webp": (".webp",),
    "bmp": (".bmp", ".dib"),
    "pfm": (".pfm",),
}

ANIMATIONS = frozenset({"apng", "awebp", "aavif"})
"""Kinds of animated pictures; a GIF is one where a picture is made of it, and else a video."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\0\0\1\0", "ico"),
    (b"P7\n", "pam"),
)

_STILL_BRANDS = {b"avif": "avif", b"avis": "aavif", b"heic": "heif", b"heix": "heif", b"mif1": "heif", b"msf1": "heif"}

_HEAD = 4096
_LARGEST_HEAD = 64 << 20


def read_bytes(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """All bytes of a picture's file. Raises InputError when it is missing, a folder, unreadable, empty, or larger than
    `max_pixels` would be uncompressed."""
    most = 64 << 20 | 16 * max_pixels
    data = _read(path, most + 1)
    if len(data) > most:
        raise InputError(f"{path} has more bytes than {max_pixels} pixels; if it is a picture, raise --max-pixels")
    return data


def sniff(path: Path) -> str:
    """The kind of a file: png, jpeg, webp, bmp, tiff, avif, pnm, gif (one picture), apng, awebp, aavif (animated), or
    video.

    Animated GIF is "video". Raises InputError when the file is missing, empty, a folder or text.
    """
    head = _read(path, _HEAD)
    kind = kind_of(head)
    if kind == "text":
        raise InputError(f"{path} is a text file, not a picture or a video, whatever its name says; type another")
    if kind == "png" and _opens_png(head) is None:  # large blocks stand before what makes it an animation
        return "apng" if _opens_png(_read(path, _LARGEST_HEAD)) == b"acTL" else "png"
    if kind == "gif":
        return "video" if _is_animated_gif(read_bytes(path)) else "gif"
    return kind


def is_gif(path: Path) -> bool:
    """Whether a file is a GIF, of one image or of several. Raises InputError as `sniff` does."""
    return kind_of(_read(path, _HEAD)) == "gif"


def kind_of(head: bytes) -> str:
    """The kind of a file by its first bytes (some thousand); "video" for all that is neither picture nor text."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return "apng" if kind == "png" and _opens_png(head) == b"acTL" else kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        # The flag of animation in the extended head (RFC 9649, 2.7).
        return "awebp" if head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2 else "webp"
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return _STILL_BRANDS[head[8:12]]
    if head[:2] in (b"P5", b"P6", b"P4", b"P2", b"P3", b"P1") and head[2:3].isspace():
        return "pnm"
    if head[:2] in (b"PF", b"Pf") and head[2:3].isspace():
        return "pfm"
    if not head.startswith((b"YUV4MPEG2", b"\xef\xbb\xbfYUV")) and _is_text(head):
        return "text"
    return "video"


def has_cut_index(path: Path) -> bool:
    """Whether an MP4 ends inside its box `moov` (ISO 14496-12, 4.2), of which FFmpeg reads what is there."""
    end = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            size, name = int.from_bytes(head[:4]), head[4:8]
            if at == 0 and name != b"ftyp":
                return False
            if size == 1:
                size = int.from_bytes(head[8:16])
            if name == b"moov":
                return at + size > end
            if size < 8:
                return False
            at += size
    return False


def is_media(path: Path) -> bool:
    """Whether a file's name says that it is a picture or a video; for walking folders."""
    suffix = path.suffix.lower()
    return suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES | _READ_ONLY_PICTURES | _READ_ONLY_VIDEOS


def result_suffix(path: Path) -> str:
    """The suffix of the result of `path`: its own where that kind is written, else that of a kind that loses nothing.

    A picture whose own kind is not written (GIF, AVIF, PNM), or whose name is that of another kind which might not hold
    it, becomes .png; a video becomes .mkv, which holds nearly every stream there is, or .mp4 where it comes from GIF or
    3GP. A file that cannot be read keeps its suffix: what is wrong with it is said when it is opened.
    """
    suffix = path.suffix.lower()
    try:
        kind = sniff(path)
    except InputError:
        return path.suffix
    if kind in ANIMATIONS:
        return path.suffix if suffix == {"apng": ".png", "awebp": ".webp"}.get(kind) else ".png"
    if kind != "video":
        return path.suffix if suffix in (".png", ".tif", ".tiff") or suffix in _OWN.get(kind, ()) else ".png"
    if suffix in VIDEO_SUFFIXES:
        return path.suffix
    return ".mp4" if suffix in {".gif", ".3gp"} else ".mkv"


def _read(path: Path, size: int) -> bytes:
    try:
        if urls.is_url(path):
            return urls.head(path, size)
        if path.is_dir():
            raise InputError(f"{path} is a folder; type the name of a picture or a video in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a regular file; type the name of a picture or a video")
        with shortage_said(f"to read {path}"), path.open("rb") as file:
            # Python takes memory for all that is asked before it reads.
            data = file.read(min(size, max(_HEAD, os.fstat(file.fileno()).st_size + 1)))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; type the path of a picture or a video") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: {error}") from None
    if not data:
        raise InputError(f"{path} is empty (0 bytes); fetch or make it again")
    return data


def _is_text(head: bytes) -> bool:
    if any(byte < 9 or 13 < byte < 27 for byte in head):
        return False
    try:
        # The last character may be cut in two.
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == _HEAD
    return True


def _opens_png(data: bytes) -> bytes | None:
    """acTL, which makes a PNG an animation, or IDAT, its pixels: which of the two comes first; None for neither."""
    at = 8
    while at + 8 <= len(data):
        name = data[at + 4 : at + 8]
        if name in (b"acTL", b"IDAT"):
            return name
        at += 12 + int.from_bytes(data[at : at + 4])
    return None


def _is_animated_gif(data: bytes) -> bool:
    """Whether a GIF holds more than one image: walk its blocks as GIF89a, section 17 to 26, lays them out."""
    position = 13 + (3 << ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0)
    images = 0
    while position < len(data) and images < 2:
        block = data[position]
        if block == 0x2C and position + 9 < len(data):
            images += 1
            flags = data[position + 9]
            position += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
        elif block == 0x21:
            position += 2
        else:
            break
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    return images > 1
