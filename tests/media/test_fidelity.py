"""Every row of what must stay as it was, over real clips and over clips that ffmpeg makes for each kind of source.

With SRDEPLOY_FIDELITY set to a file's name the tables are appended to it.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from srdeploy.media import EncodeOptions, open_reader

COLOUR = ("color_space", "color_primaries", "color_transfer", "color_range", "chroma_location")
FAST = EncodeOptions(crf=40, preset="ultrafast", threads=1)

REAL = (
    "bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4",
    "bear-vp9-odd-dimensions.webm",
    "carphone_pristine.mp4",
    "h265_10bits.mp4",
    "nasa_13013.mp4",
    "realshort.mp4",
    "sample_android_slow_motion.mp4",
    "sample_rotate_and_reflect.mp4",
    "test_yuv422p.mp4",
    "video_0.mov",
    "video_90.mov",
)
LONG = (
    "bigbuckbunny.mp4",
    "bottle-detection.mp4",
    "chaplin.mp4",
    "hdr10-av1.mp4",
    "sample_with_increasing_timestamps_360p.mp4",
    "test.webm",
)

PICTURE = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.6"
SOUND = f"{PICTURE} -f lavfi -i sine=440:duration=0.6"
LATE = f"{PICTURE} -itsoffset 0.37 -f lavfi -i sine=440:duration=0.6 -c:a aac"
EARLY = f"{PICTURE} -itsoffset -0.1 -f lavfi -i sine=440:duration=0.6 -c:a aac"
INTERLACED = "-vf fps=50,interlace -flags +ilme+ildct"
TICK = 0.6 / 90_000
"""Half a tick of MPEG-TS, the coarsest clock but Matroska's."""
TAGS = "-color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -color_range tv"

# What is made by ffmpeg, and the containers of the result.
MADE: dict[str, tuple[str, str, str]] = {
    "h264 with sound": (f"{SOUND} -c:v libx264 -bf 3 -c:a aac", ".mp4", ".mp4 .mkv .mov"),
    "hevc": (f"{PICTURE} -c:v libx265 -x265-params log-level=error", ".mp4", ".mp4 .mkv"),
    "hevc with leading pictures": (
        f"{PICTURE} -c:v libx265 -x265-params log-level=error:open-gop=1 -g 5",
        ".mkv",
        ".mkv",
    ),
    "vp9 with opus": (f"{SOUND} -c:v libvpx-vp9 -cpu-used 8 -c:a libopus", ".webm", ".webm .mkv .mp4"),
    "av1": (f"{PICTURE} -c:v libaom-av1 -cpu-used 8", ".mkv", ".mkv .mp4"),
    "mpeg2": (f"{SOUND} -c:v mpeg2video -bf 2 -c:a mp2", ".mkv", ".mkv"),
    "mpeg4": (f"{SOUND} -c:v mpeg4 -bf 2 -c:a aac", ".mp4", ".mp4 .mkv"),
    "prores": (f"{SOUND} -c:v prores_ks -profile:v 2 -pix_fmt yuv422p10le -c:a pcm_s16le", ".mov", ".mov .mkv"),
    "prores 4444": (f"{PICTURE} -c:v prores_ks -profile:v 4 -pix_fmt yuv444p10le", ".mov", ".mov"),
    "ffv1": (f"{SOUND} -c:v ffv1 -c:a flac", ".mkv", ".mkv"),
    "mjpeg": (f"{SOUND} -c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le", ".mov", ".mov .mkv"),
    "avi": (f"{SOUND} -c:v mpeg4 -bf 0 -c:a libmp3lame", ".avi", ".avi .mkv"),
    "avi with reordered frames": (f"{SOUND} -c:v libx264 -bf 2 -c:a pcm_s16le", ".avi", ".avi .mkv .mov"),
    "avi of ntsc rate": (f"{PICTURE} -r 30000/1001 -c:v libx264 -bf 0 -colorspace bt709", ".mp4", ".avi"),
    "avi from matroska": (f"{PICTURE} -r 24000/1001 -vf setsar=4/3 -c:v libx264 -bf 2", ".mkv", ".avi"),
    "ts": (f"{SOUND} -c:v libx264 -bf 2 -c:a mp2 -metadata:s:a language=deu", ".ts", ".ts .mkv"),
    "ts with aac": (f"{SOUND} -c:v mpeg2video -bf 2 -c:a aac", ".ts", ".ts"),
    "ts with hevc": (
        f"{SOUND} -c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=error -c:a ac3",
        ".ts",
        ".ts .mkv",
    ),
    "ts from mp4": (f"{SOUND} -c:v libx264 -bf 2 -c:a libmp3lame {TAGS}", ".mp4", ".ts"),
    "y4m": (f"{PICTURE} -pix_fmt yuv422p", ".y4m", ".mkv"),
    "gif": (f"{PICTURE} -r 10", ".gif", ".mp4 .mkv"),
    "apng": (f"{PICTURE} -pix_fmt rgb24 -f apng", ".png", ".mp4 .mkv"),
    "sound that starts late": (LATE, ".mp4", ".mp4 .mov .mkv"),
    "sound that starts early": (EARLY, ".mp4", ".mp4 .mkv"),
    "edit list": (
        f"{SOUND} -c:v libx264 -bf 2 -c:a aac -movflags +faststart -output_ts_offset 0.5",
        ".mp4",
        ".mp4 .mkv",
    ),
    "ntsc rate": (f"{PICTURE} -r 30000/1001 -c:v libx264 -bf 2", ".mp4", ".mp4 .mkv"),
    "hlg": (f"{PICTURE} -pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=error {TAGS}", ".mp4", ".mp4 .mkv"),
    "full range": (f"{PICTURE} -vf scale=out_range=pc -color_range pc -c:v libx264", ".mp4", ".mp4 .mkv"),
    "bt470bg": (
        f"{PICTURE} -c:v libx264 -colorspace bt470bg -color_primaries bt470bg -color_trc gamma28",
        ".mkv",
        ".mkv .mp4",
    ),
    "centred chroma": (f"{PICTURE} -c:v libx264 -chroma_sample_location center", ".mkv", ".mkv .mp4"),
    "12 bit 4:4:4": (f"{PICTURE} -c:v libx265 -pix_fmt yuv444p12le -x265-params log-level=error", ".mkv", ".mkv"),
    "gray": (f"{PICTURE} -c:v ffv1 -pix_fmt gray", ".mkv", ".mkv"),
    "aspect": (f"{PICTURE} -vf setsar=16/11 -c:v libx264", ".mp4", ".mp4 .mkv"),
    "variable rate": (
        f"{PICTURE} -vf setpts=(N*N*7+N*40)/25/TB/40 -fps_mode vfr -bf 0 -video_track_timescale 9000",
        ".mp4",
        ".mp4 .mkv",
    ),
    "interlaced, top first": (f"{SOUND} {INTERLACED} -c:v mpeg2video -bf 2 -c:a mp2", ".mkv", ".mkv"),
    "interlaced, bottom first": (f"{SOUND} {INTERLACED} -c:v libx264 -x264-params bff=1 -c:a aac", ".mp4", ".mp4 .mkv"),
    "interlaced, 10 bit": (f"{SOUND} {INTERLACED} -c:v prores_ks -pix_fmt yuv422p10le -c:a pcm_s16le", ".mov", ".mov"),
    "one frame": (f"{PICTURE} -frames:v 1 -c:v libx264", ".mp4", ".mp4 .mkv"),
}


def assert_like(source: Path, result: Path, index: int, name: str) -> None:
    rows = compare(source, result, index, 2)
    report = os.environ.get("SRDEPLOY_FIDELITY")
    if report:
        with Path(report).open("a") as file:
            file.write(table(name, rows) + "\n")
    assert not [row for row in rows if not row.ok]
    assert len(rows) > 12


def stream_of(path: Path) -> int:
    reader: Any = open_reader(path, target=Path("out.mkv"), deinterlace=True)
    reader.close()
    return int(reader.stream_index)


@pytest.mark.parametrize("name", [*REAL, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_real_clips(name: str, shared: Path, tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    source, result = shared / "data" / "video" / name, tmp_path / name
    enlarge_file(source, result, 2, replace(FAST, preset="8" if name.endswith("webm") else "ultrafast"))
    assert_like(source, result, stream_of(source), name)


@pytest.mark.parametrize("name", MADE)
def test_made_clips(
    name: str, tmp_path: Path, ffmpeg: Callable[..., None], enlarge_file: Callable[..., list[str]]
) -> None:
    arguments, suffix, results = MADE[name]
    source = tmp_path / f"in{suffix}"
    ffmpeg(arguments, source)
    for target in results.split():
        result = tmp_path / f"out{target}"
        options = FAST if target != ".webm" else replace(FAST, preset="8")
        enlarge_file(source, result, 2, options, deinterlace=name.startswith("interlaced"))
        assert_like(source, result, stream_of(source), f"{name}, {suffix} to {target}")


@dataclass(frozen=True)
class Row:
    """What was compared, in the source and in the result; ok: whether the result's is as it must be."""

    what: str
    source: str
    result: str
    ok: bool


def probe(path: Path) -> dict[str, Any]:
    """Streams, format, chapters, and every packet with a hash of its bytes."""
    show = ("-show_streams", "-show_format", "-show_chapters", "-show_packets", "-show_data_hash", "sha256")
    command = ["ffprobe", "-v", "error", "-of", "json", *show, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def frame_side_data(path: Path, stream: int) -> list[str]:
    """HDR metadata of the first frame that is shown."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-select_streams", str(stream), "-show_frames"]
    command += ["-read_intervals", "%+#1", str(path)]
    frames = json.loads(subprocess.run(command, check=True, capture_output=True).stdout).get("frames", [{}])
    blocks = frames[0].get("side_data_list", ()) if frames else ()
    kinds = ("Mastering display metadata", "Content light level metadata")
    return sorted(json.dumps(b, sort_keys=True) for b in blocks if b.get("side_data_type") in kinds)


def compare(source: Path, result: Path, encoded: int, scale: int, millis: bool | None = None) -> list[Row]:
    """The table. encoded: index of the enlarged stream. millis: the result's container keeps times to a millisecond."""
    old, new = probe(source), probe(result)
    if millis is None:
        coarse = {".mkv", ".webm"}
        millis = result.suffix in coarse or (result.suffix == ".avi" and source.suffix in coarse)
    rows = [_row("streams", _streams(old), _streams(new))]
    a, b = old["streams"][encoded], new["streams"][encoded]
    rows.append(_row("frames", len(_times(old, encoded)), len(_times(new, encoded))))
    shift = _shift(old, new, encoded) if millis or result.suffix == ".ts" else 0.0
    rows.append(_times_row(_times(old, encoded), [t - shift for t in _times(new, encoded)], millis))
    rows.append(_duration_row(old, new, encoded, millis))
    rows.append(_row("size", f"{a['width'] * scale}x{a['height'] * scale}", f"{b['width']}x{b['height']}"))
    for key in COLOUR:
        asked, found = a.get(key, "-"), b.get(key, "-")
        assumed = asked == "-" and key in _ASSUMED
        became_yuv = a["pix_fmt"].startswith(("rgb", "bgr", "gbr", "pal")) and b["pix_fmt"].startswith("yuv")
        rows.append(Row(key, asked, found, asked == found or assumed or became_yuv))
    for key in ("sample_aspect_ratio",):
        rows.append(_row(key, a.get(key, "1:1"), b.get(key, "1:1")))
    rows.append(_row("rotation", _rotation(a), _rotation(b)))
    order, made = a.get("field_order", "progressive"), b.get("field_order", "progressive")
    rows.append(Row("field order", order, made, made == "progressive" or made == order == "unknown"))
    rows.append(_row("HDR metadata", frame_side_data(source, encoded), frame_side_data(result, encoded)))
    for index, stream in enumerate(old["streams"]):
        if index < len(new["streams"]):
            flags = _set(stream), _set(new["streams"][index])
            # MP4 has no flag for it: of each kind of stream there is a default one.
            from_other = result.suffix in _QUICKTIME and source.suffix not in _QUICKTIME and flags == ([], ["default"])
            no_flag = result.suffix in {".avi", ".ts"} and flags == (["default"], [])
            same = flags[0] == flags[1] or from_other or no_flag
            rows.append(Row(f"disposition {index}", str(flags[0]), str(flags[1]), same))
            rows.append(_row(f"tags {index}", _tags(stream), _tags(new["streams"][index])))
            if index != encoded:
                rows.append(_packets_row(old, new, index, millis, shift))
    rows.append(_row("chapters", _chapters(old), _chapters(new)))
    rows.append(_row("metadata", _metadata(old), _metadata(new)))
    return rows


# What a source does not say is tagged as it was assumed, since a larger picture would be read otherwise.
_ASSUMED = frozenset({"color_space", "color_range", "chroma_location"})
_QUICKTIME = frozenset({".mp4", ".mov"})
_OWN = frozenset({"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "software"})


def _row(what: str, source: Any, result: Any) -> Row:
    return Row(what, str(source), str(result), source == result)


def _times(found: dict[str, Any], index: int) -> list[float]:
    packets = [p for p in found["packets"] if p["stream_index"] == index and "D" not in p.get("flags", "")]
    # AVI counts frames; what a reader takes for their times of showing is a guess.
    key = "dts_time" if found["format"]["format_name"] == "avi" else "pts_time"
    return sorted(float(p.get(key, p.get("dts_time", "nan"))) for p in packets)


def _times_row(old: list[float], new: list[float], millis: bool) -> Row:
    worst = max((abs(a - b) for a, b in zip(old, new, strict=False)), default=0.0)
    limit = 0.00051 if millis else TICK
    return Row("every pts", f"{len(old)} times", f"at most {worst * 1000:.3f} ms off", worst <= limit)


def _shift(old: dict[str, Any], new: dict[str, Any], index: int) -> float:
    """Matroska and MPEG-TS begin at zero: where a source begins before it, all streams are later by the same time."""
    begins = min(float(p["pts_time"]) for p in old["packets"] if "pts_time" in p)
    return _times(new, index)[0] - _times(old, index)[0] if begins < 0 else 0.0


def _duration_row(old: dict[str, Any], new: dict[str, Any], index: int, millis: bool) -> Row:
    lengths = [_duration(found, index) for found in (old, new)]
    off = abs(lengths[0] - lengths[1])
    return Row("duration", f"{lengths[0]:.6f}", f"{lengths[1]:.6f}", off <= (0.0021 if millis else 1.5e-6))


def _duration(found: dict[str, Any], index: int) -> float:
    stream = found["streams"][index]
    if "duration" in stream:
        return float(stream["duration"])
    packets = [p for p in found["packets"] if p["stream_index"] == index]
    at = [float(p.get("pts_time", p.get("dts_time", 0))) for p in packets]
    ends = [t + float(p.get("duration_time", 0)) for t, p in zip(at, packets, strict=True)]
    return max(ends) - min(at)


def _streams(found: dict[str, Any]) -> list[str]:
    return [s["codec_type"] for s in found["streams"]]


def _set(stream: dict[str, Any]) -> list[str]:
    return sorted(name for name, is_set in stream["disposition"].items() if is_set)


def _tags(stream: dict[str, Any]) -> dict[str, str]:
    tags = {k.lower(): v for k, v in stream.get("tags", {}).items()}
    # handler_name is MP4's. Matroska has no place for a stream's own creation time, and means "und" by no language.
    skipped = ("handler_name", "encoder", "duration", "bps", "number_of_", "_stat", "vendor_id", "creation_time")
    return {k: v for k, v in sorted(tags.items()) if not k.startswith(skipped) and (k, v) != ("language", "und")}


def _rotation(stream: dict[str, Any]) -> list[str]:
    """The turning part of the display matrix, without its shift, which grows with the picture."""
    blocks = [b["displaymatrix"] for b in stream.get("side_data_list", ()) if "displaymatrix" in b]
    return [word for block in blocks for line in block.split("\n")[:3] for word in line.split()[:3]]


def _packets_row(old: dict[str, Any], new: dict[str, Any], index: int, millis: bool, shift: float) -> Row:
    a, b = ([p for p in found["packets"] if p["stream_index"] == index] for found in (old, new))
    same = [p["data_hash"] for p in a] == [p["data_hash"] for p in b]
    limit = 0.00051 if millis else TICK
    worst = 0.0
    for p, q in zip(a, b, strict=False):
        if "pts_time" in p:
            worst = max(worst, abs(float(p["pts_time"]) - float(q.get("pts_time", "nan")) + shift))
    says = "same bytes" if same else "other bytes"
    result = f"{len(b)} packets, {says}, at most {worst * 1000:.3f} ms off"
    return Row(
        f"copied {index} ({old['streams'][index]['codec_type']})", f"{len(a)} packets", result, same and worst <= limit
    )


def _chapters(found: dict[str, Any]) -> list[tuple[float, float, str]]:
    return [
        (round(float(c["start_time"]), 3), round(float(c["end_time"]), 3), c.get("tags", {}).get("title", ""))
        for c in found["chapters"]
    ]


def _metadata(found: dict[str, Any]) -> dict[str, str]:
    tags = {k.lower(): v for k, v in found["format"].get("tags", {}).items()}
    kept = {k: v for k, v in sorted(tags.items()) if k not in _OWN and not v.startswith("1970-01-01T00:00:00")}
    # MP4 has a place in a form of its own: more digits for the same number.
    return {k: re.sub(r"(\.\d*?)0+(?=\D)", r"\1", v) if k.startswith("location") else v for k, v in kept.items()}


def table(name: str, rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [f"### {name}", "", "| | source | result | |", "|---|---|---|---|"]
    for row in rows:
        source, result = (
            text.replace("|", "/") if len(text) < 100 else text[:97] + "..." for text in (row.source, row.result)
        )
        lines.append(f"| {row.what} | {source} | {result} | {'same' if row.ok else 'DIFFERS'} |")
    return "\n".join(lines) + "\n"
