"""Pictures and frames: pixels with everything that must not be lost beside them."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError

Pixels = npt.NDArray[Any]
"""uint8 or uint16 samples; the shape is said where it is used."""

Layout = Literal["rgb", "gray", "yuv"]


@dataclass(frozen=True)
class ColorTags:
    """How samples are to be read, as code points of ITU-T H.273; None where the source does not say.

    matrix: MatrixCoefficients (1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020); primaries: ColourPrimaries;
    transfer: TransferCharacteristics. full_range: True for 0..255, False for 16..235 (at 8 bits).
    chroma_location: FFmpeg's AVChromaLocation (1 = left, 2 = center, 3 = topleft); only 4:2:0 and 4:2:2 need it.
    """

    matrix: int | None = None
    primaries: int | None = None
    transfer: int | None = None
    full_range: bool | None = None
    chroma_location: int | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels of one image or video frame.

    layout "rgb": planes = (rgb,), shape (H, W, 3). "gray": planes = (y,), shape (H, W).
    "yuv": planes = (y, u, v), shapes (H, W) and twice (ceil(H / sub_v), ceil(W / sub_h)), as decoded.
    Samples are uint8 when depth is 8, else uint16 holding 0 .. 2**depth - 1. Planes are read-only views by
    convention: whoever changes one makes a copy.

    alpha: (H, W), the dtype and depth of the planes, or None. icc, exif, xmp: raw blocks as found in the file.
    dpi: pixels for one inch, across and down, or None. span: what sample 0 and the largest stand for where the file
    holds floats; None for whole numbers.
    """

    layout: Layout
    planes: tuple[Pixels, ...]
    depth: int = 8
    subsampling: tuple[int, int] = (1, 1)
    """(sub_h, sub_v): luma samples for one chroma sample, across and down. 4:2:0 is (2, 2), 4:2:2 (2, 1)."""
    color: ColorTags = ColorTags()
    alpha: Pixels | None = None
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    span: tuple[float, float] | None = None
    calibration: bytes | None = field(default=None, repr=False)
    """PNG's gAMA and cHRM, whole chunks as they stand in the file."""

    @property
    def height(self) -> int:
        """Rows of the picture (of its luma, for "yuv")."""
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        """Columns of the picture (of its luma, for "yuv")."""
        return int(self.planes[0].shape[1])

    @property
    def peak(self) -> int:
        """The largest sample value: 2**depth - 1."""
        return (1 << self.depth) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 at 8 bits, uint16 above."""
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)


def picture_of(pixels: Pixels) -> Picture:
    """A Picture of an array (H, W) or (H, W, 3) RGB of uint8 or uint16, of any byte order; InputError for any other."""
    if pixels.dtype.kind == "u":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if (
        pixels.dtype not in (np.uint8, np.uint16)
        or (pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3))
        or 0 in pixels.shape
    ):
        raise InputError(
            f"an array of uint8 or uint16 and of shape (H, W) or (H, W, 3) is a picture; given was {pixels.dtype} of "
            f"shape {pixels.shape}"
        )
    return Picture("gray" if pixels.ndim == 2 else "rgb", (pixels,), depth=8 * pixels.itemsize)


def check_picture(picture: Any, taker: str) -> None:
    """Raise InputError for anything but a Picture that is what it says of itself; taker: who was given it."""
    if not isinstance(picture, Picture):
        raise InputError(
            f"{taker} takes a Picture, a Frame or an array, not {type(picture).__name__}; type "
            "srdeploy.read_picture(path), or give uint8 pixels of shape (H, W, 3)"
        )
    count = {"rgb": 1, "gray": 1, "yuv": 3}.get(picture.layout)
    if count is None:
        raise InputError(f"a picture's layout is rgb, gray or yuv, not {picture.layout!r}")
    if not isinstance(picture.depth, int) or not 8 <= picture.depth <= 16:
        raise InputError(f"a picture has 8 to 16 bits, as a whole number; its depth was {picture.depth!r}")
    if len(picture.planes) != count:
        raise InputError(f"a {picture.layout} picture has {count} planes; it was given {len(picture.planes)}")
    sides = (3,) if picture.layout == "rgb" else ()
    for plane in picture.planes:
        shape, dtype = getattr(plane, "shape", ()), getattr(plane, "dtype", type(plane).__name__)
        if dtype != picture.dtype or len(shape) != 2 + len(sides) or shape[2:] != sides or 0 in shape:
            raise InputError(
                f"a {picture.layout} picture of {picture.depth} bits has {picture.dtype} planes of shape "
                f"{'(H, W, 3)' if sides else '(H, W)'}; it was given {dtype} of shape {shape}"
            )
    _check_beside(picture)


def _check_beside(picture: Picture) -> None:
    """Raise InputError for chroma, alpha, tags or blocks that do not belong to the picture's first plane."""
    if picture.layout == "yuv":
        if picture.subsampling not in ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 4), (4, 2), (2, 4), (1, 4)):
            raise InputError(f"subsampling is such as (2, 2) for 4:2:0, not {picture.subsampling!r}")
        across, down = picture.subsampling
        chroma = -(-picture.height // down), -(-picture.width // across)
        if picture.planes[1].shape != chroma or picture.planes[2].shape != chroma:
            found = " and ".join(str(plane.shape) for plane in picture.planes[1:])
            raise InputError(
                f"chroma of {picture.width}x{picture.height} at subsampling {picture.subsampling} has shape {chroma}; "
                f"it was given {found}"
            )
    alpha: Any = picture.alpha
    if alpha is not None:
        shape, dtype = getattr(alpha, "shape", ()), getattr(alpha, "dtype", type(alpha).__name__)
        if shape != (picture.height, picture.width) or dtype != picture.dtype:
            raise InputError(
                f"alpha of this picture is {picture.dtype} of shape {(picture.height, picture.width)}; it was given "
                f"{dtype} of shape {shape}"
            )
    if not isinstance(picture.color, ColorTags):
        raise InputError(f"a picture's color is ColorTags, not {type(picture.color).__name__}")
    for name in ("icc", "exif", "xmp"):
        if not isinstance(getattr(picture, name), bytes | None):
            raise InputError(f"a picture's {name} is bytes or None, not {type(getattr(picture, name)).__name__}")


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and when it is shown: `pts * time_base` seconds. A still picture has pts 0.

    pts and duration count in time_base; duration 0 means that the source does not say.
    """

    picture: Picture
    pts: int = 0
    time_base: Fraction = Fraction(1, 1)
    duration: int = 0
    key: bool = False
