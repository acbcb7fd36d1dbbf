"""Reading on after frames that are there already: the same frames as of a whole reading, wherever decoding starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srdeploy.errors import InputError
from srdeploy.media import open_reader
from srdeploy.picture import Frame

SOURCE = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=4"
SOUND = f"{SOURCE} -f lavfi -i sine=440:duration=4 -c:a mp2"

# How a clip is made, its name, whether its index tells where to start.
CLIPS: dict[str, tuple[str, str, bool]] = {
    "b-frames": (f"{SOUND} -c:v libx264 -g 12 -bf 3", "in.mp4", True),
    "open groups": (f"{SOURCE} -c:v libx265 -x265-params log-level=error:open-gop=1:keyint=12", "in.mkv", True),
    "variable rate": (f"{SOURCE} -vf setpts=(N*N*7+N*40)/25/TB/40 -fps_mode vfr -g 12 -bf 2", "in.mp4", True),
    "webm": (f"{SOURCE} -c:v libvpx-vp9 -g 12 -cpu-used 8", "in.webm", True),
    "fragments": (f"{SOUND} -c:v libx264 -g 12 -movflags frag_keyframe+empty_moov", "in.mp4", True),
    "one group": (f"{SOURCE} -c:v libx264 -g 1000", "in.mp4", False),
    "ts": (f"{SOUND} -c:v libx264 -g 12 -bf 2", "in.ts", False),
    "avi": (f"{SOUND} -c:v mpeg4 -bf 0 -g 12", "in.avi", False),
}


def known(frame: Frame) -> tuple[object, ...]:
    return frame.pts, frame.duration, *(plane.tobytes() for plane in frame.picture.planes)


def follow(path: Path, count: int, sought: bool, **how: Any) -> None:
    whole = [known(frame) for frame in open_reader(path, **how)]
    for begun in (count, len(whole) - 1, len(whole)):
        reader: Any = open_reader(path, **how)
        reader.go_on(begun, whole[begun - 1][0])
        assert [known(frame) for frame in reader] == whole[begun:]
        assert (reader._uncounted > 0) == sought


@pytest.mark.parametrize("name", CLIPS)
def test_the_rest_is_the_rest_of_the_whole(name: str, tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    arguments, file, sought = CLIPS[name]
    ffmpeg(arguments, tmp_path / file)
    follow(tmp_path / file, 57, sought)


def test_a_stretch_and_interlaced(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg(f"{SOURCE} -flags +ilme+ildct -c:v libx264 -x264-params tff=1 -g 6 -bf 2", source)
    follow(source, 40, True, start=0.5, end=3.5, deinterlace=True)


def test_numbered_pictures(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    ffmpeg("-f lavfi -i testsrc2=size=16x16:rate=25:duration=0.4 -start_number 7", tmp_path / "f_%02d.png")
    follow(tmp_path / "f_%02d.png", 5, True)


def test_a_picture_that_builds_up_slowly_is_not_taken_for_a_start(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    """Intra refresh: packets are marked as key frames after which it takes many frames until all is new."""
    source = tmp_path / "in.mkv"
    ffmpeg(SOURCE, "-c:v libx264 -x264-params intra-refresh=1:keyint=20", source)
    whole = [known(frame) for frame in open_reader(source)]
    for begun in range(20, 100, 16):
        reader: Any = open_reader(source)
        reader.go_on(begun, whole[begun - 1][0])
        assert [known(frame) for frame in reader] == whole[begun:]


def test_missing_frames_are_missed_there_too(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    source = tmp_path / "in.mp4"
    ffmpeg(SOUND, "-c:v libx264 -g 12 -movflags +faststart", source)
    last = [frame.pts for frame in open_reader(source)][59]
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 4 // 5])
    reader: Any = open_reader(source)
    reader.go_on(60, last)
    with pytest.raises(InputError, match=r"ends early|damaged"):
        list(reader)
