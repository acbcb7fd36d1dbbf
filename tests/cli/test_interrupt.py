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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.4, 0.8])
def test_interrupted_while_starting(seconds: float, samples: Path, tmp_path: Path) -> None:
    """Importing takes a moment; whenever it comes, Ctrl-C shows no traceback."""
    clip = Path(shutil.copy(samples / "clip.mp4", tmp_path / "clip.mp4"))
    begun = "import sys; from srdeploy.cli import main; sys.stderr.write('!'); sys.stderr.flush(); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", begun, "run", str(clip), "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert process.stderr.read(1) == "!"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr
