"""What `srdeploy compare` shows: pairs of pictures, files of two folders, or frames of two videos at the same times."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srdeploy.errors import InputError
from srdeploy.media import is_media, open_reader
from srdeploy.media.colour import rgb_from_yuv
from srdeploy.metrics import SSIM_WINDOW, luma, psnr, ssim
from srdeploy.picture import Frame, Picture
from srdeploy.resample import imresize_uint8
from srdeploy.urls import files_in

Rgb = npt.NDArray[np.uint8]

MOST = 200
"""Pairs on one page; more would make a file that no browser opens gladly."""

# What `srdeploy run` adds to the names of its results.
_ADDED = re.compile(r"_(x\d|\d+p|\d+x\d+)$")


@dataclass(frozen=True)
class Pair:
    """Two pictures of one size, (H, W, 3) uint8, and how far they are from each other.

    sizes: width and height of each before the smaller one was enlarged by bicubic. psnr in dB on RGB and on luma
    (inf when equal); ssim on luma, None where a side has fewer pixels than its window.
    """

    name: str
    a: Rgb
    b: Rgb
    sizes: tuple[tuple[int, int], tuple[int, int]]
    psnr_rgb: float
    psnr_y: float
    ssim_y: float | None

    def numbers(self) -> dict[str, Any]:
        """What was measured, for JSON: an infinite PSNR is null."""
        rgb, y = (None if math.isinf(value) else value for value in (self.psnr_rgb, self.psnr_y))
        return {"name": self.name, "sizes": self.sizes, "psnr_rgb": rgb, "psnr_y": y, "ssim_y": self.ssim_y}


def pairs_of(a: Path, b: Path, at: float = 0.0, frames: int = 8) -> Iterator[Pair]:
    """The pairs of two pictures, two folders, or two videos (`frames` of them from `at` seconds on).

    Raises InputError when one is a folder and the other is not, nothing in two folders has the same name, a video ends
    before `at`, or a file cannot be read.
    """
    for path in (a, b):
        if not path.exists():
            raise InputError(f"there is no {path}; type the paths of two pictures, two folders or two videos")
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {file} is not; compare two of a kind")
    if not a.is_dir():
        yield from _of_files(a, b, f"{a.name} | {b.name}", at, frames)
        return
    for name, one, other in matched(a, b)[:MOST]:
        yield from _of_files(one, other, name, at, 1)


def matched(a: Path, b: Path) -> list[tuple[str, Path, Path]]:
    """Name and both paths of what two folders have in common: names are equal, or differ by what `run` adds.

    Raises InputError when there is nothing.
    """
    ours, theirs = _named(a), _named(b)
    common = [name for name in ours if name in theirs]
    if not common:
        raise InputError(
            f"no picture or video in {a} has the name of one in {b} (names may differ by suffix and by _x4); "
            "compare two files instead"
        )
    return [(name, ours[name], theirs[name]) for name in common]


def _named(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files_in(folder):
        if path.is_file() and is_media(path) and not path.name.startswith("."):
            name = path.relative_to(folder).with_suffix("")
            found.setdefault(str(name.with_name(_ADDED.sub("", name.name))), path)
    return found


def _of_files(a: Path, b: Path, name: str, at: float, frames: int) -> Iterator[Pair]:
    ours, theirs = open_reader(a), open_reader(b)
    try:
        ours_moves, theirs_moves = (reader.frames != 1 for reader in (ours, theirs))
        if ours_moves != theirs_moves:
            video, picture = (a, b) if ours_moves else (b, a)
            raise InputError(f"{video} has several frames and {picture} has one; compare two of a kind")
        if not ours_moves:
            yield _pair(name, _rgb(next(iter(ours)).picture), _rgb(next(iter(theirs)).picture))
            return
        yield from _of_streams(name, _timed(iter(ours)), _timed(iter(theirs)), a, at, frames)
    finally:
        ours.close()
        theirs.close()


def _of_streams(
    name: str,
    ours: Iterator[tuple[float, Frame]],
    theirs: Iterator[tuple[float, Frame]],
    path: Path,
    at: float,
    count: int,
) -> Iterator[Pair]:
    """Each frame of the first stretch, with the frame of the other stream that is shown at its time."""
    shown = next(theirs, None)
    coming = next(theirs, None)
    made = 0
    for time, frame in ours:
        if time < at - 1e-6:
            continue
        while coming is not None and shown is not None and abs(coming[0] - time) <= abs(shown[0] - time):
            shown, coming = coming, next(theirs, None)
        if shown is None:
            break
        yield _pair(f"{name} at {time:.3f} s", _rgb(frame.picture), _rgb(shown[1].picture))
        made += 1
        if made == count:
            return
    if not made:
        raise InputError(f"{path} ends before {at:g} s; type a smaller --at")


def _timed(frames: Iterator[Frame]) -> Iterator[tuple[float, Frame]]:
    """Frames with their time in seconds, counted from the first."""
    start: Any = None
    for frame in frames:
        time = frame.pts * frame.time_base
        start = time if start is None else start
        yield float(time - start), frame


def _rgb(picture: Picture) -> Rgb:
    """8 bits, alpha over white."""
    if picture.layout == "gray":
        pixels = np.repeat(picture.planes[0][:, :, None], 3, axis=2)
    else:
        pixels = picture.planes[0] if picture.layout == "rgb" else rgb_from_yuv(picture)
    values = pixels.astype(np.float32) / picture.peak
    if picture.alpha is not None:
        share = picture.alpha.astype(np.float32)[:, :, None] / picture.peak
        values = values * share + (1 - share)
    return np.rint(values * 255).astype(np.uint8)


def _pair(name: str, a: Rgb, b: Rgb) -> Pair:
    sizes = ((a.shape[1], a.shape[0]), (b.shape[1], b.shape[0]))
    height, width = max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1])
    a, b = (x if x.shape[:2] == (height, width) else imresize_uint8(x, height, width) for x in (a, b))
    y_a, y_b = luma(a), luma(b)
    fits = min(height, width) >= SSIM_WINDOW
    return Pair(name, a, b, sizes, psnr(a, b), psnr(y_a, y_b), ssim(y_a, y_b) if fits else None)
