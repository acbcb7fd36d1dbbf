"""Standard output that cannot take the answer: another encoding, a reader that has gone, a full disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "srdeploy"]


def test_ascii_output_takes_any_name(samples: Path, tmp_path: Path) -> None:
    source = shutil.copy(samples / "owl.png", tmp_path / "ü.png")
    done = subprocess.run(
        [*COMMAND, "run", str(source), "--threads", "1", "--precision", "fp32"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "\\xfc_x4.png" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["info"], ["eval", "bicubic", "--data", "."]])
def test_a_reader_that_has_gone_ends_it_quietly(words: list[str], samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "owl.png", tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot write to standard output")


@pytest.mark.skipif(os.name == "nt", reason="no descriptors to close there")
def test_a_closed_output_is_no_error() -> None:
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "info"], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
