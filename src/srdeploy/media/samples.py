"""Samples as decoders give them, of any type and order, as pictures of 8 or 16 bits."""

from pathlib import Path

import numpy as np

from srdeploy.errors import InputError
from srdeploy.picture import Picture, Pixels


def in_two(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Rows x columns x channels as colours (gray without an axis for its channel) and alpha."""
    channels = pixels.shape[2]
    alpha = np.ascontiguousarray(pixels[..., -1]) if channels in (2, 4) else None
    return np.ascontiguousarray(pixels[..., 0] if channels < 3 else pixels[..., :3]), alpha


def scaled(pixels: Pixels, peak: int, target: int) -> Pixels:
    """Samples of 0 to `peak` as such of 0 to `target` (255 or 65535)."""
    return np.rint(pixels * (target / peak)).astype(np.uint8 if target == 255 else np.uint16)


def to_picture(path: Path, rgb: Pixels, alpha: Pixels | None, notes: list[str]) -> Picture:
    """Samples of any type as a picture of 8 or 16 bits."""
    span = None
    if rgb.dtype == np.uint32:
        rgb, alpha = (
            (rgb >> 16).astype(np.uint16),
            None if alpha is None else (alpha >> 16).astype(np.uint16),
        )
        notes.append(f"{path.name} has 32-bit samples; their upper 16 bits are read")
    elif rgb.dtype.kind in "fi":
        kind = "float" if rgb.dtype.kind == "f" else "signed"
        rgb, alpha, span = _from_range(path, rgb, alpha)
        notes.append(
            f"{path.name} has {kind} samples; they are enlarged in 16 bits, from {span[0]:.6g} to {span[1]:.6g}"
        )
    return Picture("gray" if rgb.ndim == 2 else "rgb", (rgb,), 8 * rgb.itemsize, alpha=alpha, span=span)


def _from_range(path: Path, values: Pixels, alpha: Pixels | None) -> tuple[Pixels, Pixels | None, tuple[float, float]]:
    """Floats or signed numbers as 16 bits from their least (0 if that is more) to their largest (1 if that is less).

    Alpha of floats counts from 0 to 1, of signed numbers from 0 to their largest.
    """
    opaque = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    if values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    elif values.dtype.kind == "i":
        values = values.astype(np.float64)
    if not np.isfinite(values).all() or (alpha is not None and not np.isfinite(alpha).all()):
        raise InputError(f"{path} holds infinite values or none (NaN); give them a number first")
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    deep = _clipped((values - low) / (high - low))
    return deep, None if alpha is None else _clipped(alpha.astype(np.float64) / opaque), (low, high)


def _clipped(share: Pixels) -> Pixels:
    deep: Pixels = np.rint(np.clip(share, 0, 1) * 65535).astype(np.uint16)
    return deep


def unassociated(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Colours that are stored multiplied by alpha (TIFF's ExtraSamples 1), as they are without it."""
    peak = np.iinfo(rgb.dtype).max
    share = alpha.astype(np.float32) / peak
    if rgb.ndim == 3:
        share = share[:, :, None]
    freed = np.rint(rgb / np.maximum(share, 1 / peak))
    return np.minimum(freed, peak).astype(rgb.dtype)
