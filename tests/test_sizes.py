"""`--to`: what size is meant, which scale reaches it, and how a picture is brought to it."""

import numpy as np
import pytest

from srdeploy.errors import InputError
from srdeploy.fit import reduced
from srdeploy.picture import ColorTags, Picture
from srdeploy.resample import imresize, imresize_uint8, reduce_plane
from srdeploy.sizes import Target, smallest_scale


@pytest.mark.parametrize(
    ("text", "source", "size", "scale"),
    [
        ("1080p", (640, 360), (1920, 1080), 3),
        ("1080p", (480, 270), (1920, 1080), 4),
        ("1080p", (640, 480), (1440, 1080), 3),
        ("1080p", (360, 640), (1080, 1920), 3),
        ("2160p", (1920, 1080), (3840, 2160), 2),
        ("720p", (853, 480), (1280, 720), 2),
        ("1000x999", (640, 360), (1000, 999), 3),
        ("1280X720", (640, 360), (1280, 720), 2),
    ],
)
def test_the_smallest_scale_that_suffices(
    text: str, source: tuple[int, int], size: tuple[int, int], scale: int
) -> None:
    target = Target.parse(text)
    assert target.size_for(*source, even=True) == size
    assert smallest_scale(*source, target, (4, 2, 3)) == scale


def test_the_side_that_follows_is_even_for_video() -> None:
    assert Target.parse("480p").size_for(351, 240) == (702, 480)
    assert Target.parse("477p").size_for(353, 240, even=True) == (702, 477)
    assert Target.parse("477p").size_for(353, 240) == (702, 477)
    assert Target.parse("1080p").size_for(854, 480, even=True)[0] % 2 == 0


@pytest.mark.parametrize("text", ["", "big", "1080", "p", "0x3", "3x", "1920*1080", "-4x4", "999999p"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="1920x1080"):
        Target.parse(text)


def test_a_size_that_cannot_be_reached() -> None:
    with pytest.raises(InputError, match="--to 480p or less"):
        smallest_scale(200, 120, Target.parse("1080p"), (2, 3, 4))
    with pytest.raises(InputError, match="has 1920x1080 already"):
        smallest_scale(1920, 1080, Target.parse("1080p"), (2, 3, 4))


@pytest.mark.parametrize("shape", [(97, 130), (97, 130, 3)])
def test_reducing_equals_imresize(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    for height, width in ((72, 100), (97, 65), (31, 130), (97, 130)):
        difference = reduce_plane(pixels, height, width, 255).astype(int) - imresize_uint8(pixels, height, width)
        assert np.abs(difference).max() <= 1
        assert (difference != 0).mean() < 0.01
    deep = pixels.astype(np.uint16) * 4
    near = np.clip(imresize(deep, 50, 60), 0, 1023)
    assert np.abs(reduce_plane(deep, 50, 60, 1023) - near).max() <= 0.51


@pytest.mark.parametrize(("location", "phase"), [(1, -0.5), (2, 0.0), (3, -0.5)])
def test_chroma_stays_beside_its_luma(location: int, phase: float) -> None:
    """A ramp in luma coordinates, sampled where the siting says, is the same ramp after reducing."""
    height, width, to_height, to_width = 96, 128, 72, 96
    across = np.arange(width // 2) * 2 + 0.5 + phase  # where chroma stands, in luma samples
    chroma = np.tile(across * 400, (height // 2, 1)).round().astype(np.uint16)
    luma = np.tile(np.arange(width) * 400.0, (height, 1)).astype(np.uint16)
    picture = Picture("yuv", (luma, chroma, chroma), 16, (2, 2), ColorTags(chroma_location=location))
    small = reduced(picture, to_width, to_height)
    assert [plane.shape for plane in small.planes] == [(72, 96), (36, 48), (36, 48)]
    ratio = width / to_width
    where = (np.arange(to_width // 2) * 2 + 1 + phase) * ratio - 0.5
    assert np.abs(small.planes[1][10, 4:-4] - where[4:-4] * 400).max() < 20
    assert np.abs(small.planes[0][10, 8:-8] - ((np.arange(to_width) + 0.5) * ratio - 0.5)[8:-8] * 400).max() < 10
    assert small.color == picture.color
