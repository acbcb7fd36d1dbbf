"""What an upscaler refuses when it is called from Python; what it gives is proved through the commands."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.errors import DeviceError, InputError, ModelError
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.picture import Picture
from srdeploy.upscale import Upscaler, open_upscaler


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return open_upscaler(threads=1)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        "photo.png",
        Picture("rgb", (np.zeros((8, 8, 3), np.float32),)),
        Picture("rgb", (np.zeros((8, 8, 4), np.uint8),)),
        Picture("rgb", (np.zeros((8, 8), np.uint8),)),
        Picture("gray", (np.zeros((8, 8, 1), np.uint8),)),
        Picture("gray", (np.zeros((0, 8), np.uint8),)),
        Picture("gray", (np.zeros((8, 8), np.uint8),), depth=16),
        Picture("yuv", (np.zeros((8, 8), np.uint8),)),
    ],
)
def test_what_is_no_picture(upscaler: Upscaler, given: Any) -> None:
    with pytest.raises(InputError):
        upscaler(given)


@pytest.mark.parametrize("options", [{"tile": "foo"}, {"tile": 0}, {"tile": 1.5}, {"overlap": -3}, {"overlap": "4"}])
def test_what_is_no_tile_plan(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="was asked; type"):
        open_upscaler(threads=1, **options)


def test_too_many_threads() -> None:
    with pytest.raises(DeviceError, match="1 to 256"):
        open_upscaler(threads=100_000)


def test_arrays_in_and_into_files(upscaler: Upscaler, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), np.uint16)
    for given in (pixels, pixels[..., 0], (pixels >> 8).astype(np.uint8)):
        big = upscaler(given)
        write_picture(tmp_path / "big.png", big)
        assert np.array_equal(read_picture(tmp_path / "big.png").planes[0], big)
    for wrong in (pixels / 65535, pixels[None], pixels[:0], "big.png"):
        with pytest.raises(InputError):
            write_picture(tmp_path / "big.png", wrong)


def test_deep_pixels_for_int8() -> None:
    with pytest.raises(ModelError, match=r"8 bits alone.*--precision fp32"):
        open_upscaler(precision="int8", device="cpu", threads=1)(np.zeros((8, 8), np.uint16))
