"""AVI and MPEG-TS lose much in silence: what they cannot hold is refused before starting, in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from srdeploy.errors import OutputError
from srdeploy.media import EncodeOptions, open_reader, open_writer

FAST = EncodeOptions(crf=40, preset="ultrafast", threads=1)
PICTURE = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.6"
SOUND = f"{PICTURE} -f lavfi -i sine=440:duration=0.6"
LATE = f"{PICTURE} -itsoffset 0.25 -f lavfi -i sine=440:duration=0.6"
VARIABLE = f"{PICTURE} -vf setpts=(N*N*7+N*40)/25/TB/40 -fps_mode vfr -bf 0 -video_track_timescale 9000"

# How the source is made, its name, the result's, and what is said.
REFUSED = {
    "a variable rate": (VARIABLE, "in.mp4", "out.avi", "frames of one rate only"),
    "late sound": (f"{LATE} -c:a pcm_s16le", "in.mkv", "out.avi", "stream 1 begins 250 ms after the picture"),
    "sound with a gap": (
        f"{SOUND} -af 'aselect=not(between(t\\,0.2\\,0.4))' -c:a pcm_s16le",
        "in.mkv",
        "out.avi",
        "without gaps, and stream 1 has one",
    ),
    "sound of another kind": (f"{SOUND} -c:a libopus", "in.mkv", "out.avi", r"stream 1 \(audio, opus\)"),
    "a rotation": (f"-display_rotation 90 {PICTURE}", "in.mp4", "out.avi", "the rotation"),
    "flac": (f"{SOUND} -c:a flac", "in.mkv", "out.ts", r"stream 1 \(audio, flac\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_starting(name: str, tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    arguments, file, result, says = REFUSED[name]
    source = tmp_path / file
    if name == "a rotation":
        ffmpeg(PICTURE, tmp_path / "plain.mp4")
        ffmpeg("-i", tmp_path / "plain.mp4", "-c copy -metadata:s:v rotate=90", source)
        (tmp_path / "plain.mp4").unlink()
    else:
        ffmpeg(arguments, source)
    with pytest.raises(OutputError, match=f"{says}.*type: -o out.mkv") as caught:
        open_writer(tmp_path / result, open_reader(source), 128, 96, FAST)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_chapters_are_refused_and_lost_tags_are_said(suffix: str, tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    chapters, source = tmp_path / "chapters.txt", tmp_path / "in.mkv"
    chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n")
    ffmpeg(PICTURE, "-i", chapters, source)
    with pytest.raises(OutputError, match="cannot hold the chapters"):
        open_writer(tmp_path / f"out{suffix}", open_reader(source), 128, 96, FAST)
    ffmpeg(PICTURE, "-metadata mood=glad", source)
    with (
        pytest.raises(ZeroDivisionError),
        open_writer(tmp_path / f"out{suffix}", open_reader(source), 64, 48) as writer,
    ):
        assert any("no place for mood" in note for note in writer.notes)
        raise ZeroDivisionError


def test_ts_says_that_it_begins_elsewhere(
    tmp_path: Path, ffmpeg: Callable[..., None], enlarge_file: Callable[..., list[str]]
) -> None:
    source = tmp_path / "in.mp4"
    ffmpeg(SOUND, "-c:a libmp3lame", source)
    notes = enlarge_file(source, tmp_path / "out.ts", 2, replace(FAST, preset="veryfast"))
    assert any(note.startswith(".ts begins elsewhere: all streams are") for note in notes)
