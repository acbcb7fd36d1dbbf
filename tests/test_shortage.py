"""Too little memory is one line, whichever library noticed it: said by processes that really have too little."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import srdeploy
from srdeploy.errors import OutOfMemory
from srdeploy.jobs import Choices, Job, run_job
from srdeploy.media.pictures import read_picture
from srdeploy.shortage import is_shortage, shortage_said

PROGRAM = """
import resource, sys
import numpy as np
import srdeploy
from srdeploy.picture import Picture
room, verb, names = int(sys.argv[1]) << 20, sys.argv[2], sys.argv[3:]
pixels = np.tile(np.arange(2500, dtype=np.uint8)[None, :, None], (2000, 1, 3))
alpha = pixels[:, :, 0] if verb == "alpha" else None
now = int(open("/proc/self/statm").read().split()[0]) * 4096
for name in names:  # what is imported when it is first used
    small = name.replace("/picture", "/small")
    if verb != "read":
        srdeploy.write_picture(small, pixels[:9, :9])
    srdeploy.read_picture(small)
resource.setrlimit(resource.RLIMIT_AS, (now + room, resource.RLIM_INFINITY))
for name in names:
    try:
        if verb == "read":
            srdeploy.read_picture(name)
        else:
            srdeploy.write_picture(name, Picture("rgb", (pixels,), alpha=alpha))
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("done")
"""


def starved(room: int, verb: str, names: list[Path]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(room), verb, *map(str, names)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux alone")
@pytest.mark.parametrize("verb", ["write", "alpha"])
def test_pictures_that_cannot_be_written(tmp_path: Path, verb: str) -> None:
    kinds = (".png", ".webp", ".tiff") if verb == "alpha" else (".jpeg", ".png", ".webp", ".tiff", ".bmp")
    names = [tmp_path / f"picture{kind}" for kind in kinds]
    said = dict(zip(names, starved(12, verb, names), strict=True))
    written = [path for path in tmp_path.iterdir() if "small" not in path.name]
    for path in written:  # a PNG's few bands may find their place
        assert path.suffix == ".png" and said.pop(path) == "done"
        assert read_picture(path).planes[0].shape == (2000, 2500, 3)
    assert said == {
        name: f"OutOfMemory there is not enough memory to write {name}; close other programs, raise the limit "
        "(ulimit -v), or cut the picture"
        for name in names
        if name not in written
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux alone")
def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    pixels = np.zeros((2000, 2500, 3), np.uint8)
    names = [tmp_path / f"picture{kind}" for kind in (".jpeg", ".png", ".webp", ".tiff", ".bmp", ".avif", ".gif")]
    for name in names:
        for path, part in ((name, pixels), (tmp_path / f"small{name.suffix}", pixels[:99, :99])):
            if name.suffix in (".avif", ".gif"):
                pytest.importorskip("PIL.Image").fromarray(part).save(path)
            else:
                srdeploy.write_picture(path, part)
    for name, said in zip(names, starved(5, "read", names), strict=True):
        assert said.startswith(f"OutOfMemory there is not enough memory to read {name}"), said


def test_threads_that_cannot_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, result = tmp_path / "a.png", tmp_path / "b.png"
    srdeploy.write_picture(source, np.zeros((8, 8, 3), np.uint8))

    upscaler = srdeploy.open(threads=1)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OutOfMemory, match=r"not enough memory for .*a\.png"):
        run_job(Job(source, result), upscaler, Choices(), lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("error", "means_it"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("anything else"), False),
        (ImportError("lib.so: failed to map segment from shared object"), True),
        (ImportError("lib.so: undefined symbol"), False),
        (ValueError("out of range"), False),
    ],
)
def test_what_means_it(error: Exception, means_it: bool) -> None:
    assert is_shortage(error) is means_it
    with pytest.raises(OutOfMemory if means_it else type(error)), shortage_said("for this"):
        raise error
