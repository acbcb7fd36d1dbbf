"""Runs that are stopped, however it happens, and gone on with: the result is that of an unbroken run, byte for byte."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from srdeploy.media.video_writer import SEGMENT_FRAMES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")

FRAMES = 5 * SEGMENT_FRAMES + 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None]) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=25 -f lavfi -i sine=440 -frames:v",
        FRAMES,
        "-t",
        FRAMES / 25,
        "-bf 2 -c:a aac",
        path,
    )
    return path


def command(clip: Path, out: Path, *more: str) -> list[str]:
    options = ("-m", "espcn-x2", "--threads", "1", "--crf", "30", "--preset", "ultrafast")
    return [sys.executable, "-m", "srdeploy", "run", str(clip), "-o", str(out), *options, *more]


def run(*arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        command(*arguments),  # type: ignore[arg-type]
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=limited,
    )


@pytest.fixture(scope="module")
def unbroken(clip: Path) -> bytes:
    out = clip.with_name("unbroken.mp4")
    done = run(clip, out)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in clip.parent.iterdir()) == ["clip.mp4", "unbroken.mp4"]
    return out.read_bytes()


def closed_frames(folder: Path) -> int:
    """Frames in closed segments, as the manifest has them."""
    manifests = list(folder.glob(".*.part/manifest.jsonl"))
    if not manifests:
        return 0
    lines = manifests[0].read_text().split("\n")[1:-1]
    return sum(len(json.loads(line)["packets"]) for line in lines)


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments(count: int, clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    out = tmp_path / "big.mp4"
    chance = random.Random(7)
    for _ in range(count):
        before = closed_frames(tmp_path)
        process = subprocess.Popen(command(clip, out, "--resume"), stdout=subprocess.DEVNULL, text=True)
        while process.poll() is None and not list(tmp_path.glob(".*.part/manifest.jsonl")):
            time.sleep(0.01)
        moment = chance.uniform(0, 2 if count < 20 else 5)
        time.sleep(moment)
        process.kill()
        process.wait()
        kept = closed_frames(tmp_path)
        sys.stdout.write(f"SIGKILL {moment:.2f} s after the start: {before} frames before, {kept} kept\n")
        if out.exists():  # it was done before; the next one begins anew
            assert out.read_bytes() == unbroken
            out.unlink()
            continue
        assert kept >= before
        # What is lost is in the open segment, and no more than one is ever open.
        work = [p.name for folder in tmp_path.glob(".*.part") for p in folder.iterdir()]
        assert len([name for name in work if name.isdecimal()]) * SEGMENT_FRAMES - kept <= SEGMENT_FRAMES
    begun = closed_frames(tmp_path)
    done = run(clip, out, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == unbroken
    assert [p.name for p in tmp_path.iterdir()] == ["big.mp4"]
    if begun:
        assert f"{begun} frames were there already" in done.stderr


# In a mount of its own, which vanishes with the shell: a run into a small disk, then more room, then --resume.
SMALL_DISK = """
mount -t tmpfs -o size=$SIZE none "$DISK" || exit 77
"$@" -o "$DISK/big.mp4" 2> "$OUT/said"; echo $? > "$OUT/code"
cat "$DISK"/.*.part/manifest.jsonl > "$OUT/manifest" 2> /dev/null
mount -o remount,size=64m "$DISK" && "$@" -o "$DISK/big.mp4" --resume --quiet && cp -R "$DISK" "$OUT/"
"""


@pytest.mark.long
@pytest.mark.parametrize("share", [round(random.Random(11 + place).uniform(0.1, 1.4), 2) for place in range(5)])
def test_small_disk_and_then_room(share: float, clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    """The segments and the result that is joined from them need about twice the result's bytes."""
    disk, outside = tmp_path / "disk", tmp_path / "outside"
    disk.mkdir()
    outside.mkdir()
    size = int(len(unbroken) * share) // 4096 * 4096
    words = [word for word in command(clip, Path("out")) if word not in ("-o", "out")]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", *words],
        env={**os.environ, "SIZE": str(size), "DISK": str(disk), "OUT": str(outside)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode in (1, 77, 127) and not (outside / "code").exists():
        pytest.skip(f"no disk of its own can be mounted here: {done.stderr.strip()}")
    said = (outside / "said").read_text()
    kept = sum(len(json.loads(line)["packets"]) for line in (outside / "manifest").read_text().splitlines()[1:])
    sys.stdout.write(f"a disk of {share:.0%} of the result's bytes: {kept} of {FRAMES} frames kept; {said}")
    assert (outside / "code").read_text() == "1\n"
    assert said.count("\n") == 1
    assert "No space left on device" in said
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (outside / "disk").iterdir()] == ["big.mp4"]
    assert (outside / "disk" / "big.mp4").read_bytes() == unbroken


@pytest.mark.parametrize("share", [0.2, 0.8, *(pytest.param(s, marks=pytest.mark.long) for s in (0.05, 0.5, 0.95))])
def test_full_disk_and_then_room(share: float, clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    out = tmp_path / "big.mp4"
    full = run(clip, out, limit=int(len(unbroken) * share))
    assert full.returncode == 1
    assert full.stderr.count("\n") == 1
    assert "cannot write" in full.stderr
    assert not out.exists()
    kept = closed_frames(tmp_path)
    sys.stdout.write(f"full at {share:.0%} of the result's bytes: {kept} of {FRAMES} frames kept\n")
    assert (f"{kept} frames are done and kept" in full.stderr) == (kept > 0)
    done = run(clip, out, "--resume")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == unbroken
    assert [p.name for p in tmp_path.iterdir()] == ["big.mp4"]


def test_interrupted_says_how_to_go_on_and_other_settings_are_refused(
    clip: Path, unbroken: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "big.mp4"
    process = subprocess.Popen(
        command(clip, out),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while closed_frames(tmp_path) < SEGMENT_FRAMES:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "frames of" in said and "--resume" in said and "Traceback" not in said
    kept = closed_frames(tmp_path)
    assert kept >= SEGMENT_FRAMES
    other = run(clip, out, "--resume", "--crf", "31")
    assert other.returncode == 1
    assert "crf: 30 then, 31 now" in other.stderr
    assert closed_frames(tmp_path) == kept
    # A segment that was damaged on the disk is made again, and those after it.
    segment = next(tmp_path.glob(".*.part/000000"))
    segment.write_bytes(bytes(len(segment.read_bytes())))
    done = run(clip, out, "--resume")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == unbroken


def test_two_runs_into_one_result(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "big.mp4"
    first = subprocess.Popen(command(clip, out), stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob(".*.part/manifest.jsonl")):
        assert first.poll() is None
        time.sleep(0.01)
    # Held where it is: on a busy machine it could be done before the second has begun.
    first.send_signal(signal.SIGSTOP)
    second = run(clip, out)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert "another run" in second.stderr
    first.wait(timeout=600)
    assert first.returncode == 0
