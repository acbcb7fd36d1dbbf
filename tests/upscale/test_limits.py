"""A process with little address space left: the whole picture breaks it, tiles give the same bytes."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

import srdeploy

PROGRAM = """
import hashlib, resource, sys
import numpy as np
import srdeploy
tile = sys.argv[1] if not sys.argv[1].isdigit() else int(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (600, 700), np.uint8)
upscaler = srdeploy.open("espcn-x2", precision="fp32", backend=sys.argv[2], device="cpu", threads=1, tile=tile)
upscaler(pixels[:64, :64])
now = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + (110 << 20), resource.RLIM_INFINITY))
try:
    big = upscaler(pixels)
except srdeploy.SrdeployError as error:
    print(type(error).__name__)
else:
    print(hashlib.sha256(big).hexdigest(), upscaler.tile_for(600, 700), *upscaler.log.take()[1])
"""


def limited(tile: str, backend: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tile, backend], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux alone")
def test_the_whole_picture_breaks_it_and_tiles_do_not() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700), np.uint8)
    whole = srdeploy.open("espcn-x2", precision="fp32", backend="ort", device="cpu", threads=1, tile="none")
    expected = hashlib.sha256(whole(pixels)).hexdigest()
    assert limited("none", "ort") == "OutOfMemory"
    found, tile, *notes = limited("auto", "ort").split(" ", 2)
    assert (found, notes) == (expected, []) and int(tile) < 600
    found, tile, *notes = limited("599", "ort").split(" ", 2)
    assert (found, notes) == (expected, ["memory ran out; gone on with smaller tiles, which give the same result"])
    assert int(tile) in (299, 149, 74)
