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


def make_pair(path: Path, scale: int, channels: int, share: float = 1.0) -> Pair:
    """Read one picture, cut it to a multiple of `scale`, and make its low-resolution partner.

    share: the picture is first reduced to this share of its width and height (0 excluded .. 1), by the same bicubic.
    The low-resolution picture is MATLAB's bicubic of the RGB picture rounded to uint8, as in the published protocol;
    luma is then taken of both, as `srdeploy run` takes it.
    """
    picture = read_picture(path)
    pixels = picture.planes[0]
    if picture.depth != 8:
        pixels = (pixels >> (picture.depth - 8)).astype(np.uint8)
    if picture.layout == "gray":
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if share < 1:
        height, width = (max(scale, round(side * share)) for side in pixels.shape[:2])
        pixels = imresize_uint8(pixels, height, width)
    high = modcrop(pixels, scale)
    low = imresize_uint8(high, high.shape[0] // scale, high.shape[1] // scale)
    if channels == 1:
        high, low = _full_range_luma(high), _full_range_luma(low)
    return Pair(path.name, np.ascontiguousarray(low), np.ascontiguousarray(high))


def _full_range_luma(rgb: Pixels) -> Pixels:
    """(H, W, 3) -> (H, W, 1), BT.601 weights, 0..255 (JFIF)."""
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)[:, :, None]


class Crops(Dataset[Tensor]):
    """One epoch's batches of random crops, flipped and turned, drawn from pictures that lie in one piece of memory.

    An item says where a batch lies; `cut` takes it from there by one gather on whatever device the pixels are, so that
    a step never waits for pixels to be copied. A batch depends on (seed, epoch, rank, step) alone, never on what was
    drawn before: that makes a resumed run exact.
    """

    def __init__(self, pairs: list[Pair], scale: int, patch: int, batch: int, steps: int, seed: int) -> None:
        pairs = [p for p in pairs if min(p.low.shape[:2]) >= patch]
        if not pairs:
            raise InputError(f"no training picture is {patch * scale} pixels wide and high; make data.patch smaller")
        self.scale, self.patch, self.batch, self.steps, self.seed = scale, patch, batch, steps, seed
        self.epoch = 0
        self.rank = 0
        self.sizes = np.array([p.low.shape[:2] for p in pairs], np.int64)
        areas = self.sizes.prod(axis=1)
        self.starts = np.cumsum(areas) - areas
        self.shares = np.cumsum(areas) / areas.sum()
        channels = pairs[0].low.shape[2]
        self.low = torch.from_numpy(np.concatenate([p.low.reshape(-1, channels) for p in pairs]))
        self.high = torch.from_numpy(np.concatenate([p.high.reshape(-1, channels) for p in pairs]))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Tensor:
        """Where the crops of a step lie: int64 (B, 6): first pixel of the picture, its width, y, x, turns, flip."""
        if step >= self.steps:
            raise IndexError(step)
        random = np.random.default_rng((self.seed, self.epoch, self.rank, step))
        # Large pictures are drawn more often, so that every pixel has the same chance.
        chosen = np.minimum(np.searchsorted(self.shares, random.random(self.batch)), len(self.sizes) - 1)
        y, x = random.integers(self.sizes[chosen].T - self.patch + 1)
        turns, flips = random.integers(4, size=self.batch), random.integers(2, size=self.batch)
        return torch.from_numpy(np.stack([self.starts[chosen], self.sizes[chosen, 1], y, x, turns, flips], axis=1))

    def to(self, device: torch.device) -> None:
        """Move the pixels to `device`, where `cut` then works."""
        self.low, self.high = self.low.to(device), self.high.to(device)

    def cut(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The crops at `places`, on the pixels' device: uint8 (B, C, P, P) and (B, C, scale*P, scale*P)."""
        start, width, y, x, turns, flips = places[:, :, None, None].unbind(1)
        scale = self.scale
        low = self.low[start + _turned(self.patch, width, y, x, turns, flips)]
        scaled = _turned(self.patch * scale, width * scale, y * scale, x * scale, turns, flips)
        return low.permute(0, 3, 1, 2), self.high[start * scale**2 + scaled].permute(0, 3, 1, 2)


def _turned(size: int, width: Tensor, y: Tensor, x: Tensor, turns: Tensor, flips: Tensor) -> Tensor:
    """Which pixels, (B, size, size), of pictures `width` wide make crops at y, x, mirrored, then turned as by rot90."""
    step = torch.arange(size, device=y.device)
    down, right = step[:, None], step[None, :]
    last = size - 1
    row = torch.where(turns < 2, torch.where(turns == 0, down, right), last - torch.where(turns == 2, down, right))
    column = torch.where(
        turns % 3 == 0, torch.where(turns == 0, right, down), last - torch.where(turns == 1, down, right)
    )
    return (y + row) * width + x + torch.where(flips > 0, last - column, column)


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels[None].transpose(0, 3, 1, 2)))


class WholePictures(Dataset[tuple[Tensor, Tensor]]):
    """The validation pictures, whole, one at a time: uint8 (1, C, H, W) and (1, C, scale*H, scale*W)."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        return _tensor(pair.low), _tensor(pair.high)
