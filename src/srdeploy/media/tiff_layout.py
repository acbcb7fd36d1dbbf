"""How a TIFF's page is stored, and which library reads that: told by its tags, before any of them is trusted.

libtiff inside OpenCV and Pillow reads far more than their own code behind it understands: without a word they give
planes for pixels, black for what they cannot unpack, white for black. So only what was compared with another reader,
pixel by pixel, goes their way (tests/media/test_tiff_kinds.py); the rest is tifffile's or is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srdeploy.errors import InputError
from srdeploy.media import tiff

WHITE_IS_ZERO, GRAY, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_MODELS = {
    WHITE_IS_ZERO: "gray",
    GRAY: "gray",
    RGB: "RGB",
    PALETTE: "palette",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    CIELAB: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "raw sensor",
    34892: "raw sensor",
}
_FORMS = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}

_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
_PLAIN = frozenset({_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS})
_FAX = frozenset({2, 3, 4})
_LZMA, _ZSTD = 34925, 50000
_NAMES = {
    _LZMA: "LZMA",
    _ZSTD: "Zstandard",
    _NONE: "none",
    _LZW: "LZW",
    _JPEG: "JPEG",
    _DEFLATE: "Deflate",
    _OLD_DEFLATE: "Deflate",
    _PACKBITS: "PackBits",
    50001: "WebP",
    34887: "LERC",
    50002: "JPEG XL",
    52546: "JPEG XL",
    34712: "JPEG 2000",
    34933: "PNG",
    6: "old JPEG",
}
_RARE = frozenset({_LZMA, _ZSTD, 50001, 34887, 50002, 52546, 34712, 34933})


@dataclass(frozen=True)
class Layout:
    """bits: of each sample, 0 where they differ. model: PhotometricInterpretation. form: SampleFormat (1 unsigned, 2
    signed, 3 float). separate: whether each channel has a plane of its own. extra: what the channels beyond the
    model's are (ExtraSamples). inks: InkSet, 1 for CMYK."""

    bits: int
    samples: int
    model: int
    form: int
    compression: int
    separate: bool
    tiled: bool
    extra: tuple[int, ...]
    inks: int

    @staticmethod
    def of(page: tiff.Directory) -> "Layout":
        """The layout that a page's tags say; what they leave out has TIFF 6.0's default."""

        def one(tag: int, default: int) -> int:
            return (tiff.numbers(page, tag) or (default,))[0]

        samples = one(tiff.SAMPLES, 1)
        bits = tiff.numbers(page, tiff.BITS)[:samples] or (1,)
        forms = tiff.numbers(page, tiff.SAMPLE_FORMAT)[:samples] or (UNSIGNED,)
        form = forms[0] if len(set(forms)) == 1 else 0
        return Layout(
            bits=bits[0] if len(set(bits)) == 1 else 0,
            samples=samples,
            model=one(tiff.PHOTOMETRIC, GRAY if samples < 3 else RGB),
            form=UNSIGNED if form == 4 else form,  # "undefined"
            compression=one(tiff.COMPRESSION, _NONE),
            separate=samples > 1 and one(tiff.PLANAR, 1) == 2,
            tiled=tiff.TILE_WIDTH in page,
            extra=tiff.numbers(page, tiff.EXTRA_SAMPLES),
            inks=one(tiff.INK_SET, 1),
        )

    def __str__(self) -> str:
        kind = f"{self.bits or 'uneven'}-bit {_FORMS.get(self.form, 'unknown')} {_MODELS.get(self.model, self.model)}"
        stored = f"compression {_NAMES.get(self.compression, self.compression)}"
        return f"{kind} of {self.samples} channels{' in separate planes' if self.separate else ''}, {stored}"

    @property
    def colors(self) -> int:
        """How many channels the colour model has."""
        return {WHITE_IS_ZERO: 1, GRAY: 1, PALETTE: 1, CMYK: 4}.get(self.model, 3)


def reader(path: Path, layout: Layout) -> Literal["opencv", "pillow", "tifffile"]:
    """Which library's reading of this layout was seen to be right. Raises InputError where none is."""
    if layout.samples > 4 and layout.model != CMYK:
        raise InputError(f"{path} has {layout.samples} channels, and at most four are read; convert it to RGB first")
    if _by_opencv(layout):
        return "opencv"
    if _by_pillow(layout):
        return "pillow"
    if _by_tifffile(layout):
        return "tifffile"
    raise InputError(f"{path} is a TIFF of a kind that is not read ({layout}); convert it to RGB of 8 or 16 bits first")


def _by_opencv(it: Layout) -> bool:
    gray = it.samples == 1 and it.model in (WHITE_IS_ZERO, GRAY)
    rgb = it.samples == 3 and it.model == RGB
    plain = it.compression in _PLAIN
    if it.form == FLOAT:
        bright = it.samples == 1 and it.model == GRAY
        return plain and it.bits in (32, 64) and not it.separate and (bright or _is_rgb(it))
    if it.form != UNSIGNED:
        return False
    if it.bits == 1:
        return gray and not it.tiled and (plain or it.compression in _FAX)
    if it.bits == 8:  # of 8 bits, OpenCV multiplies colours by alpha and reads some tiles not at all
        palette = it.samples == 1 and it.model == PALETTE and plain
        ycbcr = it.samples == 3 and it.model == YCBCR and plain and not it.separate
        return not it.tiled and (palette or ycbcr or ((gray or rgb) and (plain or it.compression == _JPEG)))
    if it.bits in (10, 12, 14):
        return it.compression == _NONE and not it.tiled and not it.separate and (gray or rgb)
    return it.bits in (16, 32) and plain and not it.separate and (gray or _is_rgb(it))


def _is_rgb(it: Layout) -> bool:
    return it.samples in (3, 4) and it.model == RGB


def _by_pillow(it: Layout) -> bool:
    if it.form != UNSIGNED or it.separate:
        return False
    gray = it.model in (WHITE_IS_ZERO, GRAY)
    if it.bits in (1, 2, 4):
        known = it.model == PALETTE or (gray and it.bits > 1)
        return it.samples == 1 and not it.tiled and it.compression in _PLAIN and known
    if it.bits != 8:
        return False
    if it.compression == _JPEG:
        shape = (it.model, it.samples)
        return shape in {(WHITE_IS_ZERO, 1), (GRAY, 1), (GRAY, 2), (RGB, 3), (CMYK, 4), (YCBCR, 3)} and it.inks == 1
    if it.compression not in _PLAIN | {_LZMA, _ZSTD}:
        return False
    cmyk = it.model == CMYK and it.samples == 4 and it.inks == 1
    return (
        (gray and it.samples == 1)
        or (it.model == GRAY and it.samples == 2)
        or (it.model == PALETTE and it.samples == 1)
        or _is_rgb(it)
        or cmyk
        or (it.model == CIELAB and it.samples == 3)
    )


def _by_tifffile(it: Layout) -> bool:
    if it.compression == _JPEG and it.model == YCBCR:
        return it.samples == 3 and not it.separate and it.form == UNSIGNED
    if it.model not in (WHITE_IS_ZERO, GRAY, RGB, PALETTE, CMYK) or it.samples - it.colors not in (0, 1):
        return False
    if it.model == PALETTE and (it.form != UNSIGNED or it.samples != 1 or it.bits > 16):
        return False
    if it.model == CMYK and (it.form != UNSIGNED or it.bits not in (8, 16) or it.inks != 1):
        return False
    if it.form != UNSIGNED and it.model == WHITE_IS_ZERO:
        return False
    sizes = {UNSIGNED: range(1, 33), SIGNED: (8, 16, 32), FLOAT: (16, 32, 64)}.get(it.form, ())
    return it.bits in sizes and it.compression in _PLAIN | _RARE | {_JPEG}
