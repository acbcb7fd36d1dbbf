"""Videos: everything but the pixels stays as it was, by ffprobe's word and not by our reader's."""

import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.errors import InputError, OutputError
from srdeploy.media import EncodeOptions, open_reader, open_writer
from srdeploy.picture import Frame

Probe = Callable[[Path], dict[str, Any]]
FFmpeg = Callable[..., None]
Enlarge = Callable[..., list[str]]

FAST = EncodeOptions(crf=40, preset="ultrafast", threads=1)
SMPTE170M = "smpte170m"


def packets(found: dict[str, Any], index: int, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(p.get(k) for k in keys) for p in found["packets"] if p["stream_index"] == index]


def assert_kept(before: dict[str, Any], after: dict[str, Any], encoded: int, scale: int = 2) -> None:
    """Everything but the pixels of stream `encoded`: streams, times, copied bytes, tags, chapters."""
    kinds = [[s["codec_type"] for s in found["streams"]] for found in (before, after)]
    assert kinds[0] == kinds[1]
    for old, new in zip(before["streams"], after["streams"], strict=True):
        index = old["index"]
        assert new["disposition"] == old["disposition"], index
        for tag in ("language", "title", "handler_name"):
            assert new.get("tags", {}).get(tag) == old.get("tags", {}).get(tag), (index, tag)
        if index != encoded:
            assert new["codec_name"] == old["codec_name"]
            keys = ("data_hash", "size", "pts_time", "dts_time", "duration_time")
            assert packets(after, index, *keys) == packets(before, index, *keys), index
            continue
        assert (new["width"], new["height"]) == (old["width"] * scale, old["height"] * scale)
        assert times(after, index) == times(before, index)
        assert new["avg_frame_rate"] == old["avg_frame_rate"]
        for key in ("time_base", "start_time", "sample_aspect_ratio", "color_transfer", "color_primaries"):
            assert new.get(key) == old.get(key), key
        if "duration" in old:
            assert new["duration"] == old["duration"]
        assert new.get("color_range", "tv") == old.get("color_range", "tv")
        assert new["color_space"] == old.get("color_space", new["color_space"])
        assert rotation(new) == rotation(old)
    assert [c["start_time"] for c in after["chapters"]] == [c["start_time"] for c in before["chapters"]]


def times(found: dict[str, Any], index: int) -> list[float]:
    return sorted(float(p[0]) for p in packets(found, index, "pts_time"))


def rotation(stream: dict[str, Any]) -> list[str]:
    """The turning part of the display matrix, without its shift, which grows with the picture."""
    blocks = [b["displaymatrix"] for b in stream.get("side_data_list", ()) if "displaymatrix" in b]
    return [word for block in blocks for line in block.split("\n")[:3] for word in line.split()]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory, ffmpeg: FFmpeg) -> Path:
    """A Matroska file with nearly all there is: two sounds of which one starts late, subtitles, chapters, a font."""
    folder = tmp_path_factory.mktemp("rich")
    chapters, subtitles, font = folder / "chapters.txt", folder / "lines.srt", folder / "font.ttf"
    chapters.write_text(
        ";FFMETADATA1\ntitle=Two Parts\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Two\n"
    )
    subtitles.write_text("1\n00:00:00,200 --> 00:00:00,800\nhello\n\n")
    font.write_bytes(b"\0\1\0\0" + bytes(60))
    result = folder / "rich.mkv"
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1",
        "-f lavfi -i sine=440:duration=1 -itsoffset 0.25 -f lavfi -i sine=880:duration=0.5",
        *("-i", subtitles, "-i", chapters, "-map", 0, "-map", 1, "-map", 2, "-map", 3, "-map_metadata", 4),
        "-c:v libx264 -bf 3 -pix_fmt yuv420p -c:a:0 aac -c:a:1 libmp3lame -c:s srt",
        "-metadata:s:a:0 language=deu",
        "-metadata:s:a:1 title=Comment -disposition:a:1 comment",
        *("-attach", font, "-metadata:s:t", "mimetype=application/x-truetype-font", result),
    )
    return result


def test_rich_matroska_keeps_streams_chapters_and_metadata(
    rich: Path, tmp_path: Path, probe: Probe, enlarge_file: Enlarge
) -> None:
    result = tmp_path / "big.mkv"
    enlarge_file(rich, result, 2, FAST)
    before, after = probe(rich), probe(result)
    assert len(before["streams"]) == 5
    assert_kept(before, after, 0)
    assert after["format"]["tags"]["title"] == "Two Parts"
    assert [c["tags"]["title"] for c in after["chapters"]] == ["One", "Two"]
    assert after["streams"][4]["tags"]["filename"] == "font.ttf"
    assert after["streams"][4]["extradata_size"] == 64


def test_stream_that_the_container_cannot_hold_is_refused_before_starting(rich: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mp4 cannot hold stream 3 \(subtitle, .*type: -o big\.mkv"):
        open_writer(tmp_path / "big.mp4", open_reader(rich), 128, 96)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "suffix", "codec", "pixel_format"),
    [
        ("yuv420p", ".mp4", "h264", "yuv420p"),
        ("yuv422p", ".mkv", "h264", "yuv422p"),
        ("yuv444p", ".mp4", "h264", "yuv444p"),
        ("yuvj420p", ".mp4", "h264", "yuvj420p"),
        ("gray", ".mp4", "h264", "yuvj420p"),  # what a decoder makes of 4:0:0
        ("yuv420p10le", ".mp4", "hevc", "yuv420p10le"),
        ("yuv422p10le", ".mkv", "hevc", "yuv422p10le"),
        ("yuv444p12le", ".mkv", "hevc", "yuv444p12le"),
        ("gbrp", ".mp4", "h264", "yuv420p"),
        ("nv12", ".mkv", "h264", "yuv420p"),
    ],
)
def test_pixel_formats_keep_depth_and_subsampling(
    form: str,
    suffix: str,
    codec: str,
    pixel_format: str,
    tmp_path: Path,
    ffmpeg: FFmpeg,
    probe: Probe,
    enlarge_file: Enlarge,
) -> None:
    source, result = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    encoder = "rawvideo" if form == "nv12" else "ffv1" if form not in {"yuvj420p", "nv12"} else "mjpeg"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 -c:v", encoder, "-pix_fmt", form, source)
    enlarge_file(source, result, 2, FAST)
    stream = probe(result)["streams"][0]
    assert (stream["codec_name"], stream["pix_fmt"]) == (codec, pixel_format)
    assert times(probe(result), 0) == times(probe(source), 0)


@pytest.mark.parametrize("form", ["yuv420p", "yuv444p", "yuv420p10le", "yuv422p12le", "gray", "gray10le", "gbrp"])
def test_planes_pass_through_unchanged(form: str, tmp_path: Path, ffmpeg: FFmpeg, enlarge_file: Enlarge) -> None:
    """FFV1 in, our reader, our writer, FFV1 out: what ffmpeg decodes of both is the same, odd sides included."""
    source, result = tmp_path / "in.mkv", tmp_path / "out.mkv"
    ffmpeg("-f lavfi -i testsrc=size=63x45:rate=5:duration=1 -c:v ffv1 -pix_fmt", form, source)
    enlarge_file(source, result, 1, EncodeOptions(codec="ffv1"))
    hashes = []
    for path in (source, result):
        ffmpeg("-i", path, "-map", "0:v", "-f", "framehash", tmp_path / "hash.txt")
        lines = (tmp_path / "hash.txt").read_text().splitlines()
        hashes.append([line for line in lines if not line.startswith("#")])
    assert len(hashes[0]) == 5
    assert hashes[0] == hashes[1]


def test_variable_frame_times_and_last_duration(
    tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mp4"
    uneven = "setpts=(N*N*7+N*40)/25/TB/40"
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -vf",
        uneven,
        "-fps_mode vfr -bf 2 -video_track_timescale 9000",
        source,
    )
    enlarge_file(source, result, 2, EncodeOptions(preset="veryfast", threads=1))
    before, after = probe(source), probe(result)
    assert after["streams"][0]["has_b_frames"] > 0
    assert len({round(b - a, 4) for a, b in zip(times(before, 0), times(before, 0)[1:], strict=False)}) > 6
    assert times(after, 0) == times(before, 0)
    assert after["streams"][0]["time_base"] == "1/9000"


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("delay", ["-0.1", "0.37"])
def test_sound_that_starts_elsewhere_stays_there(
    delay: str, suffix: str, tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    source, result = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -itsoffset",
        delay,
        "-f lavfi -i sine=440:duration=1 -c:v libx264 -c:a aac",
        source,
    )
    enlarge_file(source, result, 2, FAST)
    before, after = probe(source), probe(result)
    assert_kept(before, after, 0)
    assert [s["start_time"] for s in after["streams"]] == [s["start_time"] for s in before["streams"]]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_sample_aspect_ratio(suffix: str, tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge) -> None:
    source, result = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 -vf setsar=3/2", source)
    enlarge_file(source, result, 2, replace(FAST, preset=None))
    assert probe(source)["streams"][0]["sample_aspect_ratio"] == "3:2"
    ffmpeg("-xerror -i", result, "-f null -")
    assert probe(result)["streams"][0]["sample_aspect_ratio"] == "3:2"


def test_cover_picture_and_title(tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge) -> None:
    source, result, cover = tmp_path / "in.mp4", tmp_path / "out.mp4", tmp_path / "cover.png"
    ffmpeg("-f lavfi -i color=red:size=32x32 -frames:v 1", cover)
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.4 -i",
        cover,
        "-map 0 -map 1 -c:v:1 copy -disposition:v:1 attached_pic -metadata title=Ours",
        source,
    )
    enlarge_file(source, result, 2, FAST)
    before, after = probe(source), probe(result)
    assert after["format"]["tags"]["title"] == "Ours"
    assert after["streams"][1]["disposition"]["attached_pic"] == 1
    assert packets(after, 1, "data_hash") == packets(before, 1, "data_hash") != []


def test_odd_result_is_padded_and_said(tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge) -> None:
    source, result = tmp_path / "in.mkv", tmp_path / "out.mp4"
    ffmpeg("-f lavfi -i testsrc=size=63x45:rate=25:duration=0.2 -pix_fmt yuv420p -c:v ffv1", source)
    notes = enlarge_file(source, result, 3, FAST)
    stream = probe(result)["streams"][0]
    assert (stream["width"], stream["height"]) == (190, 136)
    assert any("190x136, not 189x135" in note for note in notes)


def test_animated_gif_becomes_a_video(tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge) -> None:
    source, result = tmp_path / "in.gif", tmp_path / "out.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=10:duration=0.5", source)
    notes = enlarge_file(source, result, 2, FAST)
    assert notes == []
    after = probe(result)
    assert times(after, 0) == times(probe(source), 0)
    assert after["streams"][0]["color_space"] == SMPTE170M


def test_colour_tags_and_hdr(tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mp4"
    hdr = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 -pix_fmt yuv420p10le -c:v libx265",
        "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -chroma_sample_location topleft",
        *("-x265-params", f"log-level=error:chromaloc=2:{hdr}", source),
    )
    enlarge_file(source, result, 2, FAST)
    before, after = probe(source)["streams"][0], probe(result)["streams"][0]
    for key in ("color_primaries", "color_transfer", "color_space", "chroma_location"):
        assert after[key] == before[key], key
    assert after["color_space"] == "bt2020nc"
    assert after["chroma_location"] == "topleft"
    reader: Any = open_reader(result)
    reader.close()
    assert struct.unpack_from("<2I", reader.content_light) == (1000, 400)
    numbers = np.frombuffer(reader.mastering_display[:80], "<i4").reshape(10, 2)
    assert np.allclose(
        numbers[:, 0] / numbers[:, 1] * 50000, (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 5, 5e7)
    )


def test_unknown_matrix_is_tagged_as_assumed(
    tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x400:rate=25:duration=0.1 -c:v libx264", source)
    notes = enlarge_file(source, result, 2, FAST)
    assert probe(result)["streams"][0]["color_space"] == SMPTE170M
    assert any("BT.601 is assumed" in note for note in notes)


def test_too_large_for_the_encoder_is_refused_before_starting(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source = tmp_path / "in.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.1", source)
    with pytest.raises(OutputError, match=r"libx264 cannot hold 20000x48 .* --scale"):
        open_writer(tmp_path / "out.mp4", open_reader(source), 20000, 48)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        (EncodeOptions(codec="h265"), "out.mp4", "no encoder h265.*libx265"),
        (EncodeOptions(codec="libx264"), "out.webm", r"\.webm cannot hold video of libx264; type: -o out\.mkv"),
        (EncodeOptions(codec="ffv1", crf=3), "out.mkv", "ffv1 is lossless"),
        (EncodeOptions(preset="warp"), "out.mp4", "no preset"),
        (EncodeOptions(codec="hevc_nvenc"), "out.mp4", "hevc_nvenc does not open here|no encoder hevc_nvenc"),
        (EncodeOptions(), "out.wmv", r"no video of the kind '\.wmv'"),
        (EncodeOptions(codec="ffv1"), "out.avi", r"\.avi cannot hold video of ffv1; type --codec libx264 or"),
        (EncodeOptions(codec="libsvtav1"), "out.ts", r"\.ts cannot hold video of libsvtav1.*type: -o out\.mkv"),
        (EncodeOptions(), "missing/out.mp4", "no folder"),
        (EncodeOptions(), "in.mp4", "the source itself"),
    ],
)
def test_wrong_targets_are_refused_in_one_line(
    options: EncodeOptions, name: str, message: str, tmp_path: Path, ffmpeg: FFmpeg
) -> None:
    source = tmp_path / "in.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.1", source)
    with pytest.raises(OutputError, match=message) as caught:
        open_writer(tmp_path / name, open_reader(source), 128, 96, options)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_failure_leaves_nothing_behind(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.4", source)
    result.write_bytes(b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        reader = open_reader(source)
        with pytest.raises(error), open_writer(result, reader, 64, 48, FAST) as writer:
            writer.write(next(iter(reader)))
            raise error
    assert result.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def frames_until_error(path: Path) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    try:
        for frame in open_reader(path):
            frames.append(frame)
    except InputError as error:
        return frames, str(error)
    return frames, ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ffmpeg: FFmpeg) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    sources = {}
    for name, options in (("front.mp4", "-movflags +faststart"), ("back.mp4", ""), ("clip.mkv", ""), ("clip.webm", "")):
        ffmpeg(
            "-f lavfi -i testsrc2=size=64x48:rate=25:duration=2 -f lavfi -i sine=440:duration=2 -g 10",
            options,
            folder / name,
        )
        sources[name] = (folder / name).read_bytes()
    return sources


@pytest.mark.parametrize("name", ["front.mp4", "back.mp4", "clip.mkv", "clip.webm"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_cut_off_file_is_never_a_success(
    name: str, part: float, whole: dict[str, bytes], tmp_path: Path, enlarge_file: Enlarge
) -> None:
    path = tmp_path / name
    path.write_bytes(whole[name][: int(len(whole[name]) * part)])
    frames, error = [], ""
    try:
        frames, error = frames_until_error(path)
        # What is missing may be sound only, which the writer copies.
        enlarge_file(path, tmp_path / f"big{path.suffix}", 1, replace(FAST, preset=None))
    except InputError as refused:
        error = error or str(refused)
    assert error
    assert "\n" not in error
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name != "back.mp4" and part == 0.9:
        assert len(frames) > 20


def test_damage_in_the_middle_is_said_after_the_good_frames(whole: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    data = bytearray(whole["front.mp4"])
    middle = len(data) * 2 // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(bytes(data))
    frames, error = frames_until_error(path)
    assert "damaged" in error
    assert 5 < len(frames) < 50


def test_good_part_is_kept_when_asked(whole: dict[str, bytes], tmp_path: Path, probe: Probe) -> None:
    source, result = tmp_path / "cut.mp4", tmp_path / "big.mp4"
    source.write_bytes(whole["front.mp4"][: int(len(whole["front.mp4"]) * 0.7)])
    reader = open_reader(source)
    good = 0
    with pytest.raises(InputError), open_writer(result, reader, 64, 48, FAST) as writer:
        try:
            for frame in reader:
                writer.write(frame)
                good += 1
        except InputError:
            assert writer.keep_partial() == tmp_path / "big.partial.mp4"
            raise
    assert not result.exists()
    assert len(times(probe(tmp_path / "big.partial.mp4"), 0)) == good > 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zero_bytes.mp4", "empty"),
        ("truncated_half_bottle-detection.mp4", "no index"),
        ("sample_audio_only.mp4", "no video"),
        ("sample_with_invalid_nalu.mp4", "damaged"),
    ],
)
def test_broken_files_found_in_the_wild(name: str, message: str, shared: Path) -> None:
    try:
        _, error = frames_until_error(shared / "data" / "odd" / "video" / name)
    except InputError as refused:
        error = str(refused)
    assert message in error


def test_interlaced_source_is_refused_with_what_to_type(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source = tmp_path / "in.mp4"
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x64:rate=25:duration=0.4 -vf interlace -flags +ilme+ildct",
        "-c:v mpeg2video",
        source,
    )
    _, error = frames_until_error(source)
    assert "interlaced" in error
    assert "type: --deinterlace" in error


def test_frames_stay_valid_after_the_reader_is_closed(tmp_path: Path, ffmpeg: FFmpeg) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -c:v ffv1 -pix_fmt yuv444p", source)
    reader = open_reader(source)
    frames = list(reader)
    sums = [int(f.picture.planes[0].sum()) for f in frames]
    reader.close()
    reader.close()
    again = [int(f.picture.planes[0].sum()) for f in open_reader(source)]
    assert [int(f.picture.planes[0].sum()) for f in frames] == sums == again
    assert not frames[0].picture.planes[0].flags.writeable


@pytest.mark.parametrize(
    ("suffix", "extra", "count"),
    [(".mp4", "-map_metadata 1", 2), (".mov", "-map_chapters -1 -timecode 01:02:03:04", 0)],
)
def test_quicktime_chapters_and_timecode_are_made_anew(
    suffix: str, extra: str, count: int, tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    chapters, source, result = tmp_path / "chapters.txt", tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    chapters.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Two\n"
    )
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -i",
        chapters,
        extra,
        source,
    )
    enlarge_file(source, result, 2, FAST)
    before, after = probe(source), probe(result)
    assert [c["tags"]["title"] for c in after["chapters"]] == ["One", "Two"][:count]
    assert (
        [s["codec_type"] for s in after["streams"]] == [s["codec_type"] for s in before["streams"]] == ["video", "data"]
    )
    assert after["streams"][0]["tags"].get("timecode") == before["streams"][0]["tags"].get("timecode")


def test_cover_in_matroska_stays_an_attachment(
    tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    source, result, cover = tmp_path / "in.mkv", tmp_path / "out.mkv", tmp_path / "cover.png"
    ffmpeg("-f lavfi -i color=red:size=32x32 -frames:v 1", cover)
    ffmpeg(
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 -attach",
        cover,
        "-metadata:s:t mimetype=image/png -metadata:s:t filename=cover.png",
        source,
    )
    enlarge_file(source, result, 2, FAST)
    before, after = probe(source), probe(result)
    assert packets(after, 1, "data_hash") == packets(before, 1, "data_hash") != []
    assert after["streams"][1]["disposition"]["attached_pic"] == 1


@pytest.mark.parametrize("source_name", ["in.avi", "in.ts", "in.flv", "in.y4m", "frag.mp4"])
def test_other_containers_are_read(
    source_name: str, tmp_path: Path, ffmpeg: FFmpeg, probe: Probe, enlarge_file: Enlarge
) -> None:
    source, result = tmp_path / source_name, tmp_path / "out.mkv"
    flags = "-movflags frag_keyframe+empty_moov -g 5" if source_name == "frag.mp4" else ""
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.8", flags, source)
    enlarge_file(source, result, 2, FAST)
    rounded = [round(t, 3) for t in times(probe(source), 0)]
    assert times(probe(result), 0) == rounded
    assert len(rounded) == 20


def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path: Path, ffmpeg: FFmpeg, probe: Probe) -> None:
    whole, source = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=1", whole)
    ffmpeg("-ss 0.13 -i", whole, "-c copy", source)
    found = [t for t in times(probe(source), 0) if t >= 0]
    reader = open_reader(source)
    assert reader.frames == len(found) < 25
    assert [float(f.pts * f.time_base) for f in reader] == pytest.approx(found)


def test_matroska_says_that_it_rounds_finer_times(tmp_path: Path, ffmpeg: FFmpeg, enlarge_file: Enlarge) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mkv"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=30000/1001:duration=0.3", source)
    assert any("millisecond" in note for note in enlarge_file(source, result, 2, FAST))


def test_x264_gives_the_same_bytes_each_time(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    """With its AVX-512 code it did not, with any preset that looks ahead; pictures of 12 macroblocks show it."""
    source = tmp_path / "in.mkv"
    ffmpeg("-f lavfi -i testsrc2=size=192x128:rate=25 -frames:v 150 -c:v ffv1", source)
    results = []
    for number in range(5):
        reader = open_reader(source)
        out = tmp_path / f"{number}.mp4"
        with open_writer(out, reader, 192, 128, EncodeOptions(preset="medium", threads=1)) as writer:
            for frame in reader:
                writer.write(frame)
        results.append(out.read_bytes())
    assert len(set(results)) == 1


def test_alpha_beside_the_picture_is_said_and_not_tagged(tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    source = tmp_path / "a.webm"
    ffmpeg(
        "-f lavfi -i color=red@0.5:size=32x24:duration=0.2,format=yuva420p -c:v libvpx-vp9 -auto-alt-ref 0 "
        "-pix_fmt yuva420p -cpu-used 8",
        source,
    )
    reader = open_reader(source)
    assert any("alpha channel of a.webm" in note for note in reader.notes)
    with open_writer(tmp_path / "b.webm", reader, 64, 48) as writer:
        for frame in reader:
            big = tuple(np.repeat(np.repeat(plane, 2, 0), 2, 1) for plane in frame.picture.planes)
            writer.write(replace(frame, picture=replace(frame.picture, planes=big)))
        writer.finish()
    command = ["ffprobe", "-v", "error", "-show_entries", "stream_tags", tmp_path / "b.webm"]
    assert "alpha_mode" not in subprocess.run(command, check=True, capture_output=True, text=True).stdout.lower()
