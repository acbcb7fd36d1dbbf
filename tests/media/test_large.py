"""PNGs written in bands hold the pixels, and all beside them, that OpenCV's do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.media import large
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.picture import Picture

RANDOM = np.random.default_rng(3)


def noise(shape: tuple[int, ...], depth: int) -> Any:
    return RANDOM.integers(0, 1 << depth, shape).astype(np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("layout", ["rgb", "gray"])
def test_bands_are_the_same_picture(
    layout: Any, alpha: bool, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = noise((23, 31, 3) if layout == "rgb" else (23, 31), depth)
    picture = Picture(layout, (plane,), depth, xmp=b"<x:xmpmeta/>", dpi=(300.0, 300.0))
    picture = replace(picture, alpha=noise((23, 31), depth) if alpha else None)
    write_picture(tmp_path / "whole.png", picture)
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(large, "_BAND", 4 * 31 * 5)  # five rows, and three at the end
    write_picture(tmp_path / "bands.png", picture)
    whole, bands = (read_picture(tmp_path / name) for name in ("whole.png", "bands.png"))
    assert (tmp_path / "bands.png").read_bytes().count(b"IDAT") > 1
    assert np.array_equal(bands.planes[0], whole.planes[0])
    assert (bands.alpha is None) == (not alpha) and (not alpha or np.array_equal(bands.alpha, picture.alpha))
    assert (bands.layout, bands.depth, bands.xmp, bands.dpi) == (whole.layout, whole.depth, whole.xmp, whole.dpi)
