"""No dark fringes: what stands under transparent pixels does not reach the visible ones."""

import numpy as np
import pytest

import srdeploy
from srdeploy.media.alpha import with_colour_under_alpha
from srdeploy.picture import Picture


def disc(depth: int, gray: bool) -> Picture:
    """A bright disc of one colour; around it nothing, stored as black."""
    down, across = np.mgrid[0:61, 0:80]
    peak = (1 << depth) - 1
    dtype = np.uint8 if depth == 8 else np.uint16
    distance = np.hypot(down - 30, across - 37)
    alpha = (np.clip(22 - distance, 0, 1) * peak).round().astype(dtype)
    colour = np.array([peak, peak * 3 // 4, peak // 2])
    rgb = (np.ones((61, 80, 3)) * colour * (alpha > 0)[:, :, None]).astype(dtype)
    return Picture("gray" if gray else "rgb", (rgb[..., 0].copy() if gray else rgb,), depth, alpha=alpha)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("model", ["espcn-x4", "srcnn-rgb-x4"])
def test_an_edge_keeps_its_colour(model: str, depth: int, gray: bool) -> None:
    big = srdeploy.open(model)(disc(depth, gray))
    assert big.alpha is not None
    visible = big.alpha > big.peak // 50
    assert visible.any() and not visible.all()
    shown = big.planes[0][visible].astype(float) / big.peak
    wanted = 1.0 if gray else np.array([1, 0.75, 0.5])
    assert np.abs(shown - wanted).max() < 0.06
    assert big.alpha[4 * 30, 4 * 37] == big.peak
    assert big.alpha[0, 0] == 0


def test_visible_pixels_stay_and_all_or_none_is_left_alone() -> None:
    picture = disc(8, gray=False)
    filled = with_colour_under_alpha(picture)
    assert picture.alpha is not None
    seen = picture.alpha > 0
    assert np.array_equal(filled.planes[0][seen], picture.planes[0][seen])
    assert filled.planes[0].min() > 100
    for value in (0, 255):
        plain = Picture("rgb", picture.planes, alpha=np.full((61, 80), value, np.uint8))
        assert with_colour_under_alpha(plain) is plain
