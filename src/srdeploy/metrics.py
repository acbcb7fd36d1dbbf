"""How far two pictures are from each other: PSNR and SSIM, and the luma that they are published on."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels; both sides of a picture must be at least this."""

_SSIM_SIGMA = 1.5


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak² / mean((a - b)²)); infinite when a equals b.

    a, b: the same shape, any real dtype, on a scale whose largest value is `peak`. Raises ValueError when the shapes
    differ.
    """
    _same_shape(a, b)
    error = np.subtract(a, b, dtype=np.float64).ravel()
    mse = float(error @ error) / error.size
    return math.inf if mse == 0 else 10 * math.log10(peak**2 / mse)


def ssim(a: npt.NDArray[Any], b: npt.NDArray[Any], peak: float = 255.0) -> float:
    """Mean structural similarity, -1 .. 1 (1 when equal): Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.

    a, b: (H, W) or (H, W, C) of one shape, any real dtype, on a scale whose largest value is `peak`; with channels,
    the mean of the channels' values. Window 11 x 11, Gaussian of sigma 1.5; K1 = 0.01, K2 = 0.03; only where the
    window lies wholly inside the picture. Equals scikit-image's structural_similarity(gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False).

    Raises ValueError when the shapes differ or a side is shorter than the window.
    """
    _same_shape(a, b)
    if a.ndim not in (2, 3) or min(a.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, not shape {a.shape}")
    if a.ndim == 3:
        return float(np.mean([ssim(a[..., c], b[..., c], peak) for c in range(a.shape[2])]))
    x = np.ascontiguousarray(a, dtype=np.float64)
    y = np.ascontiguousarray(b, dtype=np.float64)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _window_mean(x * y) - product
    variances = _window_mean(x * x + y * y) - squares
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(similarity.mean())


def luma(rgb: npt.NDArray[Any]) -> Float64:
    """Y of ITU-R BT.601 in studio range, 16 .. 235, unrounded: (..., 3) -> float64 (...).

    rgb: any real dtype on a scale of 0 .. 255. The coefficients are those of MATLAB's rgb2ycbcr, on which the
    literature's figures are computed.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    result: Float64 = rgb[..., 0] * weights[0]
    result += rgb[..., 1] * weights[1]
    result += rgb[..., 2] * weights[2]
    result += 16.0
    return result


def shave(pixels: npt.NDArray[Any], border: int) -> npt.NDArray[Any]:
    """A view of (H, W[, C]) without `border` pixels at each side. Raises ValueError when nothing would be left."""
    height, width = pixels.shape[:2]
    if min(height, width) <= 2 * border:
        raise ValueError(f"cutting {border} pixels off each side of {height} x {width} leaves nothing")
    return pixels[border : height - border, border : width - border]


def _same_shape(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> None:
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"two pictures of one shape are needed, not {a.shape} and {b.shape}")


def _window_mean(pixels: Float64) -> Float64:
    """Gaussian-weighted mean over each window that lies inside: (H, W) -> (H - 10, W - 10)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    window /= window.sum()
    for axis in (0, 1):
        length = pixels.shape[axis] - SSIM_WINDOW + 1
        parts = [
            pixels[start : start + length] if axis == 0 else pixels[:, start : start + length]
            for start in range(SSIM_WINDOW)
        ]
        middle = SSIM_WINDOW // 2
        result = window[middle] * parts[middle]
        for k in range(middle):  # the window is symmetric: half the products
            result += window[k] * (parts[k] + parts[-1 - k])
        pixels = result
    return pixels
