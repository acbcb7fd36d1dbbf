"""PNGs hold the pixels that were given, as other libraries read them, in every layout and number of bands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from srdeploy.media import png_writer
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.picture import Picture

RANDOM = np.random.default_rng(3)


def noise(shape: tuple[int, ...], depth: int) -> Any:
    return RANDOM.integers(0, 1 << depth, shape).astype(np.uint8 if depth == 8 else np.uint16)


def picture_of(layout: Any, alpha: bool, depth: int, height: int = 23, width: int = 31) -> Picture:
    plane = noise((height, width, 3) if layout == "rgb" else (height, width), depth)
    return Picture(layout, (plane,), depth, alpha=noise((height, width), depth) if alpha else None)


@pytest.mark.parametrize("depth", [8, 10, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("layout", ["rgb", "gray"])
@pytest.mark.parametrize("rows", [1, 5, 23])
def test_others_read_the_same_pixels(
    layout: str, alpha: bool, depth: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = replace(picture_of(layout, alpha, depth), xmp=b"<x:xmpmeta/>", dpi=(300.0, 300.0))
    samples = (3 if layout == "rgb" else 1) + alpha
    monkeypatch.setattr(png_writer, "_BAND", 31 * samples * rows * (1 if depth == 8 else 2))
    path = tmp_path / "a.png"
    write_picture(path, picture)
    assert path.read_bytes().count(b"IDAT") == -(-23 // rows) + 1
    expected = picture.planes[0][..., ::-1] if layout == "rgb" else picture.planes[0]
    if alpha:
        colour = expected if layout == "rgb" else np.repeat(expected[..., None], 3, 2)  # OpenCV has no gray with alpha
        expected = np.dstack((colour, picture.alpha))
    if depth == 10:
        expected = np.rint(expected / 1023 * 65535)
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert read.dtype == (np.uint8 if depth == 8 else np.uint16) and np.array_equal(read, expected)
    again = read_picture(path)
    assert (again.layout, again.xmp, again.dpi) == (layout, b"<x:xmpmeta/>", pytest.approx((300, 300), 1e-4))
    assert (again.alpha is not None) == alpha
    with Image.open(path) as other:
        other.load()  # checks every sum in the file
        assert other.size == (31, 23)
        if depth == 8:
            assert np.array_equal(
                np.asarray(other)[..., 0] if layout == "rgb" else np.asarray(other.convert("L")),
                picture.planes[0][..., 0] if layout == "rgb" else picture.planes[0],
            )


def test_smooth_pictures_use_every_branch_of_the_filter(tmp_path: Path) -> None:
    """Edges and slopes at all angles, whose left, above and corner are predicted from in turn."""
    y, x = np.mgrid[0:97, 0:101]
    for number, plane in enumerate((x + y, 2 * x - y + 100, (x * y) % 256, 128 + 127 * np.sin(x / 3) * np.cos(y / 5))):
        pixels = np.dstack([plane, 255 - plane, plane[::-1]]).astype(np.uint8)
        write_picture(tmp_path / f"{number}.png", Picture("rgb", (pixels,)))
        assert np.array_equal(cv2.imread(str(tmp_path / f"{number}.png"))[..., ::-1], pixels)


def test_the_bytes_do_not_depend_on_the_number_of_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = picture_of("rgb", True, 8, 300, 700)
    for count in (1, 7):
        monkeypatch.setattr(png_writer, "cores", lambda count=count: count)
        write_picture(tmp_path / f"{count}.png", picture)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "7.png").read_bytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("alpha", [False, True])
def test_the_smallest(shape: tuple[int, int], alpha: bool, tmp_path: Path) -> None:
    for layout in ("rgb", "gray"):
        picture = picture_of(layout, alpha, 8, *shape)
        write_picture(tmp_path / f"{layout}.png", picture)
        again = read_picture(tmp_path / f"{layout}.png")
        assert np.array_equal(again.planes[0], picture.planes[0])
        assert not alpha or np.array_equal(again.alpha, picture.alpha)
