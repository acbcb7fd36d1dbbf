"""What AVI and MPEG-TS cannot hold of a source, said before anything is computed.

The other containers either take what a source has, or their muxers refuse it themselves; these two muxers lose it in
silence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from av.stream import Disposition

from srdeploy.errors import InputError, OutputError
from srdeploy.media.containers import open_container
from srdeploy.media.video_reader import VideoReader


@dataclass(frozen=True)
class Limits:
    """encoders: of the video, those whose streams carry its colour tags. copied: codecs of the other streams. tags:
    metadata of the file and of its streams."""

    encoders: tuple[str, ...]
    copied: frozenset[str]
    tags: frozenset[str]


LIMITS = {
    ".avi": Limits(
        ("libx264", "libx265"),
        frozenset({"ac3", "mp2", "mp3", "pcm_alaw", "pcm_mulaw", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_u8"}),
        frozenset({"artist", "comment", "copyright", "date", "genre", "title", "track"}),
    ),
    ".ts": Limits(
        ("libx264", "libx265"),
        frozenset({"aac", "ac3", "dts", "dvb_subtitle", "dvb_teletext", "eac3", "mp1", "mp2", "mp3", "opus", "truehd"}),
        frozenset({"language", "service_name", "service_provider"}),
    ),
}

_OF_A_CONTAINER = frozenset(
    {"compatible_brands", "creation_time", "encoder", "major_brand", "minor_version", "software"}
)
_OF_A_STREAM = ("bps", "duration", "encoder", "handler_name", "number_of_", "_statistics", "vendor_id")


def refuse_what_is_lost(path: Path, like: VideoReader, encoder: str) -> list[str]:
    """Notes about what is kept otherwise in a result at `path`; nothing for containers that are not in LIMITS.

    Raises OutputError, with what to type, for streams, chapters, a rotation, and for times that there is no place for.
    """
    suffix = path.suffix.lower()
    limits = LIMITS.get(suffix)
    if limits is None:
        return []
    instead = f"type: -o {path.with_suffix('.mkv').name}"
    if encoder not in limits.encoders:
        raise OutputError(
            f"{suffix} cannot hold video of {encoder}; type --codec {' or '.join(limits.encoders)}, or {instead}"
        )
    if like.carried is not None and suffix == ".avi":
        raise OutputError(f"{suffix} holds one rate only, and whether a pipe's is one shows at its end; {instead}")
    source = like.source()
    try:
        lost = list(_lost(source, like, limits))
        tags = sorted(_tags(source) - limits.tags)
    finally:
        if like.carried is None:
            source.close()
    if lost:
        raise OutputError(f"{suffix} cannot hold {', '.join(lost)} of {like.path}; {instead}")
    notes = [f"{suffix} has no place for {', '.join(tags)} of {like.path.name}; {instead} to keep that"] if tags else []
    if suffix == ".avi":
        steady_rate(like, instead)
    return notes


def steady_rate(like: VideoReader, instead: str = "type: -o NAME.mkv") -> Fraction:
    """The rate on whose grid all frames lie and which sound begins with the picture, as AVI has it: it keeps no times.

    Raises OutputError where there is none.
    """
    frames, sounds = _times(like)
    rates = [rate for rate in (like.rate, *_whole_rates(like.rate)) if rate]
    tick = like.time_base
    rate = next((r for r in rates if all(abs(_off(t - frames[0], r)) <= tick for t in frames)), None)
    if rate is None:
        raise OutputError(f".avi holds frames of one rate only, and those of {like.path} are not; {instead}")
    for index, times in sounds.items():
        late = float(times[0][0] - frames[0])
        if abs(late) > 0.001:
            where = f"{abs(late) * 1000:.0f} ms {'after' if late > 0 else 'before'} the picture"
            raise OutputError(
                f".avi holds only sound that begins with the picture, and stream {index} begins {where}; {instead}"
            )
        for (at, duration), (following, _) in pairwise(times):
            if duration and abs(following - at - duration) > Fraction(2, 1000):
                where = f"at {float(at):.3f} s"
                raise OutputError(f".avi holds only sound without gaps, and stream {index} has one {where}; {instead}")
    return rate


def _lost(source: Any, like: VideoReader, limits: Limits) -> Iterator[str]:
    for stream in source.streams:
        codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown codec"
        if stream.index != like.stream_index and stream.type not in ("data", "unknown") and codec not in limits.copied:
            yield f"stream {stream.index} ({stream.type}, {codec})"
    if source.chapters():
        yield "the chapters"
    if like.display_matrix is not None:
        yield "the rotation"


def _tags(source: Any) -> set[str]:
    of_streams = {key.lower() for stream in source.streams for key in stream.metadata if stream.metadata[key] != "und"}
    kept = {key for key in of_streams if not key.startswith(_OF_A_STREAM)}
    flags = {
        flag.name or "" for s in source.streams for flag in Disposition(s.disposition) if flag != Disposition.default
    }
    return (kept | flags | {key.lower() for key in source.metadata}) - _OF_A_CONTAINER


def _times(like: VideoReader) -> tuple[list[Fraction], dict[int, list[tuple[Fraction, Fraction]]]]:
    """When each frame is shown, in order, and when each packet of each sound begins and for how long, in seconds."""
    frames: list[Fraction] = []
    sounds: dict[int, list[tuple[Fraction, Fraction]]] = {}
    with open_container(like.path) as container:
        is_avi = container.format.name == "avi"
        chosen = [s for s in container.streams if s.index == like.stream_index or s.type == "audio"]
        for packet in container.demux(chosen):
            base, at = packet.time_base, packet.dts if packet.pts is None or is_avi else packet.pts
            if at is None or packet.size == 0 or packet.is_discard or not _is_inside(at * base, like):
                continue
            if packet.stream_index == like.stream_index:
                frames.append(at * base)
            else:
                sounds.setdefault(packet.stream_index, []).append((at * base, (packet.duration or 0) * base))
    if not frames:
        raise InputError(f"{like.path}: its video stream {like.stream_index} holds no frame; fetch or make it again")
    return sorted(frames), sounds


def _is_inside(at: Fraction, like: VideoReader) -> bool:
    return not like.is_cut or (at >= like.origin and (like.end is None or at < like.end))


def _whole_rates(rate: Fraction | None) -> list[Fraction]:
    """The rates that a mean rate may stand for: whole ones, and those of NTSC."""
    if not rate:
        return []
    near = round(rate)
    return [Fraction(near), Fraction(near * 1000, 1001), Fraction(round(rate + Fraction(1, 1000)) * 1000, 1001)]


def _off(seconds: Fraction, rate: Fraction) -> Fraction:
    """How far a time is from the nearest frame of a rate."""
    place = seconds * rate
    return (place - round(place)) / rate
