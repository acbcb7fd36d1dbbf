"""Ten minutes of video: memory stays what it was after the first of them, and little above what the model needs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is read from /proc"),
]

# What a process needs that only opens the model and enlarges one picture of that size.
MODEL_ALONE = """
import resource, sys
import numpy as np
import srdeploy
srdeploy.open(sys.argv[1])(np.zeros((int(sys.argv[2]), int(sys.argv[3])), np.uint8))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = text.partition("VmRSS:")[2].split()
    return int(found[0]) / 1024 if found else 0.0


@pytest.mark.parametrize(
    ("model", "width", "height", "rate"), [("fast-x2", 128, 96, 25), ("fast-x4", 480, 270, 5)], ids=["small", "real"]
)
def test_memory_is_flat(
    model: str, width: int, height: int, rate: int, tmp_path: Path, ffmpeg: Callable[..., None]
) -> None:
    clip, long = tmp_path / "clip.mp4", tmp_path / "long.mp4"
    source = f"-f lavfi -i testsrc2=size={width}x{height}:rate={rate}:duration=10"
    ffmpeg(source, "-f lavfi -i sine=440:duration=10 -c:a aac", clip)
    ffmpeg("-stream_loop 59 -i", clip, "-c copy", long)
    alone = subprocess.run(
        [sys.executable, "-c", MODEL_ALONE, model, str(height), str(width)], check=True, capture_output=True, text=True
    )
    command = [sys.executable, "-m", "srdeploy", "run", str(long), "-m", model, "--preset", "ultrafast", "--json"]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "big.mp4")], stdout=subprocess.PIPE, text=True)
    segments = rate * 600 // 100
    seen: list[tuple[int, float]] = []
    while process.poll() is None:
        seen.append((len(list(tmp_path.glob(".*.part/0*"))), resident_mb(process.pid)))
        time.sleep(0.1)
    assert process.stdout is not None
    done = json.loads(process.stdout.read())
    assert done["outputs"][0]["frames"] == rate * 600
    early = max(mb for count, mb in seen if count <= segments // 5)
    late = max(mb for count, mb in seen if count > segments * 4 // 5)
    most, own = max(mb for _, mb in seen), float(alone.stdout)
    sys.stdout.write(
        f"{rate * 600} frames, {width}x{height} by {model}: {early:.0f} MB in the first fifth, {late:.0f} MB in the "
        f"last, {most:.0f} MB at most, the model alone {own:.0f} MB\n"
    )
    assert late < early + 30
    assert most < own + 400
