"""How far two pictures are from each other, by arithmetic alone, and the luma that the field measures on."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels; both sides of a picture must be at least this."""

_SSIM_SIGMA = 1.5

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""What each scale counts in MS-SSIM, finest first (Wang et al. 2003)."""

MS_SSIM_SIDE = SSIM_WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""Pixels that both sides of a picture must have for MS-SSIM: its coarsest scale must hold a window."""


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak² / mean((a - b)²)); infinite when a equals b.

    a, b: the same shape, any real dtype, on a scale whose largest value is `peak`. Raises ValueError when the shapes
    differ.
    """
    error = mse(a, b)
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def mse(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Mean squared error: mean((a - b)²), in squared units of the samples; shapes and errors as in `psnr`."""
    _same_shape(a, b)
    error = np.subtract(a, b, dtype=np.float64).ravel()
    return float(error @ error / error.size)


def mae(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Mean absolute error: mean(|a - b|), in units of the samples; shapes and errors as in `psnr`."""
    _same_shape(a, b)
    return float(np.abs(np.subtract(a, b, dtype=np.float64)).mean())


def entropy(pixels: npt.NDArray[np.uint8]) -> float:
    """Entropy of the levels in bits a sample: -sum p log2 p over the 256 levels (Shannon 1948); 0 .. 8.

    pixels: any shape; all channels are counted together. Low for flat pictures, high for noise: it says nothing of
    likeness. Equals scikit-image's shannon_entropy.
    """
    share = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum()) + 0.0  # of one level: 0, not -0


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
    luminance, structure = _similarity(
        np.ascontiguousarray(a, dtype=np.float64), np.ascontiguousarray(b, dtype=np.float64), peak
    )
    luminance *= structure
    return float(luminance.mean())


def ms_ssim(a: npt.NDArray[Any], b: npt.NDArray[Any], peak: float = 255.0) -> float:
    """Multi-scale structural similarity, 0 .. 1 (1 when equal): Wang, Simoncelli, Bovik, Asilomar 2003.

    prod(cs_j ** w_j, j = 1..4) * ssim_5 ** w_5, where cs_j is the mean of SSIM's contrast and structure at scale j and
    each scale averages 2 x 2 pixels of the one before (an odd last row or column counts as repeated). A negative mean
    counts as 0. a, b: as in `ssim`; with channels, the mean of the channels' values.

    Raises ValueError when the shapes differ or a side is shorter than MS_SSIM_SIDE.
    """
    _same_shape(a, b)
    if a.ndim not in (2, 3) or min(a.shape[:2]) < MS_SSIM_SIDE:
        raise ValueError(f"MS-SSIM needs at least {MS_SSIM_SIDE} x {MS_SSIM_SIDE} pixels, not shape {a.shape}")
    if a.ndim == 3:
        return float(np.mean([ms_ssim(a[..., c], b[..., c], peak) for c in range(a.shape[2])]))
    x = np.ascontiguousarray(a, dtype=np.float64)
    y = np.ascontiguousarray(b, dtype=np.float64)
    result = 1.0
    for weight in MS_SSIM_WEIGHTS[:-1]:
        result *= max(0.0, float(_similarity(x, y, peak)[1].mean())) ** weight
        x, y = _halved(x), _halved(y)
    return float(result * max(0.0, ssim(x, y, peak)) ** MS_SSIM_WEIGHTS[-1])


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


def _similarity(x: Float64, y: Float64, peak: float) -> tuple[Float64, Float64]:
    """SSIM's luminance term, and its contrast and structure in one: two maps (H - 10, W - 10) of (H, W)."""
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _window_mean(x * y) - product
    variances = _window_mean(x * x + y * y) - squares
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return (2 * product + c1) / (squares + c1), (2 * covariance + c2) / (variances + c2)


def _halved(pixels: Float64) -> Float64:
    """The mean of each 2 x 2 pixels: (H, W) -> (ceil(H / 2), ceil(W / 2))."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


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
