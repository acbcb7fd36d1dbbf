"""What OpenCV does not read, by Pillow: CMYK and Lab by profile, GIF, HEIF; and what stands beside AVIF and JPEG XL."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from srdeploy.errors import InputError, MissingExtra
from srdeploy.extras import require
from srdeploy.media import headers
from srdeploy.media.samples import in_two, scaled
from srdeploy.picture import Picture, Pixels
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage

_FORMATS = {"jpeg": "JPEG", "tiff": "TIFF", "avif": "AVIF", "jxl": "JXL", "jp2": "JPEG2000"}
_LOCK = threading.Lock()


def decode(path: Path, data: bytes, kind: str, max_pixels: int, notes: list[str], page: int = 0) -> Picture:
    """One picture of the file's bytes, not yet turned as its EXIF says. Raises InputError, and MissingExtra for HEIF
    without its library."""
    if kind == "heif":
        return _heif(path, data, max_pixels, notes)
    with opened(path, data, kind) as image:
        headers.check_size(path, image.width, image.height, max_pixels)
        if page:
            image.seek(page)
        info = dict(image.info)
        deep = _deep_jp2(path, data, image, notes) if kind == "jp2" else None
        if deep is not None:
            return _beside(deep, info)
        image.load()
        if image.mode in ("CMYK", "LAB", "YCbCr"):
            image = _rgb(image, info.pop("icc_profile", None), path, notes)
        if image.mode == "RGBX" and kind == "tiff":
            notes.append(f"{path.name} has a channel beside its colours that is not said to be alpha; it is not kept")
        picture = _planes(path, image)
    return _beside(picture, info)


def from_cmyk(path: Path, pixels: Pixels, profile: bytes | None, notes: list[str]) -> Picture:
    """A picture of rows x columns x 4 bytes of CMYK, by its profile."""
    with guarded(path, "tiff"):
        image = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
        return _picture(np.asarray(_rgb(image, profile, path, notes)))


def with_avif_metadata(path: Path, data: bytes, picture: Picture) -> Picture:
    """The picture with the ICC profile, EXIF (its turn and mirror included) and XMP of the AVIF file."""
    with opened(path, data, "avif") as image:
        return _beside(picture, image.info)


def jxl_profile(path: Path, data: bytes) -> bytes | None:
    """The ICC profile of a JPEG XL's pixels. Raises InputError, and MissingExtra without the library."""
    require("pillow_jxl", "pictures")
    with opened(path, data, "jxl") as image:
        profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None


@contextmanager
def opened(path: Path, data: bytes, kind: str) -> Iterator[Any]:
    """Pillow's image of the bytes, guarded as long as it is open."""
    with (
        guarded(path, kind),
        Image.open(io.BytesIO(data), formats=[_FORMATS.get(kind, kind.upper())]) as image,
    ):
        yield image


@contextmanager
def guarded(path: Path, kind: str) -> Iterator[None]:
    """Whatever Pillow raises meanwhile is an InputError, and neither it nor its decoders say anything by themselves."""
    # Pillow's own limit on pixels is for the whole process; ours is checked on every picture.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with captured_stderr([]):
                yield
        except InputError:
            raise
        except Exception as error:  # decoders raise nearly everything on damaged files
            if is_shortage(error):
                raise
            said = " ".join(str(error).split())[:120] or type(error).__name__
            if isinstance(error, UnidentifiedImageError):
                said = "its head is not understood"
            raise InputError(f"{path} is damaged or cut off ({kind}: {said}); fetch or make it again") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _planes(path: Path, image: Any) -> Picture:
    """Pixels and alpha of an image of any mode."""
    mode = image.mode
    if mode in ("P", "PA") or "transparency" in image.info:
        transparent = mode == "PA" or "transparency" in image.info
        gray = mode == "L" or (mode == "P" and _is_gray(image.getpalette("RGB")))
        image = image.convert(("LA" if transparent else "L") if gray else "RGBA" if transparent else "RGB")
    elif mode in ("1", "RGBX", "RGBa", "La"):
        image = image.convert({"1": "L", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}[mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA") and not image.mode.startswith("I;16"):
        raise InputError(f"{path} has samples of the kind {image.mode}, which are not read; convert it to RGB first")
    return _picture(np.asarray(image))


def _is_gray(palette: list[int] | None) -> bool:
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]


def _picture(pixels: Pixels) -> Picture:
    depth = 8 * pixels.itemsize
    if pixels.ndim == 2:
        return Picture("gray", (np.ascontiguousarray(pixels),), depth)
    alpha = np.ascontiguousarray(pixels[..., -1]) if pixels.shape[2] in (2, 4) else None
    if pixels.shape[2] <= 2:
        return Picture("gray", (np.ascontiguousarray(pixels[..., 0]),), depth, alpha=alpha)
    return Picture("rgb", (np.ascontiguousarray(pixels[..., :3]),), depth, alpha=alpha)


def _rgb(image: Any, profile: bytes | None, path: Path, notes: list[str]) -> Any:
    """CMYK by its profile, else by the plain formula; Lab by its definition. The result is sRGB."""
    name = {"CMYK": "CMYK", "LAB": "CIELab", "YCbCr": "YCbCr"}[image.mode]
    target = ImageCms.createProfile("sRGB")
    source: Any = None
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile:
        with suppress(ImageCms.PyCMSError, OSError):  # a damaged one is as good as none
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source is None:
        notes.append(f"{path.name} is {name} without a profile; it is converted to RGB by the plain formula")
        return image.convert("RGB")
    notes.append(f"{path.name} is {name}; it is converted to sRGB by its profile")
    return ImageCms.profileToProfile(
        image,
        source,
        target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _heif(path: Path, data: bytes, max_pixels: int, notes: list[str]) -> Picture:
    """HEIF by libheif, which turns it upright itself. More than 8 bits come as 16."""
    library: Any = require("pillow_heif", "pictures")
    try:
        found = library.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        headers.check_size(path, found.size[0], found.size[1], max_pixels)
        pixels = np.asarray(found)
        info = dict(found.info)
        if len(found) > 1:
            notes.append(f"{path.name} holds {len(found)} pictures; the one that it calls its primary is read")
        more = ["depth map"] if info.get("depth_images") else []
        more += ["gain map" if "gainmap" in kind.lower() else kind for kind in info.get("aux", {})]
        if more:
            notes.append(f"{path.name}: {' and '.join(more)} not kept")
    except InputError:
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is damaged or cut off (heif: {said}); fetch or make it again") from None
    return _beside(_picture(pixels), info)


def _beside(picture: Picture, info: dict[str, Any]) -> Picture:
    """The picture with what Pillow found beside the pixels."""
    exif, xmp, icc = (info.get(name) for name in ("exif", "xmp", "icc_profile"))
    return replace(
        picture,
        icc=icc if isinstance(icc, bytes) else None,
        exif=exif.removeprefix(b"Exif\0\0") or None if isinstance(exif, bytes) else None,
        xmp=xmp.rstrip(b"\0") or None if isinstance(xmp, bytes) else None,
    )


def _deep_jp2(path: Path, data: bytes, image: Any, notes: list[str]) -> Picture | None:
    """JPEG 2000 in colour with more than 8 bits, of which Pillow gives 8, by imagecodecs; None for others."""
    depth = _jp2_depth(data)
    if depth <= 8 or image.mode not in ("RGB", "RGBA"):
        return None
    sycc = b"colr\x01\0\0\0\0\0\x12" in data  # EnumCS 18 (ISO 15444-1, I.5.3.3): YCC, which comes unconverted
    with suppress(MissingExtra):
        library: Any = require("imagecodecs", "pictures")
        pixels: Pixels = library.jpeg2k_decode(data, numthreads=1)
        if pixels.shape == (image.height, image.width, len(image.mode)) and pixels.dtype == np.uint16 and not sycc:
            rgb, alpha = in_two(pixels if depth == 16 else scaled(pixels, (1 << depth) - 1, 65535))
            return Picture("rgb", (rgb,), 16, alpha=alpha)
    notes.append(f"{path.name} has more than 8 bits; 8 are read")
    return None


def _jp2_depth(data: bytes) -> int:
    """Bits of a sample by JPEG 2000's SIZ marker (ISO 15444-1, A.5.1)."""
    at = data.find(b"\xff\x51")
    return (data[at + 40] & 0x7F) + 1 if 0 <= at < len(data) - 40 else 8
