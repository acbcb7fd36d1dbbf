"""`-`: srdeploy in the middle of a pipeline of ffmpeg's, and stretches of a video."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = (sys.executable, "-m", "srdeploy", "run")
SMALL = ("-m", "espcn-x2", "--threads", "1")


def piped(data: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(a) for a in arguments]
    return subprocess.run([*RUN, *words, *SMALL], input=data, capture_output=True, timeout=600, check=False)


def ffmpeg_bytes(words: str, data: bytes | None = None) -> bytes:
    command = ["ffmpeg", "-v", "error", *shlex.split(words), "-"]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def streams(data: bytes) -> list[dict[str, Any]]:
    show = ("-count_packets", "-show_streams", "-show_packets", "-show_data_hash", "sha256")
    command = ["ffprobe", "-v", "error", "-of", "json", *show, "-"]
    found = json.loads(subprocess.run(command, input=data, check=True, capture_output=True).stdout)
    for stream in found["streams"]:
        stream["packets"] = [p for p in found["packets"] if p["stream_index"] == stream["index"]]
    return list(found["streams"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None]) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=2 -f lavfi -i sine=440:duration=2 -c:a aac -bf 2", path)
    return path


def times(stream: dict[str, Any]) -> list[float]:
    return sorted(float(p["pts_time"]) for p in stream["packets"])


def test_file_to_nut_keeps_times_and_sound(clip: Path) -> None:
    done = piped(b"", clip, "-o", "-")
    assert done.returncode == 0, done.stderr
    (video, sound), (before, heard) = streams(done.stdout), streams(clip.read_bytes())
    assert (video["codec_name"], video["width"], video["height"]) == ("rawvideo", 128, 96)
    assert times(video) == pytest.approx(times(before))
    assert [p["data_hash"] for p in sound["packets"]] == [p["data_hash"] for p in heard["packets"]]
    assert times(sound) == pytest.approx(times(heard), abs=0.001)


def test_y4m_goes_on_as_y4m(clip: Path) -> None:
    y4m = ffmpeg_bytes(f"-i {shlex.quote(str(clip))} -frames:v 10 -f yuv4mpegpipe")
    done = piped(y4m, "-", "-o", "-")
    assert done.stdout.startswith(b"YUV4MPEG2 W128 H96")
    assert done.stdout.count(b"FRAME\n") == 10
    cut = piped(y4m[:-1000], "-", "-o", "-")
    assert cut.returncode == 1
    assert b"error: " in cut.stderr


def test_nut_with_sound_to_a_file(clip: Path, tmp_path: Path) -> None:
    nut = ffmpeg_bytes(f"-i {shlex.quote(str(clip))} -c copy -f nut")
    done = piped(nut, "-", "-o", tmp_path / "big.mkv")
    assert done.returncode == 0, done.stderr
    video, sound = streams((tmp_path / "big.mkv").read_bytes())
    before, heard = streams(nut)
    assert times(video) == pytest.approx(times(before), abs=0.001)
    assert [p["data_hash"] for p in sound["packets"]] == [p["data_hash"] for p in heard["packets"]]
    assert [p.name for p in tmp_path.iterdir()] == ["big.mkv"]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["-"], 1, "no name of its own"),
        (["-", "-o", "-", "--json"], 2, "standard output"),
        (["{clip}", "{clip}", "-o", "-"], 1, "one video"),
        (["-", "-o", "-"], 1, "standard input"),
        (["{clip}", "--start", "9"], 1, "no frame between"),
        (["{clip}", "--start", "1:xx"], 2, "no time"),
        (["{clip}", "--start", "2", "--end", "1"], 2, "--start"),
    ],
)
def test_wrong_pipes_and_times(words: list[str], status: int, says: str, clip: Path) -> None:
    done = piped(b"nothing of the kind", *(word.format(clip=clip) for word in words))
    assert done.returncode == status
    assert says in done.stderr.decode()
    assert [p.name for p in clip.parent.iterdir()] == ["clip.mkv"]


def test_a_stretch_keeps_what_was_in_it(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "big.mkv"
    done = piped(b"", clip, "-o", out, "--start", "0:00.52", "--end", "1.5")
    assert done.returncode == 0, done.stderr
    (video, sound), (before, heard) = streams(out.read_bytes()), streams(clip.read_bytes())
    inside = [t for t in times(before) if 0.52 <= t < 1.5]
    assert times(video) == pytest.approx([t - inside[0] for t in inside], abs=0.001)
    kept = {p["data_hash"]: float(p["pts_time"]) - inside[0] for p in heard["packets"]}
    assert [float(p["pts_time"]) for p in sound["packets"]] == pytest.approx(
        [kept[p["data_hash"]] for p in sound["packets"]], abs=0.001
    )
    assert 0.9 < times(sound)[-1] < 0.98
