"""Pictures that int8 is fitted to and judged on: the truth, and what the network is shown of it."""

from pathlib import Path

import numpy as np

from srdeploy import zoo
from srdeploy.errors import InputError
from srdeploy.media.colour import ycbcr_from_rgb
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.media.pictures import read_picture
from srdeploy.picture import Picture, Pixels
from srdeploy.resample import imresize_uint8, middle, modcrop
from srdeploy.trial import Pair
from srdeploy.urls import files_in

PICTURES = 16
"""So many pictures of a folder are calibrated on, evenly spaced by name."""

SIDE = 256
"""Of larger pictures the middle is taken, SIDE by SIDE pixels."""

LEAST_SIDE = 16
"""Smaller results of making a picture smaller are not used."""


def calibration_pairs(
    folder: Path | None, channels: int, scale: int, multiple: int, size: tuple[int, int] | None = None
) -> list[Pair]:
    """Pairs from PICTURES pictures of a folder, or from those that ship when it is None.

    As in training and evaluation the picture is made smaller in RGB by MATLAB's bicubic; for channels 1 luma is then
    taken of both, full-range BT.601, as `srdeploy run` takes it. Gray pictures are luma as they are.
    size: the only height and width that the network takes; the middle of each picture is then cut to it, and a smaller
    one is mirrored until it fits.
    Raises InputError when there is no such folder, no picture in it, or none that is large enough.
    """
    paths = zoo.parity_pictures() if folder is None else _pictures_in(folder)
    if len(paths) > PICTURES:
        paths = [paths[i * len(paths) // PICTURES] for i in range(PICTURES)]
    found = []
    for path in paths:
        pixels = _eight_bits(read_picture(path))
        if size is None:
            truth = modcrop(middle(pixels, *(min(SIDE, side) for side in pixels.shape[:2])), scale * multiple)
        else:
            truth = middle(pixels, size[0] * scale, size[1] * scale)
        height, width = truth.shape[0] // scale, truth.shape[1] // scale
        if min(height, width) >= LEAST_SIDE or size is not None:
            low = imresize_uint8(truth, height, width)
            found.append((_in_channels(low, channels), _in_channels(truth, channels)))
    if not found:
        raise InputError(
            f"no picture to calibrate on has sides of {LEAST_SIDE * scale} pixels or more; type --calibrate and a "
            "folder of larger ones"
        )
    return found


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; type --calibrate and a folder of pictures")
    paths = [path for path in files_in(folder) if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise InputError(f"there are no pictures in {folder}; type --calibrate and a folder of some")
    return paths


def _eight_bits(picture: Picture) -> Pixels:
    """(H, W, 3) or, of a gray picture, (H, W, 1)."""
    pixels = picture.planes[0]
    if picture.depth > 8:
        pixels = (pixels >> (picture.depth - 8)).astype(np.uint8)
    return pixels[:, :, None] if picture.layout == "gray" else pixels


def _in_channels(pixels: Pixels, channels: int) -> Pixels:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return ycbcr_from_rgb(pixels)[0][:, :, None]
