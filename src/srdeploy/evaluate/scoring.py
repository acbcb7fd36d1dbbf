"""Scoring an upscaler on a folder of pictures, by the protocol of the published tables."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from srdeploy import urls
from srdeploy.errors import ModelError, OutputError
from srdeploy.evaluate.measures import DEFAULT, Measures, Pair
from srdeploy.evaluate.pictures import Rgb, pictures_in, rgb_of
from srdeploy.evaluate.results import Evaluation, ImageScores
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.metrics import luma, shave
from srdeploy.picture import Picture
from srdeploy.resample import imresize_uint8, modcrop

PROTOCOL = (
    "HR cut to a multiple of the scale; LR by MATLAB imresize bicubic (a = -0.5, antialiased), rounded to uint8; "
    "result uint8 RGB; `scale` pixels cut off each border; _y on unrounded BT.601 luma (16-235), _rgb on RGB"
)
"""What was done, in words; it stands in every result."""

Upscale = Callable[[Picture], Picture]

NO_WEIGHTS: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class Save:
    """Where the results go, as PNG, under their pictures' names; existing ones are refused unless `overwrite`."""

    folder: Path
    overwrite: bool = False


def evaluate(
    upscale: Upscale | Literal["bicubic"],
    data: Path,
    scale: int,
    model: str = "bicubic",
    metrics: Sequence[str] = DEFAULT,
    on_image: Callable[[int, int], None] | None = None,
    weights: Mapping[str, Path] = NO_WEIGHTS,
    save: Save | None = None,
) -> Evaluation:
    """Score `upscale` on every picture of the folder `data`: see PROTOCOL for what is done.

    upscale: RGB uint8 (h, w) picture in, RGB (or gray) uint8 picture of (scale * h, scale * w) out; or "bicubic" for
    the baseline, imresize of the low-resolution picture. model: its name in the result. metrics: names of METRICS.
    on_image(done, total) is called after each picture. weights: paths of what metrics need, by the names in WEIGHTS.
    save: where the results go, uncut. Gray pictures are replicated to RGB, alpha is left out.

    Raises InputError when there is no such folder, no picture in it, or a picture that cannot be read or is too small
    or deeper than 8 bits, for an unknown metric, or for weights that cannot be had; OutputError when results cannot be
    saved; ModelError when a result has not `scale` times its input's size; MissingExtra.
    """
    paths = pictures_in(data)
    measures = Measures(metrics, len(paths), weights)
    names = [path.relative_to(data).with_suffix("").as_posix() for path in paths]
    if save is not None:
        _check_save(save, data, names)
    images = []
    for path, name in zip(paths, names, strict=True):
        reference = modcrop(rgb_of(read_picture(path), path), scale)
        measures.check_size(reference, scale, path)
        low = imresize_uint8(reference, reference.shape[0] // scale, reference.shape[1] // scale)
        result = _enlarged(upscale, low, reference, scale, path)
        if save is not None:
            _write(_place(save, name), result)
        images.append(ImageScores(name, measures.of(_pair(reference, result, scale))))
        if on_image is not None:
            on_image(len(images), len(paths))
    return Evaluation(model, scale, str(data), tuple(images), PROTOCOL, measures.of_set(), measures.notes())


def _check_save(save: Save, data: Path, names: Sequence[str]) -> None:
    """Raise OutputError, before anything is computed, when a result has no place of its own."""
    folder = save.folder
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot save into {folder}: it is a file; type --save with a folder")
    if urls.resolved(folder).is_relative_to(urls.resolved(data)):
        raise OutputError(f"cannot save into {folder}: the pictures to measure are in there; type another --save")
    for double in (name for name, times in Counter(names).items() if times > 1):
        raise OutputError(f"cannot save: two pictures in {data} are named {double}; rename one")
    existing = next((path for path in (_place(save, name) for name in names) if path.exists()), None)
    if existing is not None and not save.overwrite:
        raise OutputError(f"{existing} exists already; type --overwrite to replace it, or another --save")


def _place(save: Save, name: str) -> Path:
    return save.folder / f"{name}.png"


def _write(path: Path, rgb: Rgb) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent}: {error.strerror or error}") from None
    write_picture(path, Picture("rgb", (rgb,)))


def _enlarged(upscale: Upscale | Literal["bicubic"], low: Rgb, reference: Rgb, scale: int, path: Path) -> Rgb:
    if upscale == "bicubic":
        return imresize_uint8(low, reference.shape[0], reference.shape[1])
    result = rgb_of(upscale(Picture("rgb", (low,))), path)
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
