"""Tiles: every pixel is kept exactly once, each kept pixel has its halo, and all boxes have one size."""

import itertools

import numpy as np
import pytest

from srdeploy import tiling
from srdeploy.tiling import plan, spans

LENGTHS = (1, 7, 63, 64, 65, 99, 100, 101, 256, 301, 413)


@pytest.mark.parametrize(
    ("tile", "halo", "multiple"), list(itertools.product((1, 16, 64, 100), (0, 3, 8), (1, 2, 4, 8)))
)
def test_spans_keep_each_pixel_once_with_its_halo(tile: int, halo: int, multiple: int) -> None:
    for length in LENGTHS:
        length = -(-length // multiple) * multiple
        result = spans(length, tile, halo, multiple)
        assert [s.keep for s in result] + [length] == [0] + [s.keep_end for s in result]
        assert len({s.size for s in result}) == 1
        for s in result:
            assert s.read % multiple == 0
            assert s.size % multiple == 0
            assert s.read >= 0 and s.read + s.size <= length
            assert s.read <= max(0, s.keep - halo)
            assert s.read + s.size >= min(length, s.keep_end + halo)


def test_a_picture_no_larger_than_a_tile_is_one_span() -> None:
    assert len(spans(70, 64, 4)) == 1
    assert len(spans(73, 64, 4)) == 2


def test_the_last_tile_is_not_a_sliver() -> None:
    kept = [s.keep_end - s.keep for s in spans(1001, 100, 4)]
    assert max(kept) <= 100
    assert min(kept) >= 80


def test_whole_picture_without_a_tile() -> None:
    (tile,) = plan(30, 50, None, 4)
    assert (tile.rows.size, tile.columns.size) == (30, 50)


def test_tiles_cover_both_axes() -> None:
    tiles = list(plan(150, 90, 64, 2))
    assert sum((t.rows.keep_end - t.rows.keep) * (t.columns.keep_end - t.columns.keep) for t in tiles) == 150 * 90


def test_a_length_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        spans(33, 16, 2, multiple=4)


def test_groups_of_few_sizes_leave_nothing_over() -> None:
    for most in (1, 2, 3, 8):
        for count in range(40):
            groups = tiling.powers_of_two(count, most)
            assert sum(groups) == count and all(size <= most and size & (size - 1) == 0 for size in groups)


def test_a_common_tile_is_never_larger_than_the_picture() -> None:
    rng = np.random.default_rng(0)
    for height, width, limit in rng.integers(20, 3000, (300, 3)).tolist():
        halo, multiple = int(rng.integers(0, 20)), int(rng.choice([1, 1, 4]))
        sides = [-(-side // multiple) * multiple for side in (height, width)]
        tile = tiling.common_tile(*sides, halo, limit, multiple)
        if tile is not None:
            (size,) = {(box.rows.size, box.columns.size) for box in tiling.plan(*sides, tile, halo, multiple)}
            assert size[0] == size[1] <= min(limit, *sides) and tile in tiling.COMMON
