"""One frame of a video as it would be, beside what bicubic makes of it: worth a look before a run of hours."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from srdeploy.errors import InputError, OutputError
from srdeploy.media import open_reader
from srdeploy.media.colour import rgb_from_yuv
from srdeploy.media.enlarge import chroma_offset, enlarge_plane
from srdeploy.media.pictures import write_picture
from srdeploy.picture import Picture, Pixels
from srdeploy.upscale import Upscaler


def preview(
    source: Path,
    at: float,
    upscaler: Upscaler,
    out: Path | None = None,
    overwrite: bool = False,
    deinterlace: bool = False,
) -> str:
    """Write the frame that is shown at `at` seconds: bicubic (Keys 1981) on the left, the network on the right.

    deinterlace: as in open_reader. out: a picture's name; None is `<stem>_x4.preview.png` beside the source. Returns a
    sentence about it and about how long the network takes for all frames. Raises InputError when there is no such
    frame, OutputError when the picture exists and is not to be overwritten.
    """
    path = out or source.with_name(f"{source.stem}_x{upscaler.scale}.preview.png")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists already; type --overwrite to replace it, or another -o")
    whole = open_reader(source, deinterlace=deinterlace)
    frames = whole.frames
    whole.close()
    reader = open_reader(source, start=at, deinterlace=deinterlace)
    try:
        frame = next(iter(reader), None)
    finally:
        reader.close()
    if frame is None:
        raise InputError(f"{source} shows no frame at {at} s; type an earlier --preview")
    upscaler(frame.picture)  # engines make themselves ready in their first run
    started = time.perf_counter()
    big = upscaler(frame.picture)
    seconds = time.perf_counter() - started
    write_picture(
        path, Picture("rgb", (np.hstack((_rgb(bicubic(frame.picture, upscaler.scale)), _rgb(big))),), big.depth)
    )
    takes = f"; its {frames} frames need {frames * seconds:.0f} s of the network" if frames else ""
    return f"{path}: bicubic beside {upscaler.session.spec.name} at {at:g} s{takes}"


def bicubic(picture: Picture, scale: int) -> Picture:
    """A picture of any layout, every plane of it enlarged by bicubic at its own siting."""
    if picture.layout == "rgb":
        channels = [
            enlarge_plane(np.ascontiguousarray(c), scale, peak=picture.peak)
            for c in picture.planes[0].transpose(2, 0, 1)
        ]
        return replace(picture, planes=(np.dstack(channels),))
    offset = chroma_offset(picture.subsampling, picture.color.chroma_location, scale)
    luma, *chroma = picture.planes
    across, down = picture.subsampling
    rows, columns = -(-picture.height * scale // down), -(-picture.width * scale // across)
    big = [enlarge_plane(c, scale, offset=offset, peak=picture.peak)[:rows, :columns] for c in chroma]
    return replace(picture, planes=(enlarge_plane(luma, scale, peak=picture.peak), *big))


def _rgb(picture: Picture) -> Pixels:
    if picture.layout == "yuv":
        return rgb_from_yuv(picture)
    return np.repeat(picture.planes[0][:, :, None], 3, axis=2) if picture.layout == "gray" else picture.planes[0]
