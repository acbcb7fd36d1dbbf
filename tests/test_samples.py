"""The committed samples: their hashes, and that the script still renders them."""

import hashlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.metrics import psnr

pytestmark = pytest.mark.skipif(
    int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV before 5 draws other letters than the samples have"
)


@pytest.fixture(scope="module")
def script(samples: Path) -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(samples))
        yield import_module


def test_hashes_are_those_of_the_committed_files(samples: Path) -> None:
    listed = dict(line.split()[::-1] for line in (samples / "SHA256SUMS").read_text().splitlines())
    there = {path.name for path in samples.iterdir() if path.suffix in (".png", ".mp4")}
    assert set(listed) == there
    for name, expected in listed.items():
        assert hashlib.sha256((samples / name).read_bytes()).hexdigest() == expected, name
    assert sum((samples / name).stat().st_size for name in listed) < 1_000_000


@pytest.mark.parametrize("name", ["hills.png", "facade.png", "owl.png", "chart.png"])
def test_pictures_are_rendered_again(samples: Path, script: Callable[[str], ModuleType], name: str) -> None:
    _same_pixels(script("make").render(samples / name), samples / name)


def test_parity_pictures_are_rendered_again(script: Callable[[str], ModuleType]) -> None:
    for path in zoo.parity_pictures():
        _same_pixels(script("make").render(path), path)


def _same_pixels(rendered: np.ndarray, path: Path) -> None:
    committed = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert committed.shape == rendered.shape and committed.dtype == np.uint8
    off = np.abs(committed[:, :, ::-1].astype(int) - rendered)
    # Processors differ in the last bit of a sine, which may turn one level, or move the end of a stroke.
    assert (off > 1).mean() < 2e-4, path


def test_parity_pictures_hold_what_breaks_networks() -> None:
    pictures = [cv2.imread(str(path)) for path in zoo.parity_pictures()]
    assert any(picture.shape[0] % 2 and picture.shape[1] % 2 for picture in pictures)
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    for corner in np.ndindex(2, 2, 2):  # black, white and the six pure colours
        assert (pixels == np.array(corner) * 255).all(1).sum() > 50, corner


def test_clip_is_what_it_says(samples: Path, script: Callable[[str], ModuleType]) -> None:
    clip = script("clip")
    with av.open(str(samples / "clip.mp4")) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt, sound.codec_context.name) == ("h264", "yuv420p", "aac")
        assert (video.width, video.height, video.average_rate) == (480, 270, 25)
        assert (video.codec_context.colorspace, video.codec_context.color_range) == (1, 1)
        frames = list(container.decode(video))
    assert len(frames) == 100
    assert {(b.pts - a.pts) * video.time_base for a, b in pairwise(frames)} == {Fraction(1, 25)}
    layers = clip.scenery()
    for number in (0, 41, 99):
        decoded = frames[number].to_ndarray(format="rgb24")
        assert psnr(decoded, clip.frame(layers, number)) > 30
        assert psnr(decoded, clip.frame(layers, (number + 3) % 100)) < 25  # it moves


def test_clip_sounds_like_its_tune(samples: Path, script: Callable[[str], ModuleType]) -> None:
    tune = script("clip").tune().mean(0)
    with av.open(str(samples / "clip.mp4")) as container:
        heard = np.concatenate([block.to_ndarray().mean(0) for block in container.decode(audio=0)])
    assert heard.size / 48000 == pytest.approx(4, abs=0.05)
    size = 1 << 18
    matches = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(tune, size)))
    assert matches.max() / np.sqrt((heard @ heard) * (tune @ tune)) > 0.98
    assert np.sqrt((heard**2).mean()) > 0.02 and np.abs(heard).max() < 1
