"""Animated WebP and PNG: every frame, its time and its alpha, by Pillow's word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srdeploy.errors import InputError, OutputError
from srdeploy.media import open_reader, open_writer, result_suffix

TIMES = [40, 120, 70, 250]


def animation(path: Path, alpha: bool, still_first: bool = False) -> None:
    down, across = np.mgrid[0:24, 0:36]
    frames = []
    for number in range(len(TIMES) + still_first):
        rgb = np.dstack((across * 5 + number * 20, down * 9, (across + number * 9) % 36 * 7))
        opacity = np.where((across + down + number * 4) % 24 < 12, 255, 90)
        frames.append(Image.fromarray(np.dstack((rgb, opacity)).astype(np.uint8)).convert("RGBA" if alpha else "RGB"))
    options = {"lossless": True} if path.suffix == ".webp" else {"default_image": still_first}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=TIMES, loop=3, **options)


def frames_of(path: Path) -> list[tuple[int, np.ndarray]]:  # type: ignore[type-arg]
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            image.load()
            found.append((round(image.info["duration"]), np.asarray(image.convert("RGBA"))))
        return found


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("source", "target"), [("png", "png"), ("webp", "webp"), ("png", "webp"), ("webp", "png")])
def test_frames_times_and_alpha_are_kept(
    source: str, target: str, alpha: bool, tmp_path: Path, enlarge_file: Callable[..., list[str]]
) -> None:
    animation(tmp_path / f"a.{source}", alpha)
    assert enlarge_file(tmp_path / f"a.{source}", tmp_path / f"b.{target}") == []
    small, big = frames_of(tmp_path / f"a.{source}"), frames_of(tmp_path / f"b.{target}")
    assert [time for time, _ in big] == [time for time, _ in small] == TIMES
    for (_, pixels), (_, enlarged) in zip(small, big, strict=True):
        assert np.array_equal(enlarged[::2, 1::2], pixels)
    with Image.open(tmp_path / f"b.{target}") as image:
        assert image.info["loop"] == 3
    reader = open_reader(tmp_path / f"b.{target}")
    assert [frame.pts for frame in reader] == [0, 40, 160, 230]


def test_a_png_for_those_that_know_no_animation_is_left_out(tmp_path: Path) -> None:
    animation(tmp_path / "a.png", alpha=True, still_first=True)
    reader = open_reader(tmp_path / "a.png")
    assert len(list(reader)) == len(TIMES)


def test_what_becomes_of_an_animation(tmp_path: Path, samples: Path) -> None:
    animation(tmp_path / "a.png", alpha=False)
    animation(tmp_path / "a.webp", alpha=False)
    assert [result_suffix(tmp_path / name) for name in ("a.png", "a.webp")] == [".png", ".webp"]
    assert type(open_reader(tmp_path / "a.png", target=Path("a.mp4"))).__name__ == "VideoReader"
    reader = open_reader(tmp_path / "a.webp")
    with pytest.raises(OutputError, match=r"\.mp4"):
        open_writer(tmp_path / "b.mp4", reader, 72, 48)
    with pytest.raises(OutputError, match="16383"):
        open_writer(tmp_path / "b.webp", reader, 16384, 48)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_cut_animation_is_an_input_error(suffix: str, tmp_path: Path) -> None:
    animation(tmp_path / f"a{suffix}", alpha=True)
    data = (tmp_path / f"a{suffix}").read_bytes()
    for part in (2, 5, 8, 9):
        (tmp_path / "cut").write_bytes(data[: len(data) * part // 10])
        with pytest.raises(InputError) as caught:
            list(open_reader(tmp_path / "cut"))
        assert "\n" not in str(caught.value)
