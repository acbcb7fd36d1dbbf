"""Interlaced sources: refused, or made progressive on request, frame for frame as ffmpeg's own bwdif does it."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from srdeploy.errors import InputError
from srdeploy.media import EncodeOptions, open_reader, open_writer

FFmpeg = Callable[..., None]
SOURCE = "-f lavfi -i testsrc2=size=96x64:rate=50:duration=0.6"

# One for each order of fields and each kind of decoder: how a clip is made, and its name.
CLIPS = {
    "tff": (f"{SOURCE} -vf interlace=scan=tff -flags +ilme+ildct -c:v mpeg2video -bf 2 -q:v 3", "in.ts"),
    "bff": (f"{SOURCE} -vf interlace=scan=bff -flags +ilme+ildct -c:v libx264 -x264-params bff=1 -bf 2", "in.mp4"),
    "10 bit": (
        f"{SOURCE} -vf interlace=scan=tff -pix_fmt yuv422p10le -c:v prores_ks -flags +ilme+ildct",
        "in.mov",
    ),
    "avi": (f"{SOURCE} -vf interlace=scan=bff -flags +ilme+ildct -c:v mpeg2video -bf 0 -q:v 3", "in.avi"),
}

NEWER = 0.02 if av.library_versions["libavfilter"] >= (12,) else 0
"""Share of samples in which a deep frame of PyAV 19's bwdif may differ from that of the binary, which is older."""


def by_ffmpeg(path: Path, form: str) -> list[list[np.ndarray[Any, Any]]]:
    """The planes of each frame of ffmpeg's bwdif."""
    words = ["-vf", "bwdif=mode=send_frame:deint=interlaced", "-pix_fmt", form, "-fps_mode", "passthrough"]
    command = ["ffmpeg", "-v", "error", "-i", str(path), *words, "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    samples = np.frombuffer(data, "<u2" if "10" in form else "u1")
    shapes = ((64, 96), *([(64, 48)] * 2 if "422" in form else [(32, 48)] * 2))
    ends = np.cumsum([height * width for height, width in shapes])
    frames = samples.reshape(-1, ends[-1])
    return [[p.reshape(s) for p, s in zip(np.split(f, ends[:-1]), shapes, strict=True)] for f in frames]


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_ffmpeg(name: str, tmp_path: Path, ffmpeg: FFmpeg) -> None:
    arguments, file = CLIPS[name]
    source = tmp_path / file
    ffmpeg(arguments, source)
    with pytest.raises(InputError, match=r"interlaced.*type: --deinterlace"):
        list(open_reader(source))
    reader: Any = open_reader(source, deinterlace=True)
    expected = by_ffmpeg(source, reader.form.name)
    frames = list(reader)
    assert len(frames) == len(expected) == 15
    for number, (frame, planes) in enumerate(zip(frames, expected, strict=True)):
        # At the edges of the first frame, which has none before it, versions of ffmpeg differ.
        limit = 0.08 if number == 0 else NEWER if name == "10 bit" else 0
        assert all(np.mean(ours != theirs) <= limit for ours, theirs in zip(frame.picture.planes, planes, strict=True))
    assert len(np.unique(np.diff([f.pts for f in frames]))) == 1
    assert reader.notes == [f"15 of 15 frames of {file} were interlaced and are progressive now"]


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_result_is_progressive_with_every_time_and_sound(
    suffix: str, tmp_path: Path, ffmpeg: FFmpeg, probe: Callable[[Path], dict[str, Any]]
) -> None:
    source, result = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    sound = "-f lavfi -i sine=440:duration=0.6 -c:a aac -colorspace bt470bg -color_range tv"
    ffmpeg(f"{SOURCE} {sound} -vf interlace=scan=tff -flags +ilme+ildct -c:v libx264 -x264-params tff=1", source)
    reader = open_reader(source, deinterlace=True)
    with open_writer(result, reader, 96, 64, EncodeOptions(crf=30, preset="ultrafast", threads=1)) as writer:
        for frame in reader:
            writer.write(frame)
    before, after = probe(source), probe(result)
    assert before["streams"][0]["field_order"] in ("tt", "tb")
    assert after["streams"][0]["field_order"] == "progressive"
    for key in ("color_space", "color_range", "time_base", "avg_frame_rate"):
        assert after["streams"][0][key] == before["streams"][0][key]
    for index, key in ((0, "pts"), (1, "pts"), (1, "data_hash")):
        kept = [sorted(p[key] for p in found["packets"] if p["stream_index"] == index) for found in (before, after)]
        assert kept[0] == kept[1]


def test_progressive_frames_pass_as_they_are(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg(SOURCE, "-c:v ffv1", source)
    frames = list(open_reader(source))
    reader = open_reader(source, deinterlace=True)
    for one, other in zip(frames, reader, strict=True):
        assert replace(one, picture=other.picture) == other or (one.pts, one.duration) == (other.pts, other.duration)
        assert all(np.array_equal(a, b) for a, b in zip(one.picture.planes, other.picture.planes, strict=True))
    assert "--deinterlace changed nothing" in reader.notes[-1]


def test_one_frame_and_a_stretch(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source, one = tmp_path / "in.mkv", tmp_path / "one.mkv"
    ffmpeg(f"{SOURCE} -vf interlace -flags +ilme+ildct -c:v mpeg2video -g 3 -bf 0", source)
    ffmpeg("-i", source, "-frames:v 1 -c copy", one)
    assert len(list(open_reader(one, deinterlace=True))) == 1
    whole = list(open_reader(source, deinterlace=True))
    part = list(open_reader(source, start=0.36, end=0.6, deinterlace=True))
    assert len(part) == 6
    for frame, same in zip(part, whole[9:15], strict=True):
        assert np.array_equal(frame.picture.planes[0], same.picture.planes[0])
