"""Pictures as the bytes of a file, with everything beside their pixels that the format holds; by OpenCV."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from srdeploy.errors import OutputError
from srdeploy.media import headers, jpeg, png, png_writer, tiff
from srdeploy.media.decode import EXIF, ICC, XMP, reason
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.picture import Picture, Pixels
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage, too_little


@dataclass(frozen=True)
class Format:
    """What a file format holds. extension: OpenCV's name for it; largest: pixels on a side; pages: more than one."""

    extension: str
    largest: int = (1 << 31) - 1
    deep: bool = False
    floats: bool = False
    alpha: bool = True
    metadata: bool = True
    dpi: bool = True
    pages: bool = False


_JPEG = Format(".jpg", largest=65535, alpha=False)
_TIFF = Format(".tiff", deep=True, floats=True, pages=True)
_BMP = Format(".bmp", metadata=False)

FORMATS: Mapping[str, Format] = {
    ".png": Format(".png", deep=True),
    ".webp": Format(".webp", largest=16383, dpi=False),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _BMP,
    ".dib": _BMP,
    ".pfm": Format(".pfm", deep=True, floats=True, alpha=False, metadata=False, dpi=False),
}

# JPEG: above 95 files grow and nothing is seen; 4:4:4 because an enlarged edge in colour is what was asked for.
# WebP: lossless (any quality above 100), since its lossy mode always halves the chroma. PNG: of one pixel, the rest is
# png_writer's. TIFF: Deflate of differences.
_PARAMETERS: Mapping[str, tuple[int, ...]] = {
    ".png": (),
    ".jpg": (
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 101),
    ".tiff": (cv2.IMWRITE_TIFF_COMPRESSION, 8, cv2.IMWRITE_TIFF_PREDICTOR, 2),
    ".bmp": (),
    ".pfm": (),
}


_MOST: Mapping[str, Mapping[int, int]] = {".jpg": {EXIF: jpeg.MOST_EXIF, XMP: jpeg.MOST_XMP}}
"""Bytes of a block that a format holds, where that has an end."""

_BAND_ROWS = 64

_OPTIMIZED = 3 << 26
"""Samples of a JPEG whose Huffman tables are optimised: that holds all coefficients, twice the memory of the pixels."""


def format_of(path: Path) -> Format:
    """The format that the suffix of `path` names. Raises OutputError for one that is not written."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        known = " ".join(sorted(PICTURE_SUFFIXES))
        raise OutputError(f"cannot write {path}: no picture of the kind '{path.suffix}'; type one of {known}")
    return found


def encode(path: Path, picture: Picture) -> bytes:
    """The file of one picture, in the format that the suffix of `path` names. Raises OutputError."""
    form = format_of(path)
    if form.extension == ".png":
        file = io.BytesIO()
        write_png(file, path, picture)
        return file.getvalue()
    exif = sized_exif(picture, (picture.width, picture.height))
    blocks = beside(form, picture, exif)
    if form.extension == ".jpg":
        data = _coded(path, form.extension, for_opencv(picture, form), {})
        return with_resolution(jpeg.with_blocks(data, *(blocks.get(k) for k in (EXIF, XMP, ICC))), form, picture)
    data = _coded(path, form.extension, for_opencv(picture, form), blocks)
    if form.extension == ".tiff":
        return tiff.with_tags(data, exif, tiff_tags(picture))
    return with_resolution(data, form, picture)


def write_png(file: BinaryIO, path: Path, picture: Picture) -> None:
    """`encode` of a PNG, as it grows. Raises OutputError, and OSError for what the system refuses."""
    form = format_of(path)
    size = picture.width, picture.height

    def beside_pixels(dot: Picture) -> bytes:
        blocks = beside(form, dot, sized_exif(dot, size))
        xmp = blocks.pop(XMP, None)
        data = _coded(path, form.extension, for_opencv(dot, form), blocks)
        if xmp is not None:
            data = png.with_xmp(data, xmp)
        return with_resolution(png.with_color(data, dot.color, dot.calibration), form, dot)

    png_writer.write(file, picture, beside_pixels, sixteen)


def sized_exif(picture: Picture, size: tuple[int, int]) -> bytes | None:
    """The picture's EXIF, saying width and height as given."""
    sides = {tiff.PIXELS_ACROSS: size[0], tiff.PIXELS_DOWN: size[1]}
    return None if picture.exif is None else tiff.patched_exif(picture.exif, sides)


def beside(form: Format, picture: Picture, exif: bytes | None) -> dict[int, bytes]:
    """The blocks that are put beside the pixels, by OpenCV in most formats."""
    if not form.metadata or form.extension == ".tiff":
        return {}
    blocks = {k: b for k, b in ((EXIF, exif), (XMP, picture.xmp), (ICC, picture.icc)) if b}
    most = _MOST.get(form.extension, {})
    return {kind: block for kind, block in blocks.items() if len(block) <= most.get(kind, len(block))}


def with_resolution(data: bytes, form: Format, picture: Picture) -> bytes:
    """A file with the picture's dpi in its head, where the format has a place for it; not for TIFF."""
    if picture.dpi is None or not form.dpi:
        return data
    return headers.with_dpi(data, {".jpg": "jpeg"}.get(form.extension, form.extension[1:]), picture.dpi)


def tiff_tags(picture: Picture) -> tiff.Directory:
    """The tags of a TIFF for what stands beside the picture's pixels."""
    tags: tiff.Directory = {}
    if picture.icc:
        tags[tiff.ICC] = tiff.Entry(7, picture.icc)
    if picture.xmp:
        tags[tiff.XMP] = tiff.Entry(1, picture.xmp)
    if picture.dpi is not None:
        tags[tiff.X_RESOLUTION], tags[tiff.Y_RESOLUTION] = (tiff.rational(n) for n in picture.dpi)
        tags[tiff.RESOLUTION_UNIT] = tiff.short(2)
    return tags


def takes_icc(path: Path, picture: Picture) -> bool:
    """Whether the format takes the picture's ICC profile: libpng refuses damaged ones and those of another kind."""
    if picture.icc is None or not format_of(path).metadata:
        return True
    dot = replace(picture, planes=(picture.planes[0][:1, :1],), alpha=None, exif=None, xmp=None, span=None)
    try:
        encode(path, dot)
    except OutputError:
        return False
    return True


def lost(path: Path, picture: Picture) -> list[str]:
    """What the format that `path` names does not hold of the picture, a sentence each."""
    form = format_of(path)
    held = {EXIF: ("EXIF", picture.exif), XMP: ("XMP", picture.xmp), ICC: ("ICC profile", picture.icc)}
    kept = held if form.extension == ".tiff" else beside(form, picture, picture.exif)
    names = [name for kind, (name, block) in held.items() if block and kind not in kept]
    if picture.dpi is not None and not form.dpi and tiff.exif_resolution(picture.exif) is None:
        names.append("resolution")
    if form.extension != ".png" and (png.is_said(picture.color) or picture.calibration) and picture.icc is None:
        names.append("gamma and colour space")
    notes = []
    if names:
        notes.append(f"{path.name}: {' and '.join(names)} not kept in {path.suffix}; type -o with .png to keep it")
    if picture.span is not None and not form.floats:
        low, high = picture.span
        notes.append(f"{path.name}: floats become 16 bits, 0 for {low:.6g} and 65535 for {high:.6g}")
    return notes


def for_opencv(picture: Picture, form: Format) -> Pixels:
    """Packed B, G, R, A or gray, with 8 or 16 bits or as floats; what is more than the picture itself is made once."""
    pixels, alpha, peak = picture.planes[0], picture.alpha, picture.peak
    if form.floats and (picture.span is not None or form.extension == ".pfm"):
        low, high = picture.span or (0.0, 1.0)
        pixels = _mapped(pixels, np.float32, lambda part: low + part * ((high - low) / peak))
        alpha = None if alpha is None else _mapped(alpha, np.float32, lambda part: part / peak)
    elif picture.depth not in (8, 16):
        pixels = sixteen(pixels, peak)
        alpha = None if alpha is None else sixteen(alpha, peak)
    if alpha is not None:
        packed = np.empty((*alpha.shape, 4), pixels.dtype)
        places = [0, 0, 0, 1, 0, 2, 1, 3] if picture.layout == "gray" else [2, 0, 1, 1, 0, 2, 3, 3]
        cv2.mixChannels([np.ascontiguousarray(pixels), np.ascontiguousarray(alpha)], [packed], places)
        return packed
    if picture.layout == "rgb":
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return np.ascontiguousarray(pixels)


def sixteen(plane: Pixels, peak: int) -> Pixels:
    """Formats hold 8 or 16 bits; the same share of the peak keeps black and white where they were."""
    return _mapped(plane, np.uint16, lambda part: (part.astype(np.uint32) * 65535 + peak // 2) // peak)


def _mapped(plane: Pixels, dtype: type[np.generic], change: Callable[[Pixels], Pixels]) -> Pixels:
    """`change` of every sample, in bands: what is between has more bytes than either."""
    result = np.empty(plane.shape, dtype)
    for top in range(0, len(plane), _BAND_ROWS):
        result[top : top + _BAND_ROWS] = change(plane[top : top + _BAND_ROWS])
    return result


def parameters(extension: str, pixels: Pixels) -> list[int]:
    """OpenCV's words for how a format is written."""
    chosen = list(_PARAMETERS[extension])
    if extension == ".tiff" and pixels.dtype == np.float32:
        chosen[-1] = 1  # floats have no differences that a plain reader knows
    if extension == ".jpg" and pixels.size > _OPTIMIZED:
        chosen[-1] = 0
    return chosen


def arrays(blocks: dict[int, bytes]) -> list[Any]:
    """Blocks of metadata as OpenCV takes them."""
    return [np.frombuffer(block, np.uint8)[None] for block in blocks.values()]


def _coded(path: Path, extension: str, pixels: Pixels, blocks: dict[int, bytes]) -> bytes:
    return bytes(coded(path, extension, pixels, blocks).tobytes())


def coded(path: Path, extension: str, pixels: Pixels, blocks: dict[int, bytes]) -> npt.NDArray[np.uint8]:
    """The bytes of a file of pixels as `for_opencv` gives them; path: what errors name. Raises OutputError."""
    words, chatter = parameters(extension, pixels), list[str]()
    try:
        with captured_stderr(chatter):
            done, data = cv2.imencodeWithMetadata(extension, pixels, list(blocks), arrays(blocks), words)
    except cv2.error as error:
        if is_shortage(error):
            raise
        raise OutputError(f"cannot write {path}: {reason([error.err or ''])}") from None
    if not done and (extension == ".webp" or any("unknown exception" in line for line in chatter)):
        # What OpenCV does not know is C++'s bad_alloc; of lossless pixels that fit, libwebp refuses none but for that.
        raise too_little(f"to write {path}")
    if not done:
        raise OutputError(f"cannot write {path}: {reason(chatter)}")
    return data.reshape(-1)
