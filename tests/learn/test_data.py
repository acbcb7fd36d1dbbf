"""Training data: the low picture belongs to the high one, crops stay in step, and batches can be drawn again."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from srdeploy.learn.data import Crops, Pair, make_pair  # noqa: E402
from srdeploy.media.pictures import write_picture  # noqa: E402
from srdeploy.picture import Picture  # noqa: E402


def _pairs(scale: int) -> list[Pair]:
    pairs = []
    for index, (h, w) in enumerate([(20, 30), (41, 17)]):
        low = np.random.default_rng(index).integers(0, 256, (h, w, 1), dtype=np.uint8)
        pairs.append(Pair(str(index), low, low.repeat(scale, 0).repeat(scale, 1)))
    return pairs


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_low_and_high_crops_show_the_same_place(scale: int) -> None:
    crops = Crops(_pairs(scale), scale, patch=12, batch=16, steps=5, seed=1)
    for low, high in map(crops.cut, crops):
        assert low.shape == (16, 1, 12, 12) and low.dtype == torch.uint8
        assert torch.equal(high, low.repeat_interleave(scale, 2).repeat_interleave(scale, 3))


def test_a_batch_depends_on_its_place_alone() -> None:
    crops = Crops(_pairs(2), 2, patch=8, batch=4, steps=3, seed=1)
    first = list(crops)
    again = list(crops)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    crops.epoch = 1
    assert not any(torch.equal(a, b) for a, b in zip(crops, first, strict=True))


def test_crops_are_cut_mirrored_and_turned_as_numpy_does_it() -> None:
    pairs = _pairs(2)
    crops = Crops(pairs, 2, patch=8, batch=64, steps=1, seed=4)
    places = crops[0]
    low, high = crops.cut(places)
    for place, small, large in zip(places.tolist(), low, high, strict=True):
        start, width, y, x, turns, flip = place
        pair = pairs[0 if start == 0 else 1]
        assert pair.low.shape[1] == width
        for pixels, crop, by in ((pair.low, small, 1), (pair.high, large, 2)):
            part = pixels[y * by : (y + 8) * by, x * by : (x + 8) * by]
            expected = np.rot90(part[:, ::-1] if flip else part, turns)
            assert np.array_equal(crop.permute(1, 2, 0).numpy(), expected)


def test_every_turn_and_flip_is_drawn() -> None:
    square = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    crops = Crops([Pair("one", square, square.repeat(2, 0).repeat(2, 1))], 2, patch=8, batch=64, steps=1, seed=5)
    low, _ = crops.cut(crops[0])
    assert len({tuple(x.flatten().tolist()) for x in low}) == 8


def test_luma_of_a_pair_and_its_size(tmp_path: Path) -> None:
    rgb = np.zeros((33, 47, 3), np.uint8)
    rgb[..., 1] = 255
    write_picture(tmp_path / "g.png", Picture("rgb", (rgb,)))
    pair = make_pair(tmp_path / "g.png", 4, 1)
    assert pair.low.shape == (8, 11, 1) and pair.high.shape == (32, 44, 1)
    assert set(np.unique(pair.high)) == {150}  # 0.587 * 255, JFIF
    assert make_pair(tmp_path / "g.png", 4, 3).high.shape == (32, 44, 3)
    assert make_pair(tmp_path / "g.png", 4, 3, share=0.5).high.shape == (16, 24, 3)


def test_a_gray_picture_serves_rgb_networks(tmp_path: Path) -> None:
    write_picture(tmp_path / "gray.png", Picture("gray", (np.full((16, 16), 77, np.uint8),)))
    assert make_pair(tmp_path / "gray.png", 2, 3).high.shape == (16, 16, 3)
