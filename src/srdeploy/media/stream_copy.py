"""Everything of a source but the video that is enlarged: copied packet by packet, with chapters and metadata."""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition

from srdeploy.errors import InputError, OutputError
from srdeploy.media.base import one_line
from srdeploy.media.containers import open_container
from srdeploy.media.video_reader import VideoReader

# Written by the muxer itself, or true of the source's bytes only.
_CONTAINER_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_VIDEO_KEYS = ("encoder", "bps", "duration", "number_of_", "_statistics", "vendor_id", "alpha_mode")

# What a file in the style of iTunes has names for; other keys need QuickTime's own metadata.
_ITUNES_KEYS = frozenset((
    "album", "album_artist", "artist", "comment", "compilation", "composer", "copyright", "creation_time", "date",
    "description", "disc", "episode_id", "episode_sort", "gapless_playback", "genre", "grouping", "hd_video",
    "keywords", "location", "lyrics", "media_type", "network", "season_number", "show", "synopsis", "title",
    "track",
))  # fmt: skip


_SCATTER = 5
"""Seconds by which packets of one moment may be apart in a file."""

# Cover pictures: by FFmpeg's codec, the suffix and the media type.
_COVERS = {"png": ("png", "image/png"), "mjpeg": ("jpg", "image/jpeg"), "bmp": ("bmp", "image/bmp")}


class StreamCopy:
    """A second demuxer over the source of `reader`, and where each of its streams goes in the result.

    It is a demuxer of its own so that copying neither waits for the decoder nor disturbs it.
    copied: how many packets each stream of the result got. kinds: what each of those streams is ("audio", ...).
    """

    def __init__(self, reader: VideoReader, path: Path) -> None:
        self.notes: list[str] = []
        self.copied: Counter[int] = Counter()
        self.kinds: dict[int, str] = {}
        self._path = path
        self._reader = reader
        self._source = reader.source()
        self._targets: dict[int, Any] = {}
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._forgiving = False
        self._left = self._indexed()

    def container_options(self) -> dict[str, str]:
        """What the muxer of the result must be told so that times and metadata survive."""
        if self._path.suffix.lower() == ".ts":
            return {"mpegts_copyts": "1"}  # or all is later by a delay of its own
        if self._path.suffix.lower() not in {".mp4", ".m4v", ".mov"}:
            return {}
        options = {}
        if not set(self._metadata()) <= _ITUNES_KEYS:
            options["movflags"] = "use_metadata_tags"
        # The muxer doubles small time scales unless told otherwise; one scale is for all videos of a file.
        scales = {s.time_base for s in self._source.streams.video if s.time_base}
        if len(scales) == 1 and next(iter(scales)).numerator == 1:
            options["video_track_timescale"] = str(next(iter(scales)).denominator)
        # Where a stream begins and how long it is stands in the movie's own scale, by default milliseconds.
        common = math.lcm(*(s.time_base.denominator for s in self._source.streams if s.time_base))
        if common < 1 << 31:
            options["movie_timescale"] = str(common)
        return options

    def add_streams(self, target: OutputContainer, add_video: Callable[[], Any]) -> Any:
        """Give `target` the source's streams in their order; `add_video` adds the one that is encoded, and is returned.

        Raises OutputError, naming the stream and what to type, when the result's container cannot hold one.
        """
        video: Any = None
        for stream in self._source.streams:
            if stream.index == self._reader.stream_index:
                added = video = add_video()
                metadata = {k: v for k, v in stream.metadata.items() if not k.lower().startswith(_VIDEO_KEYS)}
            elif self._is_cover(target, stream):
                self._add_cover(target, stream)
                continue
            elif self._fits(target, stream):
                added = target.add_stream_from_template(stream, opaque=True)
                self._targets[stream.index] = added
                self.kinds[added.index] = stream.type
                metadata = dict(stream.metadata)
            else:
                continue
            added.metadata.update(metadata)
            added.disposition = int(stream.disposition)
        target.metadata.update(self._metadata())
        chapters = self._chapters()
        if chapters:
            target.set_chapters(chapters)
        chosen = [self._source.streams[index] for index in self._targets]
        attached = [s for s in chosen if s.type != "attachment"]
        self._packets = iter(self._source.demux(attached)) if attached else iter(())
        if self._reader.start and self._reader.carried is None:
            self._source.seek(int(self._reader.start * av.time_base))
        return video

    def packets_until(self, seconds: float) -> Iterator[Any]:
        """Copied packets, ready for the muxer, whose decoding time is before `seconds`."""
        while True:
            if self._next is None:
                self._next = self._following()
            if self._next is None:
                return
            index, packet = self._next
            if packet.dts is not None and float(packet.dts * packet.time_base) > seconds:
                return
            self._next = None
            packet.stream = self._targets[index]
            self.copied[self._targets[index].index] += 1
            yield packet

    def forgive_damage(self) -> None:
        """From here on damage only ends the copying: it has been said already."""
        self._forgiving = True

    def close(self) -> None:
        """Let go of the source."""
        self._next = None
        self._packets = iter(())
        if self._reader.carried is None:
            self._source.close()

    def _following(self) -> tuple[int, Any] | None:
        """The source's next packet for the result with its stream there; of a pipe None when it has not come yet.

        Raises InputError when it is cut off.
        """
        while True:
            found = self._found()
            if found is None:
                return None
            index, packet = found
            if index in self._targets and self._is_inside(packet):
                return index, packet

    def _found(self) -> tuple[int, Any] | None:
        if self._reader.carried is not None:
            return self._reader.carried.get()
        try:
            packet = self._whole_packet()
        except InputError:
            if not self._forgiving:
                raise
            packet = None
        return None if packet is None else (packet.stream_index, packet)

    def _is_inside(self, packet: Any) -> bool:
        """Whether a packet belongs to what is enlarged of the source; its times are made to count from there."""
        if not self._reader.is_cut:
            return True
        origin, end = self._reader.origin, self._reader.end
        at = packet.pts if packet.pts is not None else packet.dts
        if at is None or at * packet.time_base < origin:
            return False
        if end is not None and at * packet.time_base >= end:
            if at * packet.time_base > end + _SCATTER:
                self._packets = iter(())
            return False
        shift = round(origin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return True

    def _chapters(self) -> list[Any]:
        """The source's chapters, or the parts of them that are enlarged."""
        reader, kept = self._reader, []
        for chapter in self._source.chapters():
            if reader.is_cut:
                base = chapter["time_base"] or Fraction(1, 1000)
                shift = round(reader.origin / base)
                last = chapter["end"] if reader.end is None else min(chapter["end"], round(reader.end / base))
                chapter["start"], chapter["end"] = max(0, chapter["start"] - shift), last - shift
            if chapter["end"] > chapter["start"]:
                kept.append(chapter)
        return kept

    def _whole_packet(self) -> Any:
        """The next packet of a file. Raises InputError when it is cut off."""
        try:
            # Packets without a size and a time only tell decoders to give what they hold.
            packet = next((p for p in self._packets if p.size or p.dts is not None or p.pts is not None), None)
        except FFmpegError as error:
            raise InputError(f"{self._reader.path} is damaged: {one_line(error)}; fetch or make it again") from None
        if packet is None:
            short = next((index for index, left in self._left.items() if left > 0 and index in self._targets), None)
        else:
            short = packet.stream_index if packet.is_corrupt else None
            self._left[packet.stream_index] = self._left.get(packet.stream_index, 0) - 1
        if short is not None and not (packet is None and self._reader.is_cut):
            raise InputError(f"{self._reader.path}: packets of stream {short} are missing; fetch or make it again")
        if packet is not None:
            self._shorten_last(packet)
        return packet

    def _indexed(self) -> dict[int, int]:
        """How many packets of each stream the index of an MP4 names."""
        if "mp4" not in self._source.format.name:
            return {}
        streams = (s for s in self._source.streams if not int(s.disposition) & int(Disposition.attached_pic))
        return {s.index: len(s.index_entries) for s in streams}

    def _shorten_last(self, packet: Any) -> None:
        """Give the last packet of an MP4's sound its own length: FFmpeg 8.1 gives a whole frame's in its place."""
        stream = self._source.streams[packet.stream_index]
        if stream.type != "audio" or stream.index not in self._left or not (stream.frames and stream.duration):
            return  # no MP4, or one in fragments, whose length is not known at its beginning
        left = (stream.start_time or 0) + stream.duration - packet.pts
        if 0 < left < packet.duration:
            packet.duration = left

    def _metadata(self) -> dict[str, str]:
        return {k: v for k, v in self._source.metadata.items() if k.lower() not in _CONTAINER_KEYS}

    def _is_made_anew(self, stream: Any) -> bool:
        """Whether the muxer makes this track of QuickTime's by itself, from the chapters or the timecode."""
        if "mp4" not in self._source.format.name:
            return False
        # FFmpeg marks a track that it has read the chapters from as one to be left out.
        return "timecode" in stream.metadata or stream.discard == Discard.all

    def _is_cover(self, target: OutputContainer, stream: Any) -> bool:
        attached = int(stream.disposition) & int(Disposition.attached_pic)
        known = stream.codec_context is not None and stream.codec_context.codec.canonical_name in _COVERS
        return bool(attached) and known and target.format.name == "matroska"

    def _add_cover(self, target: OutputContainer, stream: Any) -> None:
        """Matroska keeps a cover picture as an attachment and not as a stream."""
        if self._reader.carried is not None:
            self.notes.append(f"the cover picture in stream {stream.index} is not carried over from a pipe")
            return
        kind = stream.codec_context.codec.canonical_name
        name = stream.metadata.get("filename", f"cover.{_COVERS[kind][0]}")
        with open_container(self._reader.path) as source:
            data = next(bytes(p) for p in source.demux(source.streams[stream.index]) if p.size)
        added = target.add_attachment(name, stream.metadata.get("mimetype", _COVERS[kind][1]), data)
        added.metadata.update(stream.metadata)

    def _fits(self, target: OutputContainer, stream: Any) -> bool:
        if stream.type == "data" and self._is_made_anew(stream):
            return False
        if _holds(target.format.name, stream):
            return True
        name = (
            stream.codec_context.codec.name
            if stream.codec_context
            else (getattr(stream, "name", None) or "unknown codec")
        )
        what = f"stream {stream.index} ({stream.type}, {name})"
        if stream.type in {"data", "unknown"}:
            self.notes.append(f"{what} of {self._reader.path.name} is not carried over: no muxer takes it")
            return False
        mkv = self._path.suffix.lower() != ".mkv" and _holds("matroska", stream)
        how = (
            f"type: -o {self._path.with_suffix('.mkv').name}"
            if mkv
            else f"leave it out first: ffmpeg -i IN -map 0 -map -0:{stream.index} -c copy OUT"
        )
        raise OutputError(f"{self._path.suffix} cannot hold {what} of {self._reader.path}; {how}")


def _holds(container_format: str, stream: Any) -> bool:
    """Whether a container takes a stream as it is: by writing the head of one in memory."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            if stream.type == "attachment" and "matroska" not in container_format:
                return False
            added = trial.add_stream_from_template(stream, opaque=True)
            added.metadata.update(stream.metadata)
            trial.start_encoding()
            return True
    except (FFmpegError, ValueError):
        return False
