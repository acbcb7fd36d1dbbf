"""Ten minutes of video: memory stays what it was after the first of them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is read from /proc")
def test_memory_is_flat(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    clip, long = tmp_path / "clip.mp4", tmp_path / "long.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=128x96:rate=25:duration=10 -f lavfi -i sine=440:duration=10 -c:a aac", clip)
    ffmpeg("-stream_loop 59 -i", clip, "-c copy", long)
    command = [sys.executable, "-m", "srdeploy", "run", str(long), "-m", "fast-x2", "--preset", "ultrafast"]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "big.mp4")], stdout=subprocess.DEVNULL)
    seen: list[tuple[int, float]] = []
    while process.poll() is None:
        segments = len(list(tmp_path.glob(".*.part/0*")))
        if segments and (not seen or segments > seen[-1][0]):
            seen.append((segments, resident_mb(process.pid)))
        time.sleep(0.05)
    assert process.returncode == 0
    early = max(mb for count, mb in seen if count <= 30)
    late = max(mb for count, mb in seen if count > 120)
    assert late < early + 30
