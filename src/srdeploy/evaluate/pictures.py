"""The pictures of a folder, as the protocol takes them: 8-bit RGB."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.picture import Picture
from srdeploy.urls import files_in

Rgb = npt.NDArray[np.uint8]


def pictures_in(folder: Path) -> list[Path]:
    """The picture files in `folder` and the folders in it, sorted; hidden files and folders are left out.

    Raises InputError when there is no such folder or no picture in it, or one that cannot be read.
    """
    if not folder.exists():
        raise InputError(f"no such folder: {folder}; give a folder of full-resolution pictures")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder of full-resolution pictures")
    paths = [p for p in files_in(folder) if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
    paths = [p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not paths:
        raise InputError(f"no picture (PNG, JPEG, WebP, BMP, TIFF) is in {folder}; give a folder that has some")
    return paths


def rgb_of(picture: Picture, path: Path) -> Rgb:
    """uint8 (H, W, 3) of an RGB or gray picture. Raises InputError for deeper ones and for YUV planes."""
    if picture.depth != 8:
        raise InputError(f"{path} has {picture.depth} bits a sample; the protocol is defined for 8, convert it first")
    if picture.layout == "gray":
        return np.repeat(picture.planes[0][:, :, None], 3, axis=2)
    if picture.layout == "rgb":
        return picture.planes[0]
    raise InputError(f"{path} is stored as {picture.layout} planes; evaluation reads RGB and gray pictures")
