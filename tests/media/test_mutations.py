"""Seeded mutations of small files: each is read or refused in one line; a sample in CI, the campaign with --long."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srdeploy.errors import InputError
from srdeploy.media import open_reader

SAMPLE, CAMPAIGN = 25, 1500
"""Mutations of each kind of file."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    with Image.open(samples / "owl.png") as picture:
        small = picture.crop((100, 60, 148, 101))
    for suffix in ("png", "jpg", "webp", "bmp", "tiff"):
        small.save(folder / f"o.{suffix}")
    clip = ["ffmpeg", "-v", "error", "-i", str(samples / "clip.mp4"), "-frames:v", "6", "-vf", "scale=64:36"]
    subprocess.run([*clip, str(folder / "o.mp4")], check=True)
    return {path.suffix: path.read_bytes() for path in sorted(folder.iterdir())}


def _mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Cut it, overwrite some bytes, or repeat a stretch."""
    values = bytearray(data)
    kind = random.integers(3)
    if kind == 0:
        return bytes(values[: random.integers(len(values))])
    if kind == 1:
        for _ in range(int(random.integers(1, 12))):
            values[random.integers(len(values))] = random.integers(256)
        return bytes(values)
    start, end = sorted(random.integers(len(values), size=2))
    return bytes(values[:end] + values[start:end] + values[end:])


def _campaign(originals: dict[str, bytes], tmp_path: Path, count: int, say: Callable[[str], None]) -> None:
    outcomes = {"read": 0, "refused": 0}
    for suffix, data in originals.items():
        random = np.random.default_rng(20261124)
        for _ in range(count):
            path = tmp_path / f"m{suffix}"
            path.write_bytes(_mutated(data, random))
            try:
                reader = open_reader(path, threads=1)
                try:
                    for frame in reader:
                        assert frame.picture.planes[0].size
                finally:
                    reader.close()
                outcomes["read"] += 1
            except InputError as error:
                assert "\n" not in str(error)
                outcomes["refused"] += 1
    say(f"{outcomes}")
    assert outcomes["refused"] > count / 2
    assert outcomes["read"] > 0


def test_a_sample(originals: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _campaign(originals, tmp_path, SAMPLE, lambda _: None)
    assert capfd.readouterr().err == ""


@pytest.mark.long
def test_the_campaign(originals: dict[str, bytes], tmp_path: Path) -> None:
    _campaign(originals, tmp_path, CAMPAIGN, print)
