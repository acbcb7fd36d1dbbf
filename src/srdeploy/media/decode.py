"""A picture file's bytes as pixels and what stands beside them: by OpenCV, or by Pillow where OpenCV cannot."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from srdeploy.errors import InputError
from srdeploy.media import bitmaps, headers, jpeg, png, tiff, tiff_layout
from srdeploy.media.kinds import kind_of
from srdeploy.media.samples import in_two, scaled, to_picture, unassociated
from srdeploy.picture import Picture, Pixels
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage, shortage_said, too_little

# OpenCV's place in its own source, before and after what it has to say.
_PLACE = re.compile(r"^\[[^]]*\] \S+ \S+:\d+ \w+ |.*error: \([^)]*\) ?| in function '\w+'$|OpenCV TIFF\(line \d+\): ")

_XMP_TURN = re.compile(rb"""(tiff:Orientation(?:=["']|>))([1-8])""")

EXIF, XMP, ICC = 0, 1, 2  # cv2.IMAGE_METADATA_*

_NO_MEMORY = ("out of memory", "insufficient memory", "failed to allocate")
"""What libtiff, libjpeg, libpng and OpenCV say."""

_BY_OPENCV = frozenset({"png", "jpeg", "webp", "bmp", "tiff", "avif", "pnm", "pam", "pfm"})
_BY_PILLOW = frozenset({"gif", "heif", "jp2", "ico"})


def page_count(data: bytes) -> int:
    """How many pictures a file holds: the pages of a TIFF, else one."""
    return max(1, len(tiff.pages(data, tiff.MOST_PAGES + 1))) if kind_of(data[:4096]) == "tiff" else 1


def decode(path: Path, data: bytes, max_pixels: int, notes: list[str], page: int = 0) -> Picture:
    """One picture of the file `path`, whose bytes are `data`, upright. `notes` gets a sentence for what is not kept.

    Raises InputError when it is damaged, cut off, of a kind that is not read, or claims more than `max_pixels`,
    OutOfMemory when there is too little for its pixels.
    """
    with shortage_said(f"to read {path}"):
        return _decoded(path, data, max_pixels, notes, page)


def _decoded(path: Path, data: bytes, max_pixels: int, notes: list[str], page: int) -> Picture:
    kind = kind_of(data[:4096]).replace("aavif", "avif")  # of which the first picture is taken
    pages = tiff.pages(data) if kind == "tiff" else []
    directory = pages[page] if page < len(pages) else {}
    _refuse(path, data, kind, directory, max_pixels)
    layout = tiff_layout.Layout.of(directory) if kind == "tiff" else None
    by = tiff_layout.reader(path, layout) if layout else "pillow" if _is_cmyk_jpeg(data, kind) else "opencv"
    if kind in _BY_PILLOW or by == "pillow":
        from srdeploy.media import pillow

        picture = pillow.decode(path, data, kind, max_pixels, notes, page)
    elif kind == "jxl":
        from srdeploy.media import jxl

        picture = jxl.decode(path, data, notes)
    elif layout and by == "tifffile":
        picture = _by_tifffile(path, data, page, directory, layout, notes)
    elif (pixels := bitmaps.read(path, data, kind)) is not None:
        picture = to_picture(path, *in_two(pixels), notes)
    else:
        picture = _by_opencv(path, data, kind, layout, page, notes)
        if kind == "avif":  # OpenCV reads its deep pixels, and nothing beside them
            from srdeploy.media import pillow

            picture = pillow.with_avif_metadata(path, data, picture)
    if kind == "tiff":
        converted = layout and layout.model in (tiff_layout.CMYK, tiff_layout.CIELAB)
        icc = None if converted else _bytes(directory, tiff.ICC)
        picture = replace(
            picture, icc=icc, exif=tiff.exif_of_page(directory), xmp=_stripped(_bytes(directory, tiff.XMP))
        )
    turn = 1 if kind in ("tiff", "heif", "jxl") else _turn(picture)  # whose libraries turn pixels themselves
    exif = picture.exif and tiff.patched_exif(picture.exif, {tiff.ORIENTATION: 1})
    upright = replace(
        picture,
        planes=tuple(_upright(plane, turn) for plane in picture.planes),
        alpha=None if picture.alpha is None else _upright(picture.alpha, turn),
        exif=exif,
        xmp=picture.xmp and _XMP_TURN.sub(rb"\g<1>1", picture.xmp),
    )
    if kind == "png" or (kind in ("avif", "heif") and picture.icc is None):  # whose profile goes before its box
        calibration = png.calibration(data) if kind == "png" else None
        upright = replace(upright, color=headers.color(data, kind), calibration=calibration)
    dpi = tiff.resolution(directory) if kind == "tiff" else headers.dpi(data, kind, picture.exif)
    return replace(upright, dpi=dpi[::-1] if dpi and turn >= 5 else dpi)


def _turn(picture: Picture) -> int:
    """The orientation that EXIF says, or XMP where EXIF says nothing."""
    said = _XMP_TURN.search(picture.xmp or b"")
    if said and not tiff.says_orientation(picture.exif):
        return int(said[2])
    return tiff.orientation(picture.exif)


def reason(lines: list[str]) -> str:
    """What a decoder said first, without its place in its own source."""
    text = " ".join((lines or [""])[0].split())
    text = _PLACE.sub("", text).removesuffix(".")
    return text[:120] or "its data do not decode"


def _refuse(path: Path, data: bytes, kind: str, directory: tiff.Directory, max_pixels: int) -> None:
    """Raise InputError for what a decoder would read wrongly, in part, or with all the machine's memory."""
    if kind not in _BY_OPENCV | _BY_PILLOW | {"jxl"}:
        what = {"text": "a text file", "video": "no picture of a known kind"}.get(kind, f"of the kind {kind}")
        raise InputError(
            f"{path} is {what}, whatever its name says; PNG, JPEG, WebP, BMP, TIFF, AVIF, GIF, PNM and PFM are read"
        )
    if kind == "tiff" and tiff.is_raw(data, directory):
        raise InputError(f"{path} is a camera's raw file, of which only a preview is a picture; develop it first")
    size = headers.page_size(directory) if kind == "tiff" else headers.claimed_size(data, kind)
    if size is not None:
        headers.check_size(path, *size, max_pixels)
    elif kind == "tiff":
        raise InputError(f"{path} is damaged or cut off (tiff: its head says no size); fetch or make it again")
    if kind == "jpeg" and (bits := headers.jpeg_precision(data)) in (12, 16):
        raise InputError(f"{path} is a JPEG of {bits} bits, and only those of 8 are read; convert it to PNG first")
    if kind == "png" and png.is_cut(data):
        raise InputError(f"{path} is damaged or cut off (png: it ends inside a chunk); fetch or make it again")


def _is_cmyk_jpeg(data: bytes, kind: str) -> bool:
    return kind == "jpeg" and headers.jpeg_components(data) == 4


def _by_tifffile(
    path: Path, data: bytes, page: int, directory: tiff.Directory, layout: tiff_layout.Layout, notes: list[str]
) -> Picture:
    from srdeploy.media import tiff_rare

    pixels = tiff_rare.samples(path, data, page, directory, layout)
    if layout.model == tiff_layout.CMYK:
        from srdeploy.media import pillow

        if layout.bits == 16:
            notes.append(f"{path.name} has 16 bits; 8 are read")
            pixels = scaled(pixels, 65535, 255)
        if layout.samples > layout.colors:
            notes.append(f"{path.name} has a channel beside CMYK; it is not kept")
        return pillow.from_cmyk(path, pixels[..., :4], _bytes(directory, tiff.ICC), notes)
    if layout.form == tiff_layout.UNSIGNED and layout.bits not in (8, 16, 32) and layout.model != tiff_layout.PALETTE:
        pixels = scaled(pixels, (1 << layout.bits) - 1, 255 if layout.bits < 8 else 65535)
    rgb, alpha = in_two(pixels)
    if layout.model == tiff_layout.WHITE_IS_ZERO:
        rgb = ~rgb
    if alpha is not None and layout.extra[:1] not in ((1,), (2,)):
        alpha = None
        notes.append(f"{path.name} has a channel beside its colours that is not said to be alpha; it is not kept")
    picture = to_picture(path, rgb, alpha, notes)
    if layout.extra[:1] == (1,) and picture.alpha is not None:
        picture = replace(picture, planes=(unassociated(picture.planes[0], picture.alpha),))
    return picture


def _by_opencv(
    path: Path, data: bytes, kind: str, layout: tiff_layout.Layout | None, page: int, notes: list[str]
) -> Picture:
    pixels, found = _pixels(path, data, kind, page)
    if pixels.ndim == 3 and pixels.shape[2] > 4:
        raise InputError(f"{path} has {pixels.shape[2]} channels, and at most four are read; convert it to RGB first")
    if layout and layout.bits in (10, 12, 14):  # OpenCV gives them as the upper of 16 bits
        pixels = scaled(pixels >> (16 - layout.bits), (1 << layout.bits) - 1, 65535)
    if layout and layout.model == tiff_layout.WHITE_IS_ZERO and layout.bits > 8:  # as it is stored
        pixels = ~pixels
    rgb, alpha = _split(pixels, kind, data)
    picture = to_picture(path, rgb, alpha, notes)
    if layout and layout.extra[:1] == (1,) and picture.alpha is not None:
        picture = replace(picture, planes=(unassociated(picture.planes[0], picture.alpha),))
    if kind == "png":  # OpenCV 5.0 reads and writes XMP in PNG with bytes from beyond its end
        found[XMP] = png.xmp(data)
    if kind == "jpeg":
        held = jpeg.beside(data)
        found = {EXIF: held.exif, XMP: held.xmp, ICC: held.icc}
        if held.pictures > 1:
            notes.append(f"{path.name} holds {held.pictures} pictures (views, previews, gain maps); the first is read")
        if held.more_xmp:
            notes.append(f"{path.name} has XMP beyond its first 64 KB, which is not kept")
    return replace(
        picture,
        depth=headers.avif_depth(data) if kind == "avif" else picture.depth,
        icc=headers.bmp_profile(data) if kind == "bmp" else found.get(ICC),
        exif=found.get(EXIF),
        xmp=_stripped(found.get(XMP)),
    )


def _pixels(path: Path, data: bytes, kind: str, page: int) -> tuple[Pixels, dict[int, bytes | None]]:
    buffer = np.frombuffer(data, np.uint8)
    chatter: list[str] = []
    pixels: Pixels | None = None
    found: dict[int, bytes | None] = {}
    try:
        with captured_stderr(chatter):
            if page:
                _, mats = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
                pixels = mats[0] if mats else None
            else:
                pixels, kinds, blocks = cv2.imdecodeWithMetadata(buffer, cv2.IMREAD_UNCHANGED)
                found = {int(k): bytes(np.asarray(block)) for k, block in zip(kinds, blocks, strict=True)}
    except cv2.error as error:
        if is_shortage(error):
            raise
        raise InputError(f"{path} cannot be read: {reason([error.err or ''])}; fetch or make it again") from None
    # libjpeg fills what is missing with gray and only says so.
    cut = [line for line in chatter if "premature end" in line.lower() or "bad Huffman" in line]
    if pixels is None and any(word in line.lower() for word in _NO_MEMORY for line in chatter):
        raise too_little(f"to read {path}")
    if pixels is None or cut:
        raise InputError(f"{path} is damaged or cut off ({kind}: {reason(cut or chatter)}); fetch or make it again")
    return pixels, found


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
    if kind == "png" and png.is_gray(data):
        return np.ascontiguousarray(pixels[..., 0]), alpha
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):  # which cvtColor does not take
        return np.ascontiguousarray(pixels[..., 2::-1]), alpha
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if channels == 4 else cv2.COLOR_BGR2RGB), alpha


def _stripped(xmp: bytes | None) -> bytes | None:
    return None if xmp is None else xmp.rstrip(b"\0")


def _bytes(directory: tiff.Directory, tag: int) -> bytes | None:
    entry = directory.get(tag)
    return entry.data if isinstance(entry, tiff.Entry) and entry.kind in (1, 7) else None
