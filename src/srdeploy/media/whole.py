"""Whether a video that was just written holds what it should: found out by reading it, before it gets its name."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from srdeploy.errors import OutputError
from srdeploy.media.containers import open_container

_ROUNDED = Fraction(1, 1000)
"""Matroska keeps milliseconds, and some containers begin at zero."""


def check_result(
    part: Path,
    index: int,
    times: list[Fraction],
    end: Fraction | None,
    copied: Mapping[int, int],
    kinds: Mapping[int, str],
) -> Fraction:
    """By how much (seconds) all of `part` is later than it was meant.

    Raises OutputError unless it has every frame at its time and every copied packet.

    index: the stream of the video whose frames are shown at `times` (seconds, sorted), the last one until `end`
    (None: the container does not say).
    copied: how many packets went into each other stream. kinds: what each of them is ("audio", ...).
    """
    found: list[Fraction] = []
    last = Fraction(0)
    packets: Counter[int] = Counter()
    with open_container(part) as container:
        for packet in container.demux():
            if packet.size == 0 and (packet.dts is None or packet.stream_index == index):
                continue  # AVI's frames of a pause have no bytes
            packets[packet.stream_index] += 1
            at = packet.dts if container.format.name == "avi" else packet.pts
            if packet.stream_index == index and at is not None and packet.time_base:
                found.append(at * packet.time_base)
                last = max(last, (at + (packet.duration or 0)) * packet.time_base)
        there: dict[int, Any] = {stream.index: stream.type for stream in container.streams}
        video: Any = container.streams[index]
        # MP4's durations of single packets are steps of decoding time. Elsewhere a stream's is a guess from the file's.
        if "mp4" in container.format.name and video.duration and video.start_time is not None:
            last = (video.start_time + video.duration) * video.time_base
    found.sort()
    if len(found) != len(times):
        raise _unlike(part, f"{len(found)} frames where {len(times)} were written")
    shift = found[0] - times[0]
    for number, (is_at, should) in enumerate(zip(found, times, strict=True)):
        if abs(is_at - shift - should) > _ROUNDED:
            raise _unlike(part, f"frame {number} at {float(is_at):.4f} s, not {float(should):.4f} s")
    # A last frame without a duration lasts as long as a container says.
    if end is not None and end > times[-1] and abs(last - shift - end) > 2 * _ROUNDED:
        raise _unlike(part, f"an end at {float(last):.4f} s, not {float(end):.4f} s")
    for stream, kind in kinds.items():
        if there.get(stream) != kind:
            raise _unlike(part, f"{there.get(stream, 'nothing')} as stream {stream} where {kind} was copied")
    for stream, count in copied.items():
        # MP4 fills the gaps between subtitles with empty ones.
        if packets[stream] < count or (packets[stream] > count and there.get(stream) != "subtitle"):
            raise _unlike(part, f"{packets[stream]} packets in stream {stream} where {count} were copied")
    return shift


def _unlike(part: Path, what: str) -> OutputError:
    return OutputError(f"the result is not like its source: it has {what}; nothing was kept ({part.suffix} file)")
