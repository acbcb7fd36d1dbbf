"""Pictures to calibrate on are seen as `srdeploy run` would show them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from srdeploy.calibration import PICTURES, SIDE, calibration_pairs
from srdeploy.errors import InputError


def _write(path: Path, pixels: np.ndarray) -> None:
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def levels() -> np.ndarray:
    """Every level there is, smooth enough to be made smaller."""
    return np.tile(np.arange(256, dtype=np.uint8), (96, 1))


def test_gray_is_luma_as_it_is(tmp_path: Path, levels: np.ndarray) -> None:
    _write(tmp_path / "gray.png", levels)
    _write(tmp_path / "rgb.png", np.repeat(levels[:, :, None], 3, axis=2))
    pairs = calibration_pairs(tmp_path, 1, 2, 1)
    assert len(pairs) == 2
    for low, truth in pairs:
        assert (low.shape, truth.shape) == ((48, 128, 1), (96, 256, 1))
        np.testing.assert_array_equal(truth[:, :, 0], levels)
    (low, truth), _ = calibration_pairs(tmp_path, 3, 2, 1)
    assert low.shape[2] == truth.shape[2] == 3


def test_the_middle_of_so_many_pictures_in_whole_multiples(tmp_path: Path) -> None:
    for i in range(PICTURES + 5):
        _write(tmp_path / f"{i:02}.png", np.full((SIDE + 44, 85, 3), i, np.uint8))
    pairs = calibration_pairs(tmp_path, 3, 2, 8)
    assert len(pairs) == PICTURES
    assert all(truth.shape == (SIDE, 80, 3) and low.shape == (SIDE // 2, 40, 3) for low, truth in pairs)
    assert int(pairs[0][1].max()) == 0 and int(pairs[-1][1].max()) >= PICTURES


def test_what_is_too_small_or_missing_says_what_to_type(tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "none", "there is no folder"), (tmp_path, "there are no pictures")):
        with pytest.raises(InputError, match=f"{message} .*type --calibrate"):
            calibration_pairs(folder, 1, 4, 1)
    _write(tmp_path / "small.png", np.zeros((20, 90, 3), np.uint8))
    with pytest.raises(InputError, match="sides of 64 pixels or more; type --calibrate"):
        calibration_pairs(tmp_path, 1, 4, 1)


def test_those_that_ship_are_the_default() -> None:
    assert len(calibration_pairs(None, 1, 2, 1)) == 3


def test_pictures_for_a_network_of_one_size_have_it(tmp_path: Path, levels: np.ndarray) -> None:
    _write(tmp_path / "larger.png", levels)
    _write(tmp_path / "smaller.png", levels[:40, :70])
    for low, truth in calibration_pairs(tmp_path, 1, 2, 1, size=(24, 64)):
        assert (low.shape, truth.shape) == ((24, 64, 1), (48, 128, 1))
