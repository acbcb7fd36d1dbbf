"""Training data: pictures held in memory, low-resolution ones made as the evaluation makes them, seeded crops."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from srdeploy.errors import InputError
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.media.pictures import read_picture
from srdeploy.resample import imresize_uint8, modcrop

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture at both sizes, uint8 (H, W, C) and (scale*H, scale*W, C); C = 1 is full-range BT.601 luma."""

    name: str
    low: Pixels
    high: Pixels


def list_pictures(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """Every picture in `folders` under `root`, sorted; InputError for a folder that is missing or empty."""
    found: list[Path] = []
    for folder in folders:
        pictures = sorted(p for p in (root / folder).glob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        if not pictures:
            raise InputError(f"no pictures in {root / folder}; type --data DIR, the folder that holds {folder}/")
        found += pictures
    return found


def make_pair(path: Path, scale: int, channels: int) -> Pair:
    """Read one picture, cut it to a multiple of `scale`, and make its low-resolution partner.

    The low-resolution picture is MATLAB's bicubic of the RGB picture rounded to uint8, as in the published protocol;
    luma is then taken of both, as `srdeploy run` takes it.
    """
    picture = read_picture(path)
    pixels = picture.planes[0]
    if picture.depth != 8:
        pixels = (pixels >> (picture.depth - 8)).astype(np.uint8)
    if picture.layout == "gray":
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    high = modcrop(pixels, scale)
    low = imresize_uint8(high, high.shape[0] // scale, high.shape[1] // scale)
    if channels == 1:
        high, low = _full_range_luma(high), _full_range_luma(low)
    return Pair(path.name, np.ascontiguousarray(low), np.ascontiguousarray(high))


def _full_range_luma(rgb: Pixels) -> Pixels:
    """(H, W, 3) -> (H, W, 1), BT.601 weights, 0..255 (JFIF)."""
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)[:, :, None]


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """One epoch's batches of random crops, flipped and turned: uint8 (B, C, P, P) and (B, C, scale*P, scale*P).

    A batch depends on (seed, epoch, rank, step) alone, never on what was drawn before: that makes a resumed run exact.
    """

    def __init__(self, pairs: list[Pair], scale: int, patch: int, batch: int, steps: int, seed: int) -> None:
        self.pairs = [p for p in pairs if min(p.low.shape[:2]) >= patch]
        if not self.pairs:
            raise InputError(f"no training picture is {patch * scale} pixels wide and high; make data.patch smaller")
        self.scale, self.patch, self.batch, self.steps, self.seed = scale, patch, batch, steps, seed
        self.epoch = 0
        self.rank = 0
        areas = np.array([p.low.shape[0] * p.low.shape[1] for p in self.pairs], np.float64)
        self.cumulative = np.cumsum(areas / areas.sum())

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        if step >= self.steps:
            raise IndexError(step)
        random = np.random.default_rng((self.seed, self.epoch, self.rank, step))
        # Large pictures are drawn more often, so that every pixel has the same chance.
        chosen = np.minimum(np.searchsorted(self.cumulative, random.random(self.batch)), len(self.pairs) - 1)
        lows, highs = [], []
        for index in chosen:
            low, high = self._crop(self.pairs[int(index)], random)
            lows.append(low)
            highs.append(high)
        return _stack(lows), _stack(highs)

    def _crop(self, pair: Pair, random: np.random.Generator) -> tuple[Pixels, Pixels]:
        size, scale = self.patch, self.scale
        y = int(random.integers(pair.low.shape[0] - size + 1))
        x = int(random.integers(pair.low.shape[1] - size + 1))
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        low = pair.low[y : y + size, x : x + size]
        high = pair.high[y * scale : (y + size) * scale, x * scale : (x + size) * scale]
        if flip:
            low, high = low[:, ::-1], high[:, ::-1]
        return np.rot90(low, turns), np.rot90(high, turns)


def _stack(crops: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))


class WholePictures(Dataset[tuple[Tensor, Tensor]]):
    """The validation pictures, whole, one at a time: uint8 (1, C, H, W) and (1, C, scale*H, scale*W)."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        return _stack([pair.low]), _stack([pair.high])
