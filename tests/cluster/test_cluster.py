"""Runs on a Ray cluster: the answers and the bytes of one machine, also when a node or the driver is killed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

FAST = ("-m", "espcn-x2", "--precision", "fp32", "--backend", "ort")
Begin = Callable[..., "subprocess.Popen[str]"]


def sources(folder: Path, ffmpeg: Callable[..., None], pictures: int, frames: int) -> Path:
    """A folder with so many pictures, in it and one below, and a clip with sound."""
    (folder / "more").mkdir(parents=True)
    noise = np.random.default_rng(1)
    for number in range(pictures):
        place = folder / "more" if number % 2 else folder
        pixels = noise.integers(0, 256, (64 + number, 96, 3), np.uint8)
        cv2.imwrite(str(place / f"{number:02}.png"), pixels)
    ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=25 -f lavfi -i sine=440 -frames:v",
        frames,
        "-t",
        frames / 25,
        "-bf 2 -c:a aac",
        folder / "clip.mp4",
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    document: dict[str, Any] = json.loads(out)
    return document


def alike(document: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    """The outputs of an answer but for their times and their folder."""
    timeless = [{k: v for k, v in o.items() if k not in ("seconds", "fps", "notes")} for o in document["outputs"]]
    return [{**o, "output": o["output"].replace(folder, "")} for o in timeless]


def closed_segments(out: Path) -> int:
    """How many segments of the clip are closed."""
    manifest = out / ".clip.mp4.part" / "manifest.jsonl"
    return max(0, manifest.read_text().count("\n") - 1) if manifest.exists() else 0


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300
    while not is_so() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, f"it ended before: {process.communicate()}"


def campaign(tmp_path: Path, nodes: Any, begin: Begin, source: Path, count: int, kill_at: int) -> None:
    """One node killed once so many segments are closed, then another run whose driver is killed, and gone on with."""
    alone = answer(begin("run", source, "-o", tmp_path / "alone", *FAST, "--threads", 1, "--json"))
    expected = files(tmp_path / "alone")
    cluster = nodes(count)

    process = begin("run", source, "-o", tmp_path / "out", *FAST, "--ray", cluster.address, "--json")
    wait_until(lambda: closed_segments(tmp_path / "out") >= kill_at, process)
    cluster.remove_node(cluster.workers[0], allow_graceful=False)
    together = answer(process)
    assert files(tmp_path / "out") == expected
    assert alike(together, str(tmp_path / "out")) == alike(alone, str(tmp_path / "alone"))
    assert together["failed"] == together["skipped"] == []

    stopped = ("run", source, "-o", tmp_path / "stopped", *FAST, "--ray", cluster.address, "--json")
    process = begin(*stopped)
    wait_until(lambda: closed_segments(tmp_path / "stopped") >= kill_at, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun = closed_segments(tmp_path / "stopped")
    resumed = answer(begin(*stopped, "--resume"))
    assert files(tmp_path / "stopped") == expected
    (clip,) = [o for o in resumed["outputs"] if o["input"].endswith("clip.mp4")]
    assert clip["frames"] == alone["outputs"][[o["input"] for o in alone["outputs"]].index(clip["input"])]["frames"]
    assert begun >= kill_at


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_node_and_a_driver_that_are_killed_change_no_byte(
    tmp_path: Path, ffmpeg: Callable[..., None], nodes: Any, srdeploy: Begin
) -> None:
    source = sources(tmp_path / "in", ffmpeg, pictures=6, frames=1430)
    campaign(tmp_path, nodes, srdeploy, source, count=2, kill_at=3)
