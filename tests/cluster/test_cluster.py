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

pytest.importorskip("ray")

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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None]) -> Path:
    return sources(tmp_path_factory.mktemp("cluster") / "in", ffmpeg, pictures=6, frames=1430)


@pytest.fixture(scope="module")
def alone(source: Path, srdeploy: Begin) -> dict[str, Any]:
    """What one machine answers; its files stand in the folder "alone" beside the source."""
    return answer(srdeploy("run", source, "-o", source.with_name("alone"), *FAST, "--threads", 1, "--json"))


@pytest.fixture(scope="module")
def cluster(nodes: Callable[[int], Any], s3: Any) -> Any:
    """Two nodes, begun where the environment points at the S3 server."""
    return nodes(2)


def killed_and_resumed(source: Path, alone: dict[str, Any], cluster: Any, begin: Begin, kill_at: int) -> None:
    """A run whose driver is killed once so many segments are closed, and gone on with, another with a node killed."""
    expected = files(source.with_name("alone"))

    out = source.with_name("stopped")
    stopped = ("run", source, "-o", out, *FAST, "--ray", cluster.address, "--json")
    process = begin(*stopped)
    wait_until(lambda: closed_segments(out) >= kill_at, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert closed_segments(out) >= kill_at
    resumed = answer(begin(*stopped, "--resume"))
    assert files(out) == expected
    assert resumed["failed"] == []
    notes = [note for o in resumed["outputs"] for note in o["notes"] if "frames were there already" in note]
    assert len(notes) == 1, resumed

    out = source.with_name("out")
    process = begin("run", source, "-o", out, *FAST, "--ray", cluster.address, "--json")
    wait_until(lambda: closed_segments(out) >= kill_at, process)
    cluster.remove_node(cluster.workers[0], allow_graceful=False)
    together = answer(process)
    assert files(out) == expected
    assert alike(together, str(out)) == alike(alone, str(source.with_name("alone")))
    assert together["failed"] == together["skipped"] == []


def test_urls_in_and_out(source: Path, alone: dict[str, Any], cluster: Any, s3: Any, srdeploy: Begin) -> None:
    for name, data in files(source).items():
        s3.put_object(Bucket="bucket", Key=f"in/{name}", Body=data)
    words = ("run", "s3://bucket/in", "-o", "s3://bucket/out", *FAST, "--ray", cluster.address, "--json")
    together = answer(srdeploy(*words))
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="out/")["Contents"]]
    found = {key.removeprefix("out/"): s3.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}
    assert found == files(source.with_name("alone"))
    assert [o["output"] for o in together["outputs"]] == [
        f"s3://bucket/out/{Path(o['output']).relative_to(source.with_name('alone'))}" for o in alone["outputs"]
    ]
    assert [o["frames"] for o in together["outputs"]] == [o["frames"] for o in alone["outputs"]]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_node_and_a_driver_that_are_killed_change_no_byte(
    source: Path, alone: dict[str, Any], cluster: Any, srdeploy: Begin
) -> None:
    killed_and_resumed(source, alone, cluster, srdeploy, kill_at=3)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_sixty_pictures_and_a_minute_on_three_nodes(
    tmp_path: Path, ffmpeg: Callable[..., None], nodes: Callable[[int], Any], srdeploy: Begin
) -> None:
    source = sources(tmp_path / "in", ffmpeg, pictures=60, frames=1500)
    alone = answer(srdeploy("run", source, "-o", tmp_path / "alone", *FAST, "--threads", 1, "--json"))
    killed_and_resumed(source, alone, nodes(3), srdeploy, kill_at=7)


def test_what_is_wrong_is_said_in_one_line(source: Path, tmp_path: Path, srdeploy: Begin) -> None:
    wrong = {
        ("--ray", "127.0.0.1:1"): "error: --ray 127.0.0.1:1: no cluster answers there",
        ("--ray", "local", "-m", "nobody"): "error: no model is named 'nobody'; shipped: ",
        ("--ray", "nowhere"): "error: --ray nowhere: that is no cluster; type local, or HOST:PORT",
        (
            "--ray",
            "local",
            "--device",
            "cuda:1",
        ): "error: --device cuda:1 with --ray: Ray gives each worker its own GPU",
    }
    for words, said in wrong.items():
        out, errors = srdeploy("run", source, "-o", tmp_path / "out", *words).communicate()
        assert (out, len(errors.splitlines())) == ("", 1)
        assert errors.startswith(said)
    assert not (tmp_path / "out").exists()
