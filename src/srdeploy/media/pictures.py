"""Pictures in files, by OpenCV: PNG, JPEG, WebP, BMP and TIFF, and reading GIF and PNM."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from srdeploy.errors import InputError, OutputError
from srdeploy.media import headers
from srdeploy.media.base import MAX_PIXELS, part_path
from srdeploy.media.kinds import PICTURE_SUFFIXES, kind_of, read_bytes
from srdeploy.media.quiet import captured_stderr
from srdeploy.picture import Frame, Picture, Pixels

# OpenCV's place in its own source, before and after what it has to say.
_PLACE = re.compile(r"^\[[^]]*\] \S+ \S+:\d+ \w+ |.*error: \([^)]*\) ?| in function '\w+'$|OpenCV TIFF\(line \d+\): ")

_EXIF, _XMP, _ICC = 0, 1, 2  # cv2.IMAGE_METADATA_*
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_KINDS = frozenset({"png", "jpeg", "webp", "bmp", "tiff", "gif", "pnm"})

# The formats of results: OpenCV's extension, the longest side, whether 16 bits, alpha and metadata fit.
_Format = tuple[str, int, bool, bool, bool]
_FORMATS: Mapping[str, _Format] = {
    ".png": (".png", (1 << 31) - 1, True, True, True),
    ".webp": (".webp", 16383, False, True, True),
    ".jpg": (".jpg", 65535, False, False, True),
    ".jpeg": (".jpg", 65535, False, False, True),
    ".jpe": (".jpg", 65535, False, False, True),
    ".tif": (".tiff", (1 << 31) - 1, True, True, False),
    ".tiff": (".tiff", (1 << 31) - 1, True, True, False),
    ".bmp": (".bmp", (1 << 31) - 1, False, False, False),
    ".dib": (".bmp", (1 << 31) - 1, False, False, False),
}

# JPEG: above 95 files grow and nothing is seen; 4:4:4 because an enlarged edge in colour is what was asked for.
# WebP: lossless (any quality above 100), since its lossy mode always halves the chroma. PNG: level 4 is within a few
# percent of the smallest file at a third of the time. TIFF: LZW is what every reader knows.
_PARAMETERS: Mapping[str, tuple[int, ...]] = {
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 4),
    ".jpg": (
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 101),
    ".tiff": (cv2.IMWRITE_TIFF_COMPRESSION, 5),
    ".bmp": (),
}


def read_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one picture, upright: layout "rgb" or "gray", uint8 or uint16, with alpha, ICC, EXIF and XMP beside it.

    The kind is told by the content. EXIF's orientation is applied and then reset. Of a TIFF of several pages the first
    is read. Raises InputError when the file is missing, empty, damaged, cut off, of another kind, or claims more than
    `max_pixels`.
    """
    path = Path(path)
    return _picture(path, read_bytes(path), max_pixels)


def write_picture(path: Path | str, picture: Picture) -> None:
    """Write a picture of layout "rgb" or "gray" in the format that the suffix of `path` names; whole or not at all.

    JPEG at quality 95 without chroma subsampling, WebP lossless, TIFF with LZW. Raises OutputError as
    check_picture_target does, and when the disk does not take it.
    """
    path = Path(path)
    check_picture_target(path, picture.width, picture.height, picture)
    extension = _FORMATS[path.suffix.lower()][0]
    part = part_path(path)
    try:
        part.write_bytes(_encoded(path, extension, picture))
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def check_picture_target(path: Path, width: int, height: int, picture: Picture) -> None:
    """Raise OutputError when `path` cannot hold `width` x `height` pixels like those of `picture`. Computes nothing."""
    target = _FORMATS.get(path.suffix.lower())
    if target is None:
        known = " ".join(sorted(PICTURE_SUFFIXES))
        raise OutputError(f"cannot write {path}: no picture of the kind '{path.suffix}'; type one of {known}")
    _, largest, deep, alpha, _ = target
    instead = f"type: -o {path.with_suffix('.png').name}"
    if max(width, height) > largest:
        raise OutputError(
            f"{path.suffix} ends at {largest} pixels a side and the result has {width}x{height}; {instead}"
        )
    if picture.depth > 8 and not deep:
        raise OutputError(f"{path.suffix} holds 8 bits and the picture has {picture.depth}; {instead}")
    if picture.alpha is not None and not alpha:
        raise OutputError(f"{path.suffix} holds no alpha and the picture has it; {instead}")
    if picture.layout == "yuv":
        raise OutputError(f"{path.suffix} holds no YUV planes; convert the picture to RGB first")
    part_path(path)


class PictureReader:
    """A picture as a stream of one frame; see base.Reader. It is decoded on opening."""

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        data = read_bytes(path)
        self.path = path
        self.frames: int | None = 1
        self.notes: list[str] = []
        self.picture = _picture(path, data, max_pixels)
        self.width, self.height = self.picture.width, self.picture.height
        if kind_of(data) == "tiff" and (pages := len(headers.tiff_pages(data))) > 1:
            self.notes.append(f"{path.name} has {pages} pages; only the first is read")

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self.picture, key=True)

    def close(self) -> None:
        """Nothing is held open."""


class PictureWriter:
    """Takes the one frame of a picture; see base.Writer. Refuses on opening what its format cannot hold."""

    def __init__(self, path: Path, like: PictureReader, width: int, height: int) -> None:
        check_picture_target(path, width, height, like.picture)
        self.path = path
        self.begun = 0
        self._done = False
        self._keeps_icc = _takes_icc(path, like.picture)
        self.notes = _lost(path, like.picture, self._keeps_icc)
        self._size = (width, height)
        self._picture: Picture | None = None

    def write(self, frame: Frame) -> None:
        """Take the frame. Raises ValueError for a second one, or one of another size."""
        if self._picture is not None:
            raise ValueError("a picture takes one frame")
        if (frame.picture.width, frame.picture.height) != self._size:
            raise ValueError(f"a frame of {frame.picture.width}x{frame.picture.height} for a picture of {self._size}")
        self._picture = frame.picture

    def kept(self) -> int:
        """Nothing: half a picture is none."""
        return 0

    def keep_partial(self) -> Path | None:
        """None: half a picture is none."""
        return None

    def finish(self) -> None:
        """Write the picture, if that is not done yet."""
        if self._done:
            return
        if self._picture is None:
            raise OutputError(f"{self.path} would hold no picture; nothing was written")
        write_picture(self.path, self._picture if self._keeps_icc else replace(self._picture, icc=None))
        self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()


def _picture(path: Path, data: bytes, max_pixels: int) -> Picture:
    kind = kind_of(data[:4096])
    _refuse(path, data, kind, max_pixels)
    chatter: list[str] = []
    try:
        with captured_stderr(chatter):
            pixels, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(f"{path} cannot be read: {_reason([error.err or ''])}; fetch or make it again") from None
    # libjpeg fills what is missing with gray and only says so.
    cut = any("premature end" in line.lower() or "bad Huffman" in line for line in chatter)
    if pixels is None or cut:
        raise InputError(f"{path} is damaged or cut off ({kind}: {_reason(chatter)}); fetch or make it again")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} has samples of {pixels.dtype}, and 8 and 16 bits are read; convert it first")
    found = {int(k): bytes(np.asarray(block)) for k, block in zip(kinds, blocks, strict=True)}
    # OpenCV 5.0 reads and writes XMP in PNG with bytes from beyond its end.
    exif, xmp = found.get(_EXIF), headers.png_xmp(data) if kind == "png" else found.get(_XMP)
    # libtiff turns pixels itself.
    turn = 1 if kind == "tiff" else headers.orientation(exif)
    rgb, alpha = _split(_upright(pixels, turn), kind, data)
    return Picture(
        layout="gray" if rgb.ndim == 2 else "rgb",
        planes=(rgb,),
        depth=8 * pixels.itemsize,
        alpha=alpha,
        icc=found.get(_ICC),
        exif=None if exif is None else headers.with_orientation_reset(exif),
        xmp=None if xmp is None else xmp.removeprefix(_XMP_IN_JPEG).rstrip(b"\0"),
    )


def _refuse(path: Path, data: bytes, kind: str, max_pixels: int) -> None:
    """Raise InputError for what OpenCV would read wrongly, in part, or with all the machine's memory."""
    if kind not in _KINDS:
        what = {"text": "a text file", "video": "no picture of a known kind"}.get(kind, f"of the kind {kind}")
        raise InputError(f"{path} is {what}, whatever its name says; PNG, JPEG, WebP, BMP, TIFF, GIF and PNM are read")
    if kind == "webp" and headers.is_animated_webp(data):
        raise InputError(f"{path} is an animated WebP, which is not read; make it a GIF or an MP4 first")
    if kind == "tiff" and (model := headers.tiff_color_model(data)):
        raise InputError(f"{path} is a {model} TIFF, which is not read; convert it to RGB first")
    size = headers.claimed_size(data, kind)
    if size is not None and size[0] * size[1] > max_pixels:
        raise InputError(f"{path} claims {size[0]}x{size[1]} pixels, more than {max_pixels}; cut or reduce it first")
    if kind == "png" and headers.is_cut_png(data):
        raise InputError(f"{path} is damaged or cut off (png: it ends inside a chunk); fetch or make it again")


def _reason(lines: list[str]) -> str:
    text = " ".join((lines or [""])[0].split())
    text = _PLACE.sub("", text).removesuffix(".")
    return text[:120] or "its data do not decode"


def _upright(pixels: Pixels, turn: int) -> Pixels:
    """Apply EXIF orientation: 2 mirror, 3 half turn, 4 flip, 5 transpose, 6 quarter right, 7 transverse, 8 left."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _split(pixels: Pixels, kind: str, data: bytes) -> tuple[Pixels, Pixels | None]:
    """OpenCV's BGR or BGRA as RGB (or gray) and alpha."""
    if pixels.ndim == 2:
        return pixels, None
    channels = pixels.shape[2]
    if channels == 1:
        return pixels[..., 0], None
    if channels == 2:
        return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    alpha = np.ascontiguousarray(pixels[..., 3]) if channels == 4 else None
    if kind == "bmp" and alpha is not None and not headers.has_bmp_alpha(data):
        alpha = None  # the fourth byte of most BMPs is padding
    if kind == "png" and headers.is_gray_png(data):
        return np.ascontiguousarray(pixels[..., 0]), alpha
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if channels == 4 else cv2.COLOR_BGR2RGB), alpha


def _encoded(path: Path, extension: str, picture: Picture) -> bytes:
    pixels = picture.planes[0]
    if picture.depth not in (8, 16):
        # Formats hold 8 or 16 bits; the same share of the peak keeps black and white where they were.
        pixels = ((pixels.astype(np.uint32) * 65535 + picture.peak // 2) // picture.peak).astype(np.uint16)
    if picture.alpha is not None:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if picture.layout == "gray" else pixels
        pixels = np.dstack((rgb[..., ::-1], picture.alpha))
    elif picture.layout == "rgb":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    blocks: dict[int, bytes] = {}
    if _FORMATS[extension][4]:
        blocks = {k: b for k, b in ((_EXIF, picture.exif), (_XMP, picture.xmp), (_ICC, picture.icc)) if b}
    if extension == ".jpg" and _XMP in blocks:
        blocks[_XMP] = _XMP_IN_JPEG + blocks[_XMP]
    png_xmp = blocks.pop(_XMP, None) if extension == ".png" else None
    metadata: list[Any] = [np.frombuffer(block, np.uint8)[None] for block in blocks.values()]
    chatter: list[str] = []
    try:
        with captured_stderr(chatter):
            done, coded = cv2.imencodeWithMetadata(
                extension, np.ascontiguousarray(pixels), list(blocks), metadata, list(_PARAMETERS[extension])
            )
    except cv2.error as error:
        raise OutputError(f"cannot write {path}: {_reason([error.err or ''])}") from None
    if not done:
        raise OutputError(f"cannot write {path}: {_reason(chatter)}")
    return coded.tobytes() if png_xmp is None else headers.with_png_xmp(coded.tobytes(), png_xmp)


def _takes_icc(path: Path, picture: Picture) -> bool:
    """Whether the format takes the picture's ICC profile: libpng refuses damaged ones and those of another kind."""
    if picture.icc is None or not _FORMATS[path.suffix.lower()][4]:
        return True
    dot = replace(picture, planes=(picture.planes[0][:1, :1],), alpha=None, exif=None, xmp=None)
    try:
        _encoded(path, _FORMATS[path.suffix.lower()][0], dot)
    except OutputError:
        return False
    return True


def _lost(path: Path, picture: Picture, keeps_icc: bool) -> list[str]:
    if not keeps_icc:
        return [f"{path.name}: the ICC profile is damaged or of another colour space, and is not kept"]
    if _FORMATS[path.suffix.lower()][4]:
        return []
    names = [n for n, b in (("ICC profile", picture.icc), ("EXIF", picture.exif), ("XMP", picture.xmp)) if b]
    if not names:
        return []
    return [f"{path.name}: {' and '.join(names)} not kept in {path.suffix}; type -o with .png to keep it"]
