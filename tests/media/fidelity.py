"""A source beside its result, in ffprobe's words and not in ours: one row for each thing that must be as it was."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLOUR = ("color_space", "color_primaries", "color_transfer", "color_range", "chroma_location")


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
    millis = result.suffix in {".mkv", ".webm"} if millis is None else millis
    rows = [_row("streams", _streams(old), _streams(new))]
    a, b = old["streams"][encoded], new["streams"][encoded]
    rows.append(_row("frames", len(_times(old, encoded)), len(_times(new, encoded))))
    rows.append(_times_row(_times(old, encoded), _times(new, encoded), millis))
    rows.append(_duration_row(old, new, encoded, millis))
    rows.append(_row("size", f"{a['width'] * scale}x{a['height'] * scale}", f"{b['width']}x{b['height']}"))
    for key in COLOUR:
        asked, found = a.get(key, "-"), b.get(key, "-")
        rows.append(Row(key, asked, found, asked == found or (asked == "-" and key in _ASSUMED)))
    for key in ("sample_aspect_ratio",):
        rows.append(_row(key, a.get(key, "1:1"), b.get(key, "1:1")))
    rows.append(_row("rotation", _rotation(a), _rotation(b)))
    rows.append(_row("field order", a.get("field_order", "progressive"), b.get("field_order", "progressive")))
    rows.append(_row("HDR metadata", frame_side_data(source, encoded), frame_side_data(result, encoded)))
    for index, stream in enumerate(old["streams"]):
        if index < len(new["streams"]):
            rows.append(_row(f"disposition {index}", _set(stream), _set(new["streams"][index])))
            rows.append(_row(f"tags {index}", _tags(stream), _tags(new["streams"][index])))
            if index != encoded:
                rows.append(_packets_row(old, new, index, millis))
    rows.append(_row("chapters", _chapters(old), _chapters(new)))
    rows.append(_row("metadata", _metadata(old), _metadata(new)))
    return rows


# What a source does not say is tagged as it was assumed, since a larger picture would be read otherwise.
_ASSUMED = frozenset({"color_space", "color_range", "chroma_location"})
_OWN = frozenset({"encoder", "major_brand", "minor_version", "compatible_brands", "duration"})


def _row(what: str, source: Any, result: Any) -> Row:
    return Row(what, str(source), str(result), source == result)


def _times(found: dict[str, Any], index: int) -> list[float]:
    key = "pts_time"
    packets = [p for p in found["packets"] if p["stream_index"] == index and "D" not in p.get("flags", "")]
    return sorted(float(p.get(key, p.get("dts_time", "nan"))) for p in packets)


def _times_row(old: list[float], new: list[float], millis: bool) -> Row:
    worst = max((abs(a - b) for a, b in zip(old, new, strict=False)), default=0.0)
    limit = 0.00051 if millis else 1.5e-6
    return Row("every pts", f"{len(old)} times", f"at most {worst * 1000:.3f} ms off", worst <= limit)


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
    skipped = ("encoder", "duration", "bps", "number_of_", "_statistics", "vendor_id")
    return {k: v for k, v in sorted(tags.items()) if not k.startswith(skipped)}


def _rotation(stream: dict[str, Any]) -> list[str]:
    """The turning part of the display matrix, without its shift, which grows with the picture."""
    blocks = [b["displaymatrix"] for b in stream.get("side_data_list", ()) if "displaymatrix" in b]
    return [word for block in blocks for line in block.split("\n")[:3] for word in line.split()[:3]]


def _packets_row(old: dict[str, Any], new: dict[str, Any], index: int, millis: bool) -> Row:
    a, b = ([p for p in found["packets"] if p["stream_index"] == index] for found in (old, new))
    same = [p["data_hash"] for p in a] == [p["data_hash"] for p in b]
    limit = 0.00051 if millis else 1.5e-6
    worst = 0.0
    for p, q in zip(a, b, strict=False):
        if "pts_time" in p:
            worst = max(worst, abs(float(p["pts_time"]) - float(q.get("pts_time", "nan"))))
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
    return {k: v for k, v in sorted(tags.items()) if k not in _OWN}
