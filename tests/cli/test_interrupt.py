"""Ctrl-C in the middle of a video: a quick, clean end and nothing left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_interrupted(samples: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copy(samples / "clip.mp4", tmp_path / "clip.mp4"))
    process = subprocess.Popen(
        [sys.executable, "-m", "srdeploy", "run", str(clip), "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".*part*")):  # it has begun to write
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted" in stderr
    assert list(tmp_path.iterdir()) == [clip]
