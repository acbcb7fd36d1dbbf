"""NIQE, a measure that needs no reference: how far a picture's statistics lie from those of untouched photographs.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 20(3),
2013. Windows, block size, sharpness rule and both scales are those of the paper and of its authors' MATLAB code.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError
from srdeploy.resample import imresize

Float64 = npt.NDArray[np.float64]

BLOCK = 96
"""Side of the blocks in pixels that features are taken from; a picture must hold at least two."""

SHIPPED = Path(__file__).resolve().parent / "models" / "niqe.npz"
"""The model of untouched photographs that is used when none is given; train/README.md says from which."""

_SHARP = 0.75
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True, eq=False)
class Pristine:
    """A Gaussian over the features of untouched photographs: mean float64 (36,), covariance float64 (36, 36)."""

    mean: Float64
    covariance: Float64


def niqe(gray: npt.NDArray[Any], pristine: Pristine) -> float:
    """Distance from `pristine`, 0 or more, lower = more natural: sqrt(d' pinv((C1 + C2) / 2) d), eq. 10 of the paper.

    gray: (H, W), any real dtype, 0 .. 255; d is the difference of the two means, C1 and C2 the covariances. Values
    compare only under one pristine model. NaN where fewer than two blocks have any texture. Raises ValueError for a
    picture that holds fewer than two blocks.
    """
    if gray.ndim != 2 or (gray.shape[0] // BLOCK) * (gray.shape[1] // BLOCK) < 2:
        raise ValueError(f"NIQE needs two blocks of {BLOCK} x {BLOCK} pixels, not shape {gray.shape}")
    features, _ = _features(gray)
    whole = features[np.isfinite(features).all(axis=1)]
    if len(whole) < 2:
        return math.nan
    difference = pristine.mean - np.nanmean(features, axis=0)
    spread = np.linalg.pinv((pristine.covariance + np.cov(whole, rowvar=False)) / 2)
    return math.sqrt(max(0.0, float(difference @ spread @ difference)))


def gray_of(rgb: npt.NDArray[np.uint8]) -> Float64:
    """(H, W, 3) uint8 to full-range BT.601 luma, rounded to whole levels, as MATLAB's rgb2gray; float64 (H, W)."""
    weights = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    result: Float64 = np.floor(rgb @ weights + 0.5)
    return result


def fit_pristine(pictures: Iterable[npt.NDArray[Any]]) -> Pristine:
    """The model of untouched photographs: gray pictures (H, W), 0 .. 255, each at least BLOCK pixels a side.

    Of each picture the blocks count whose mean local deviation is above 0.75 of its sharpest block's. Raises
    ValueError when fewer than 100 blocks are sharp: 36 features need many.
    """
    kept = []
    for gray in pictures:
        features, sharpness = _features(gray)
        kept.append(features[(sharpness > _SHARP * sharpness.max()) & np.isfinite(features).all(axis=1)])
    rows = np.concatenate(kept) if kept else np.empty((0, 36))
    if len(rows) < 100:
        raise ValueError(f"{len(rows)} sharp blocks of {BLOCK} x {BLOCK} pixels were found; at least 100 are needed")
    return Pristine(rows.mean(axis=0), np.cov(rows, rowvar=False))


def save_pristine(path: Path, model: Pristine) -> None:
    """Write a model as .npz: mu_pris_param (1, 36) and cov_pris_param (36, 36), names that other tools use too."""
    with path.open("wb") as file:
        np.savez(file, mu_pris_param=model.mean[None], cov_pris_param=model.covariance)


def load_pristine(path: Path) -> Pristine:
    """Read a model that save_pristine wrote, or another .npz with its arrays. Raises InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = arrays["mu_pris_param"].ravel(), arrays["cov_pris_param"]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError):
        mean = covariance = np.empty(0)
    if mean.shape != (36,) or covariance.shape != (36, 36):
        raise InputError(
            f"{path} is not an .npz with mu_pris_param (36 numbers) and cov_pris_param (36 x 36); give one, "
            "or a folder of untouched photographs"
        )
    return Pristine(mean.astype(np.float64), covariance.astype(np.float64))


def _features(gray: npt.NDArray[Any]) -> tuple[Float64, Float64]:
    """Features (blocks, 36) at full and at half size, and the sharpness of each block (blocks,)."""
    rows, columns = gray.shape[0] // BLOCK, gray.shape[1] // BLOCK
    pixels = gray[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    normal, deviation = _normalised(pixels)
    sharpness = _blocks(deviation, BLOCK).mean(axis=(1, 2))
    fine = _block_features(_blocks(normal, BLOCK))
    half = imresize(pixels, pixels.shape[0] // 2, pixels.shape[1] // 2)
    coarse = _block_features(_blocks(_normalised(half)[0], BLOCK // 2))
    return np.concatenate([fine, coarse], axis=1), sharpness


def _normalised(pixels: Float64) -> tuple[Float64, Float64]:
    """Each pixel less its local mean, over its local deviation plus 1 (eq. 1 to 3), and that deviation."""
    mean = _local_mean(pixels)
    deviation = np.sqrt(np.abs(_local_mean(pixels**2) - mean**2))
    return (pixels - mean) / (deviation + 1), deviation


def _local_mean(pixels: Float64) -> Float64:
    """Gaussian-weighted mean over 7 x 7 pixels, sigma 7/6, border repeated."""
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window /= window.sum()
    height, width = pixels.shape
    padded = np.pad(pixels, 3, mode="edge")
    columns = sum(w * padded[k : k + height] for k, w in enumerate(window))
    return np.asarray(sum(w * columns[:, k : k + width] for k, w in enumerate(window)))


def _blocks(pixels: Float64, side: int) -> Float64:
    """(H, W) to (blocks, side, side)."""
    height, width = pixels.shape
    split = pixels.reshape(height // side, side, width // side, side)
    return split.swapaxes(1, 2).reshape(-1, side, side)


def _block_features(blocks: Float64) -> Float64:
    """(blocks, side, side) to (blocks, 18): shape and width, then four numbers for each direction's products."""
    shape, left, right = _asymmetric_gaussian(blocks)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _asymmetric_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        gammas = [math.exp(math.lgamma(2 / a) - math.lgamma(1 / a)) for a in shape]
        features += [shape, (right - left) * np.array(gammas), left, right]
    return np.stack(features, axis=1)


def _asymmetric_gaussian(blocks: Float64) -> tuple[Float64, Float64, Float64]:
    """Fit asymmetric generalised Gaussians by moments: shape, left and right scale, each (blocks,); NaN where flat.

    Lasmar, Stitou, Berthoumieu, ICIP 2009. The shape is looked up on a grid of 0.001, as the authors do.
    """
    values = blocks.reshape(len(blocks), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(np.square(np.minimum(values, 0)).sum(axis=1) / (values < 0).sum(axis=1))
        right = np.sqrt(np.square(np.maximum(values, 0)).sum(axis=1) / (values > 0).sum(axis=1))
        ratio = left / right
        r = np.abs(values).mean(axis=1) ** 2 / np.square(values).mean(axis=1)
        r *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, ratios = _shape_table()
    upper = np.clip(np.searchsorted(ratios, r), 1, len(ratios) - 1)  # the table rises; NaN sorts last
    shape = shapes[upper - (r - ratios[upper - 1] <= ratios[upper] - r)]
    scale = np.array([math.exp((math.lgamma(1 / a) - math.lgamma(3 / a)) / 2) for a in shape])
    return np.where(np.isfinite(r), shape, np.nan), left * scale, right * scale


@cache
def _shape_table() -> tuple[Float64, Float64]:
    """Shapes 0.2 .. 10 and Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)) of each."""
    shapes = np.arange(200, 10001) / 1000
    logs = [2 * math.lgamma(2 / a) - math.lgamma(1 / a) - math.lgamma(3 / a) for a in shapes]
    return shapes, np.exp(logs)
