"""The commands of docs/cluster.md for several machines, typed here on one: Ray's own command, with a token."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

Type = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def type_in(tmp_path: Path) -> Iterator[Type]:
    """Begin a line as a shell does, in an empty home; what it began ends with the test."""
    home = tmp_path / "home"
    home.mkdir()
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(home), "PATH": commands, "RAY_USAGE_STATS_ENABLED": "0"}
    begun: list[subprocess.Popen[str]] = []

    def begin(line: str) -> "subprocess.Popen[str]":
        log = (tmp_path / f"log{len(begun)}").open("w")
        begun.append(
            subprocess.Popen(
                ["bash", "-c", f"exec env {line}"], cwd=tmp_path, env=environment, stdout=log, stderr=log, text=True
            )
        )
        log.close()
        return begun[-1]

    yield begin
    for process in reversed(begun):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_a_cluster_typed_by_hand(
    type_in: Type, samples: Path, repository: Path, tmp_path: Path, ffmpeg: Callable[..., None]
) -> None:
    page = (repository / "docs" / "cluster.md").read_text(encoding="utf-8")
    token, head, node, run = re.search(r"```sh\n(ray get-auth.*)\n(.*)\n(.*)\n(.*)\n```", page).groups()  # type: ignore[union-attr]
    (tmp_path / "photos").mkdir()
    shutil.copy(samples / "owl.png", tmp_path / "photos")
    ffmpeg("-f lavfi -i testsrc2=size=96x64:rate=10:duration=1", tmp_path / "holiday.mp4")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = "--num-cpus 1 --node-ip-address 127.0.0.1 --block"

    def line(text: str) -> str:
        return text.replace("6379", port).replace("HOST", "127.0.0.1")

    assert type_in(token).wait(timeout=60) == 0
    type_in(f"{line(head)} {here}")
    _until_said(tmp_path / "log1", "Ray runtime started")
    type_in(f"{line(node)} {here}")
    _until_said(tmp_path / "log2", "Ray runtime started")
    words = "-m espcn-x4 --precision fp32 --backend ort"
    assert type_in(f"{line(run)} {words}").wait(timeout=300) == 0, (tmp_path / "log3").read_text()
    assert type_in(f"srdeploy run holiday.mp4 photos -o alone {words}").wait(timeout=300) == 0
    for name in ("owl.png", "holiday_x4.mp4"):
        assert (tmp_path / "enlarged" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def _until_said(log: Path, words: str) -> None:
    deadline = time.monotonic() + 120
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
