"""Between PyAV's video frames and pictures: planes without loss, and tags."""

import re
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from av import VideoFrame
from av.error import FFmpegError

from srdeploy.errors import InputError, OutputError
from srdeploy.picture import ColorTags, Layout, Picture, Pixels

SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}

_YUV = re.compile(r"yuvj?(420|422|444)p(9|10|12|14|16)?(?:le)?$")
_GRAY = re.compile(r"gray(9|10|12|14|16)?(?:le)?$")
_GBR = re.compile(r"gbrp(9|10|12|14|16)?(?:le)?$")

# Formats with other arrangements of the same samples, and the planar one that holds them without loss. Formats whose
# chroma is coarser than 4:2:0 or only vertically reduced go to 4:4:4, since encoders of today do not take them.
_REFORMAT = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p410le": "yuv444p10le",
    "y210le": "yuv422p10le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "yuv440p": "yuv444p",
    "yuvj440p": "yuvj444p",
    "yuv411p": "yuv444p",
    "yuvj411p": "yuvj444p",
    "yuv410p": "yuv444p",
    "yuva420p": "yuv420p",
    "yuva422p": "yuv422p",
    "yuva444p": "yuv444p",
    "yuva420p10le": "yuv420p10le",
    "yuva422p10le": "yuv422p10le",
    "yuva444p10le": "yuv444p10le",
    "yuva422p12le": "yuv422p12le",
    "yuva444p12le": "yuv444p12le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgba": "gbrp",
    "bgra": "gbrp",
    "argb": "gbrp",
    "abgr": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "pal8": "gbrp",
    "gbrap": "gbrp",
    "rgb555le": "gbrp",
    "rgb565le": "gbrp",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgba64le": "gbrp16le",
    "rgba64be": "gbrp16le",
    "gbrap10le": "gbrp10le",
    "gbrap12le": "gbrp12le",
    "gbrap16le": "gbrp16le",
    "ya8": "gray",
    "ya16be": "gray16le",
    "ya16le": "gray16le",
    "gray16be": "gray16le",
    "gray10be": "gray10le",
    "gray12be": "gray12le",
    "monow": "gray",
    "monob": "gray",
}

_ALPHA = re.compile(r"yuva|gbrap|rgba|bgra|argb|abgr|ya\d")


@dataclass(frozen=True)
class PixelFormat:
    """A pixel format of FFmpeg's that our planes can hold as they are."""

    name: str
    layout: Layout
    depth: int
    subsampling: tuple[int, int]


def pixel_format(name: str, path: object) -> PixelFormat:
    """The planar format that holds what `name` holds. Raises InputError, naming `path`, when there is none."""
    for planar in (name, _REFORMAT.get(name, ""), name.removesuffix("be") + "le"):
        if match := _YUV.match(planar):
            return PixelFormat(planar, "yuv", int(match[2] or 8), SUBSAMPLING[match[1]])
        if match := _GRAY.match(planar):
            return PixelFormat(planar, "gray", int(match[1] or 8), (1, 1))
        if match := _GBR.match(planar):
            return PixelFormat(planar, "rgb", int(match[1] or 8), (1, 1))
    raise InputError(
        f"{path} holds pixels of the format {name}, which is not read; type: ffmpeg -i IN -pix_fmt yuv420p OUT.mkv"
    )


def drops_alpha(name: str) -> bool:
    """Whether the pixel format `name` has an alpha channel, which frames of a video do not keep."""
    return _ALPHA.match(name) is not None


def is_opaque(frame: VideoFrame) -> bool:
    """Whether every pixel of a frame with an alpha channel is fully opaque."""
    alpha = frame.reformat(format="rgba64le")
    plane: Any = alpha.planes[0]
    samples = np.frombuffer(plane, "<u2").reshape(-1, plane.line_size // 2)[:, : 4 * alpha.width]
    return bool((samples[:, 3::4] >= 65280).all())


def picture_from_frame(frame: VideoFrame, form: PixelFormat, color: ColorTags) -> Picture:
    """The planes of a decoded frame, as they are; views on it where its rows are not padded, else copies."""
    if frame.format.name != form.name:
        frame = frame.reformat(format=form.name)
    planes = tuple(_plane(frame, index, form.depth) for index in range(len(frame.planes)))
    if form.layout == "rgb":
        green, blue, red = planes
        planes = (np.dstack((red, green, blue)),)
    return Picture(form.layout, planes, form.depth, form.subsampling, color)


def _plane(frame: VideoFrame, index: int, depth: int) -> Pixels:
    # The array keeps the plane alive, and the plane its frame.
    rows = _rows(frame.planes[index], depth)
    result = rows if rows.flags.c_contiguous else np.ascontiguousarray(rows)
    result.flags.writeable = False
    return result


def _rows(plane: Any, depth: int) -> Pixels:
    kind = np.dtype("u1" if depth == 8 else "<u2")
    if plane.line_size <= 0:
        raise InputError("a frame stored upside down in memory is not read; convert the source with ffmpeg first")
    samples: Pixels = np.frombuffer(plane, dtype=kind)
    stride = plane.line_size // kind.itemsize
    return samples[: stride * plane.height].reshape(plane.height, stride)[:, : plane.width]


def frame_from_picture(picture: Picture, name: str, width: int, height: int) -> VideoFrame:
    """A frame of the pixel format `name`, `width` x `height`, holding the picture's planes.

    The frame may be one pixel wider and higher than the picture (4:2:0 of odd sizes): the edge is repeated.
    """
    planes = picture.planes
    if name == "bgr0":
        return _packed_bgr0(planes[0])
    if picture.layout == "rgb":
        rgb = planes[0]
        planes = (rgb[..., 1], rgb[..., 2], rgb[..., 0])
    frame = VideoFrame(width, height, name)
    if len(frame.planes) != len(planes):
        raise OutputError(f"a picture of {len(planes)} planes does not fit a frame of {name}")
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = _rows(plane, picture.depth)
        high, wide = (min(a, b) for a, b in zip(rows.shape, samples.shape, strict=True))
        rows[:high, :wide] = samples[:high, :wide]
        rows[high:, :wide] = rows[high - 1 : high, :wide]
        rows[:, wide:] = rows[:, wide - 1 : wide]
    return frame


def _packed_bgr0(rgb: Pixels) -> VideoFrame:
    """FFV1's only format for RGB of 8 bits."""
    height, width = rgb.shape[:2]
    frame = VideoFrame(width, height, "bgr0")
    plane: Any = frame.planes[0]
    samples = np.frombuffer(plane, np.uint8).reshape(height, -1)[:, : 4 * width].reshape(height, width, 4)
    samples[..., :3] = rgb[..., ::-1]
    samples[..., 3] = 0
    return frame


def color_of(frame: VideoFrame, chroma_location: int | None) -> ColorTags:
    """The colour tags of a decoded frame; 2 is "unspecified" in H.273, 0 in FFmpeg's range and location."""
    full = frame.color_range
    if full == 0:
        full = 2 if frame.format.name.startswith("yuvj") else 0
    return ColorTags(
        matrix=_known(frame.colorspace),
        primaries=_known(frame.color_primaries),
        transfer=_known(frame.color_trc),
        full_range={1: False, 2: True}.get(int(full)),
        chroma_location=chroma_location,
    )


def _known(code: int) -> int | None:
    return None if code == 2 else int(code)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of FFmpeg's display matrix (16.16 and 2.30 fixed point), or None where there is none."""
    block = side_data(frame, "DISPLAYMATRIX")
    return None if block is None else tuple(int(v) for v in np.frombuffer(block, dtype="<i4", count=9))


def side_data(frame: VideoFrame, name: str) -> bytes | None:
    """The raw side data block `name` (as in av.sidedata.Type) of a frame, or None."""
    try:
        return bytes(cast(Any, frame.side_data)[name])
    except (KeyError, ValueError, FFmpegError):  # none of it, or a type that this PyAV has no name for
        return None
