"""Scoring an upscaler on a folder of pictures, by the protocol of the published tables."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError, ModelError
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.media.pictures import read_picture
from srdeploy.metrics import SSIM_WINDOW, Float64, luma, psnr, shave, ssim
from srdeploy.picture import Picture
from srdeploy.resample import imresize_uint8, modcrop

PROTOCOL = (
    "HR cut to a multiple of the scale; LR by MATLAB imresize bicubic (a = -0.5, antialiased), rounded to uint8; "
    "result uint8 RGB; `scale` pixels cut off each border; _y on unrounded BT.601 luma (16-235), _rgb on RGB"
)
"""What was done, in words; it stands in every result."""

Rgb = npt.NDArray[np.uint8]
Upscale = Callable[[Picture], Picture]


@dataclass(frozen=True, eq=False)
class Pair:
    """The reference and the result, borders cut: rgb uint8 (H, W, 3), y float64 (H, W) in 16 .. 235."""

    rgb: tuple[Rgb, Rgb]
    y: tuple[Float64, Float64]


METRICS: Mapping[str, Callable[[Pair], float]] = {
    "psnr_y": lambda pair: psnr(*pair.y),
    "ssim_y": lambda pair: ssim(*pair.y),
    "psnr_rgb": lambda pair: psnr(*pair.rgb),
    "ssim_rgb": lambda pair: ssim(*pair.rgb),
}
"""Everything that `srdeploy eval` measures, by the name that it has in the result."""


@dataclass(frozen=True)
class ImageScores:
    """Scores of one picture, by metric; a PSNR is infinite where the result equals the picture."""

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one folder."""

    model: str
    scale: int
    data: str
    images: tuple[ImageScores, ...]
    protocol: str = PROTOCOL

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the pictures, by metric."""
        return {
            metric: math.fsum(image.scores[metric] for image in self.images) / len(self.images)
            for metric in self.images[0].scores
        }

    def to_dict(self) -> dict[str, Any]:
        """The document that `srdeploy eval --json` prints. JSON has no infinity: an infinite PSNR is None."""
        return {
            "model": self.model,
            "scale": self.scale,
            "protocol": self.protocol,
            "data": self.data,
            "mean": _finite(self.mean),
            "images": [{"name": image.name, **_finite(image.scores)} for image in self.images],
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False)


def evaluate(
    upscale: Upscale | Literal["bicubic"],
    data: Path,
    scale: int,
    model: str = "bicubic",
    metrics: Sequence[str] = tuple(METRICS),
    on_image: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score `upscale` on every picture of the folder `data`: see PROTOCOL for what is done.

    upscale: RGB uint8 (h, w) picture in, RGB (or gray) uint8 picture of (scale * h, scale * w) out; or "bicubic" for
    the baseline, imresize of the low-resolution picture. model: its name in the result. metrics: names of METRICS.
    on_image(done, total) is called after each picture. Gray pictures are replicated to RGB, alpha is left out.

    Raises InputError when there is no such folder, no picture in it, or a picture that cannot be read or is too small
    or deeper than 8 bits, or for an unknown metric; ModelError when a result has not `scale` times its input's size.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        raise InputError(f"no such metric: {', '.join(unknown) or 'none given'}; there are: {', '.join(METRICS)}")
    paths = pictures_in(data)
    images = []
    for path in paths:
        reference = modcrop(_rgb(read_picture(path), path), scale)
        _check_size(reference, scale, path)
        low = imresize_uint8(reference, reference.shape[0] // scale, reference.shape[1] // scale)
        pair = _pair(reference, _enlarged(upscale, low, reference, scale, path), scale)
        name = path.relative_to(data).with_suffix("").as_posix()
        images.append(ImageScores(name, {metric: METRICS[metric](pair) for metric in metrics}))
        if on_image is not None:
            on_image(len(images), len(paths))
    return Evaluation(model, scale, str(data), tuple(images))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files in `folder` and the folders in it, sorted; hidden files and folders are left out.

    Raises InputError when there is no such folder or no picture in it.
    """
    if not folder.exists():
        raise InputError(f"no such folder: {folder}; give a folder of full-resolution pictures")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder of full-resolution pictures")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    paths = [p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not paths:
        raise InputError(f"no picture (PNG, JPEG, WebP, BMP, TIFF) is in {folder}; give a folder that has some")
    return paths


def _rgb(picture: Picture, path: Path) -> Rgb:
    if picture.depth != 8:
        raise InputError(f"{path} has {picture.depth} bits a sample; the protocol is defined for 8, convert it first")
    if picture.layout == "gray":
        return np.repeat(picture.planes[0][:, :, None], 3, axis=2)
    if picture.layout == "rgb":
        return picture.planes[0]
    raise InputError(f"{path} is stored as {picture.layout} planes; evaluation reads RGB and gray pictures")


def _check_size(reference: Rgb, scale: int, path: Path) -> None:
    least = SSIM_WINDOW + 2 * scale
    if min(reference.shape[:2]) < least:
        raise InputError(f"{path} is too small to score at x{scale}: its sides must be at least {least} pixels")


def _enlarged(upscale: Upscale | Literal["bicubic"], low: Rgb, reference: Rgb, scale: int, path: Path) -> Rgb:
    if upscale == "bicubic":
        return imresize_uint8(low, reference.shape[0], reference.shape[1])
    result = _rgb(upscale(Picture("rgb", (low,))), path)
    if result.shape != reference.shape:
        (height, width), (found_height, found_width) = low.shape[:2], result.shape[:2]
        raise ModelError(
            f"x{scale} was asked for, but the model made {found_height} x {found_width} of {height} x {width} pixels; "
            "give the --scale of the model"
        )
    return result


def _pair(reference: Rgb, result: Rgb, scale: int) -> Pair:
    a, b = shave(reference, scale), shave(result, scale)
    return Pair((a, b), (luma(a), luma(b)))


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {metric: value if math.isfinite(value) else None for metric, value in scores.items()}
