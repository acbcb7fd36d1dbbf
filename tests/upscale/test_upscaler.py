"""What an upscaler refuses when it is called from Python; what it gives is proved through the commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from srdeploy.errors import DeviceError, InputError, ModelError
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.picture import Frame, Picture
from srdeploy.upscale import Upscaler, open_upscaler, stream


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
        Picture("yuv", (np.zeros((9, 9), np.uint8),) + 2 * (np.zeros((4, 4), np.uint8),), subsampling=(2, 2)),
        Picture("yuv", 3 * (np.zeros((8, 8), np.uint8),), subsampling=(0, 2)),
        Picture("yuv", 3 * (np.zeros((8, 8), np.uint8),), color=cast(Any, None)),
        Picture(cast(Any, "bgr"), (np.zeros((8, 8, 3), np.uint8),)),
        Picture("rgb", (np.zeros((8, 8, 3), np.uint16),), depth=40),
        Picture("rgb", (cast(Any, [[1]]),)),
        Picture("rgb", ()),
        Picture("rgb", (np.zeros((8, 8, 3), np.uint8),), alpha=np.zeros((3, 3), np.uint8)),
        Picture("rgb", (np.zeros((8, 8, 3), np.uint8),), alpha=np.zeros((8, 8), np.float32)),
        Picture("rgb", (np.zeros((8, 8, 3), np.uint8),), icc=cast(Any, "sRGB")),
        Frame(cast(Any, None)),
        [[1, 2], [3, 4]],
    ],
)
def test_what_is_no_picture(upscaler: Upscaler, tmp_path: Path, given: Any) -> None:
    with pytest.raises(InputError):
        upscaler(given)
    with pytest.raises(InputError):
        write_picture(tmp_path / "a.png", given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: open_upscaler(cast(Any, 5)), "model"),
        (lambda: open_upscaler(cast(Any, b"espcn-x4")), "model"),
        (lambda: open_upscaler("espcn", scale=cast(Any, "4")), "scale"),
        (lambda: open_upscaler("espcn", scale=True), "scale"),
        (lambda: open_upscaler(threads=cast(Any, 2.0)), "threads"),
        (lambda: open_upscaler(backend=cast(Any, None)), "backend"),
        (lambda: open_upscaler(device=cast(Any, 0)), "device"),
        (lambda: open_upscaler(precision=cast(Any, 16)), "precision"),
        (lambda: stream(cast(Any, 3)), "source"),
        (lambda: stream("clip.mp4", deinterlace=cast(Any, "no")), "deinterlace"),
        (lambda: read_picture(cast(Any, None)), "path"),
        (lambda: read_picture("a.png", max_pixels=cast(Any, "9")), "max_pixels"),
        (lambda: write_picture(cast(Any, np.zeros((8, 8), np.uint8)), cast(Any, "a.png")), "path"),
        (lambda: Upscaler(cast(Any, "espcn-x4")), "session"),
    ],
)
def test_wrong_types_are_said_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be "):
        call()


def test_a_path_names_a_model_and_numpy_counts(upscaler: Upscaler) -> None:
    again = open_upscaler(upscaler.session.path, tile=cast(Any, np.int64(64)), threads=1)
    assert again.session.spec == upscaler.session.spec and again.tile_for(100, 100) == 64


@pytest.mark.parametrize(
    "options", [{"tile": "foo"}, {"tile": 0}, {"tile": 1.5}, {"tile": True}, {"overlap": -3}, {"overlap": "4"}]
)
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
    assert np.array_equal(upscaler(pixels.astype(">u2")), upscaler(pixels)), "as numpy reads them from TIFF"
    for wrong in (pixels / 65535, pixels[None], pixels[:0], "big.png"):
        with pytest.raises(InputError):
            write_picture(tmp_path / "big.png", wrong)


def test_deep_pixels_for_int8() -> None:
    with pytest.raises(ModelError, match=r"8 bits alone.*--precision fp32"):
        open_upscaler(precision="int8", device="cpu", threads=1)(np.zeros((8, 8), np.uint16))
