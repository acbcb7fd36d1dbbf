"""Large pictures go into their file without a second copy in memory, and a full disk is noticed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srdeploy.media import direct
from srdeploy.media.direct import write_to
from srdeploy.media.encode import encode
from srdeploy.picture import Picture, Pixels

NAMES = ["a.jpg", "a.tif", "a.bmp", "a.webp"]
# A block of little-endian EXIF whose one tag is an orientation of 1, and an XMP packet.
EXIF = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("borrow", [True, False])
def test_the_same_bytes_and_pixels_as_before(
    name: str, borrow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "LARGE", 0)
    gray, rgb = noise(150, 90)[..., 0].copy(), noise(150, 90)
    for number, picture in enumerate(
        (
            Picture("rgb", (rgb,), exif=EXIF, xmp=XMP, dpi=(300.0, 72.0)),
            Picture("rgb", (rgb,)),
            Picture("gray", (gray,), dpi=(96.0, 96.0)),
            Picture("rgb", (np.broadcast_to(rgb[:1], rgb.shape),)),  # nothing can be written to it
        )
    ):
        expected = encode(Path(name), picture)
        part = tmp_path / f"{number} %d {name}"
        write_to(part, Path(name), picture, borrow)
        assert part.read_bytes() == expected
        assert np.array_equal(rgb, noise(150, 90))


@pytest.mark.skipif(sys.platform != "linux", reason="the most that a process ever had is read from /proc")
def test_no_copy_of_the_pixels_nor_the_file_is_held(tmp_path: Path) -> None:
    """Noise: its file is as large as its pixels."""
    program = """
import re, sys
from pathlib import Path
import numpy as np
from srdeploy.media import direct, encode
from srdeploy.media.pictures import PictureReader, PictureWriter, write_picture
from srdeploy.picture import Frame, Picture

direct.LARGE = encode._OPTIMIZED = 1 << 26

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

folder = Path(sys.argv[1])
write_picture(folder / "small.png", Picture("rgb", (np.zeros((8, 8, 3), np.uint8),), dpi=(300.0, 300.0)))
reader = PictureReader(folder / "small.png")
pixels = np.random.default_rng(0).integers(0, 256, (4800, 4700, 3), np.uint8)
frame = Frame(Picture("rgb", (pixels,), dpi=(300.0, 300.0)))
for suffix in ("jpg", "bmp", "tif", "png"):
    before = most()
    with PictureWriter(folder / f"big.{suffix}", reader, 4700, 4800) as writer:
        writer.write(frame)
    print(suffix, (most() - before) / pixels.nbytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )
    shares = {suffix: float(share) for suffix, share in (line.split() for line in done.stdout.splitlines())}
    assert list(shares) == ["jpg", "bmp", "tif", "png"]
    # The bands of a PNG are the same few megabytes whatever its size.
    assert all(share < 0.7 for share in shares.values()), shares


@pytest.mark.skipif(sys.platform != "linux", reason="files are limited as a full disk limits them on Linux")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_a_full_disk_leaves_nothing(name: str, tmp_path: Path) -> None:
    """Also where only the last few bytes find no room, which OpenCV does not notice."""
    picture = Picture("rgb", (noise(150, 90),))
    program = """
import resource, sys
from pathlib import Path
import numpy as np
from srdeploy.errors import OutputError
from srdeploy.media import direct
from srdeploy.media.pictures import write_picture
from srdeploy.picture import Picture

direct.LARGE = 0
picture = Picture("rgb", (np.random.default_rng(0).integers(0, 256, (150, 90, 3), np.uint8),))
write_picture(sys.argv[1], picture)
size = Path(sys.argv[1]).stat().st_size
Path(sys.argv[1]).unlink()
for limit in (0, size // 2, size - 3):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_picture(sys.argv[1], picture)
    except OutputError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / name)], capture_output=True, text=True, timeout=100, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"cannot write {tmp_path / name}: ") for line in lines), done
    assert list(tmp_path.iterdir()) == []
    assert len(encode(Path(name), picture)) > 1000
