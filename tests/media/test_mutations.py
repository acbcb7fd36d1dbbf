"""Cut and mutated small files: each is read or refused in one line, in bounded time and memory, and leaves nothing.

A seeded sample runs in CI; scripts/check --long runs every cut and the whole campaign.
"""

import faulthandler
import io
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from srdeploy.errors import InputError, OutputError
from srdeploy.media import open_reader, result_suffix

SAMPLE, CAMPAIGN = 12, 500
"""Mutations of each kind of file."""

SECONDS = 60
"""A file that takes longer hangs: the process ends with the place where it does."""

MEGABYTES = 1000
"""What the process may grow by; the files claim at most 48x41 pixels before they are mutated."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    with Image.open(samples / "owl.png") as picture:
        small = picture.crop((100, 60, 148, 101))
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = 6
    for suffix in ("png", "jpg", "webp", "bmp", "tiff", "gif", "avif", "ppm", "jp2"):
        small.save(folder / f"o.{suffix}", **({"exif": exif} if suffix in ("png", "jpg", "webp", "tiff") else {}))
    small.convert("CMYK").save(folder / "cmyk.jpg")
    small.convert("L").save(folder / "gray.png")
    small.save(folder / "pages.tif", save_all=True, append_images=[small.convert("L")], compression="tiff_lzw")
    tifffile.imwrite(folder / "big.tif", np.asarray(small), bigtiff=True, photometric="rgb", compression="zlib")
    turned = [small.rotate(90 * n).resize((32, 32)) for n in range(3)]
    for suffix in ("png", "webp", "gif"):
        turned[0].save(folder / f"moving.{suffix}", save_all=True, append_images=turned[1:], duration=50)
    clip = ["ffmpeg", "-v", "error", "-i", str(samples / "clip.mp4"), "-frames:v", "6", "-vf", "scale=64:36"]
    subprocess.run([*clip, "-c:a", "copy", "-shortest", str(folder / "o.mp4")], check=True)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Cut it, overwrite some bytes, repeat a stretch, or put a large number where four bytes stood."""
    values = bytearray(data)
    kind = random.integers(4)
    if kind == 0:
        return bytes(values[: random.integers(len(values))])
    if kind == 1:
        for _ in range(int(random.integers(1, 12))):
            values[random.integers(len(values))] = random.integers(256)
        return bytes(values)
    if kind == 2:
        start, end = sorted(random.integers(len(values), size=2))
        return bytes(values[:end] + values[start:end] + values[end:])
    at = random.integers(min(len(values), 400))  # heads hold the sizes
    values[at : at + 4] = random.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"])
    return bytes(values)


def _try(path: Path, enlarge_file: Callable[..., list[str]]) -> bool:
    """Whether a file is read and, if a picture, written enlarged; refused, it leaves nothing."""
    folder = path.with_name("results")
    folder.mkdir(exist_ok=True)
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        if path.suffix == ".mp4":
            reader = open_reader(path, threads=1)
            try:
                for frame in reader:
                    assert frame.picture.planes[0].size
            finally:
                reader.close()
            return True
        result = folder / f"r{result_suffix(path)}"
        enlarge_file(path, result)
        assert result.stat().st_size
        result.unlink()
        return True
    except (InputError, OutputError) as error:
        assert "\n" not in str(error)
        return False
    finally:
        faulthandler.cancel_dump_traceback_later()
        assert not list(folder.iterdir())


def _campaign(files: Iterator[tuple[str, bytes]], folder: Path, enlarge_file: Callable[..., list[str]]) -> list[int]:
    """How many files were refused, and how many read."""
    outcomes = [0, 0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in files:
        path = folder / name
        path.write_bytes(data)
        outcomes[_try(path, enlarge_file)] += 1
        path.unlink()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown < MEGABYTES, f"{name} took {grown:.0f} MB"
    return outcomes


def _mutations(originals: dict[str, bytes], count: int) -> Iterator[tuple[str, bytes]]:
    for name, data in originals.items():
        random = np.random.default_rng(20261124)
        yield from ((name, _mutated(data, random)) for _ in range(count))


def _cuts(originals: dict[str, bytes], step: int) -> Iterator[tuple[str, bytes]]:
    small = io.BytesIO()
    for name in ("o.png", "o.jpg", "o.webp", "o.mp4"):
        data = originals[name]
        if name != "o.mp4":
            with Image.open(io.BytesIO(data)) as picture:
                picture.resize((24, 20)).save(small := io.BytesIO(), picture.format)
            data = small.getvalue()
        yield from ((name, data[:size]) for size in range(0, len(data), step))


def test_a_sample_of_mutations(
    originals: dict[str, bytes],
    tmp_path: Path,
    enlarge_file: Callable[..., list[str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    refused, read = _campaign(_mutations(originals, SAMPLE), tmp_path, enlarge_file)
    assert refused > read > 0
    assert capfd.readouterr().err == ""


def test_a_sample_of_cuts(
    originals: dict[str, bytes],
    tmp_path: Path,
    enlarge_file: Callable[..., list[str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    refused, read = _campaign(_cuts(originals, 97), tmp_path, enlarge_file)
    assert refused > 10 * read
    assert capfd.readouterr().err == ""


@pytest.mark.long
def test_every_cut(originals: dict[str, bytes], tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    refused, read = _campaign(_cuts(originals, 1), tmp_path, enlarge_file)
    print(f"{refused + read} cuts: {read} read (their last bytes hold no pixels), {refused} refused")  # noqa: T201 - the campaign's answer
    assert refused > 10 * read


@pytest.mark.long
def test_the_campaign(originals: dict[str, bytes], tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    refused, read = _campaign(_mutations(originals, CAMPAIGN), tmp_path, enlarge_file)
    print(f"{refused + read} mutations: {read} read, {refused} refused")  # noqa: T201 - the campaign's answer
    assert refused + read >= 5000
    assert refused > read > 0
