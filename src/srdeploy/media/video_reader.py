"""Frames of a video as its decoder gives them, each with its own time."""

import hashlib
import secrets
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError

from srdeploy.errors import InputError
from srdeploy.media.base import MAX_PIXELS, PIPE, one_line
from srdeploy.media.containers import chroma_location, open_container
from srdeploy.media.frames import (
    color_of,
    display_matrix,
    drops_alpha,
    is_opaque,
    picture_from_frame,
    pixel_format,
    side_data,
)
from srdeploy.media.matroska import is_cut_short
from srdeploy.media.names import RATE, digest_of, files_of, is_sequence, number_of
from srdeploy.media.pipes import Carried, Counted, is_cut_y4m
from srdeploy.picture import ColorTags, Frame

# Codecs in which one packet is one frame, so that a packet without its frame is a loss.
_ONE_TO_ONE = frozenset({"h264", "hevc", "av1", "vp9", "mjpeg", "prores", "ffv1", "png", "gif", "dnxhd", "rawvideo"})


class VideoReader:
    """Frames of the best video stream of a file, in order of presentation; see base.Reader.

    Pictures have the layout "yuv" (4:2:0, 4:2:2, 4:4:4), "gray" or "rgb", with the samples' own depth. pts and
    durations count in the stream's time_base, as the container has them. Turned sources are given unturned, with their
    display_matrix beside them. Frames come from a decoder with its own threads (`threads`, None = one for each core),
    which holds no lock of Python's while it works.

    start, end: only frames shown from `start` seconds on and before `end` are given, and their pts count from the first
    one. origin: that frame's time in the source, in seconds (0 for a source that is read whole).
    Of a pipe, packets of other streams are in `carried`.

    Raises InputError on opening when there is nothing to show, and while iterating, after the last good frame, when
    the file is damaged, ends early, is interlaced, or changes its size on the way.
    """

    def __init__(
        self, path: Path, threads: int | None = None, start: float | None = None, end: float | None = None
    ) -> None:
        self.path = path
        self.start, self.end = start, end
        self.origin = Fraction(0)
        self.carried = Carried() if path == PIPE else None
        self._frame_bytes = 0
        self._sequence = files_of(path) if path != PIPE and is_sequence(path) else []
        self.first_number = number_of(path, self._sequence[0]) if self._sequence else 1
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._closed = False
        self._pipe = Counted() if path == PIPE else None
        self._container = open_container(path, self._pipe)
        try:
            self._open(threads)
        except BaseException:
            self.close()
            raise

    def _open(self, threads: int | None) -> None:
        stream: Any = self._container.streams.best("video")
        if stream is None or int(stream.disposition) & int(av.stream.Disposition.attached_pic):
            kinds = ", ".join(s.type for s in self._container.streams) or "none"
            raise InputError(f"{self.path} has no video (its streams: {kinds}); type the name of a picture or a video")
        if stream.codec_context is None:
            raise InputError(
                f"{self.path}: no decoder for its video stream {stream.index}; convert it with ffmpeg first"
            )
        if self._sequence:
            self.notes.append(f"{self.path.name}: {RATE} pictures a second are assumed")
        elif self._container.format.name.endswith("_pipe") or self._container.format.name in {"image2", "ico", "tty"}:
            kind = self._container.format.name.removesuffix("_pipe")
            raise InputError(f"{self.path} is neither a video nor a picture of a kind that is read ({kind})")
        self._stream = stream
        stream.codec_context.options["max_pixels"] = str(MAX_PIXELS)
        stream.thread_type = ThreadType.AUTO
        stream.thread_count = threads or 0
        self.stream_index = stream.index
        self.codec = str(stream.codec_context.codec.canonical_name)
        self.format_names = frozenset(self._container.format.name.split(","))
        self.is_y4m = "yuv4mpegpipe" in self.format_names
        self.time_base = Fraction(stream.time_base or Fraction(1, 1000))
        self._packets = 0  # without those that an edit list hides
        self._demuxed = 0
        self._indexed = len(stream.index_entries) if "mp4" in self.format_names else 0
        self.is_cut = self.start is not None or self.end is not None
        if self.start and self.carried is None:
            self._container.seek(int(self.start / self.time_base), stream=stream)
        self._source = self._between(self._decoded())
        first = next(self._source, None)
        if first is None and self.is_cut:
            raise InputError(f"{self.path} shows no frame between --start and --end; type other times")
        if first is None:
            raise InputError(f"{self.path}: its video stream {stream.index} holds no frame; fetch or make it again")
        self._first: Any = first
        self._first_pts = _time(first) if self.is_cut else 0
        self.origin = self._first_pts * self.time_base
        self._describe(stream, first)

    def _describe(self, stream: Any, first: Any) -> None:
        self.width = int(first.width)
        self.height = int(first.height)
        self.form = pixel_format(first.format.name, self.path)
        self.color: ColorTags = color_of(first, chroma_location(stream))
        self.rate: Fraction | None = stream.average_rate or stream.guessed_rate
        self.sample_aspect_ratio: Fraction | None = stream.sample_aspect_ratio or None
        self.display_matrix = display_matrix(first)
        self.mastering_display = side_data(first, "MASTERING_DISPLAY_METADATA")
        self.content_light = side_data(first, "CONTENT_LIGHT_LEVEL")
        length = stream.duration * self.time_base if stream.duration else None
        if length is None and self._container.duration:
            length = Fraction(self._container.duration, av.time_base)
        if length is not None and self.is_cut:
            stop = length if self.end is None else min(length, Fraction(self.end))
            length = max(stop - Fraction(self.start or 0), Fraction(0))
        self.seconds: float | None = None if length is None else float(length)
        self.frames = self._expected()
        if drops_alpha(first.format.name) and not is_opaque(first):
            self.notes.append(f"the alpha channel of {self.path.name} ({first.format.name}) is not kept")

    def __iter__(self) -> Iterator[Frame]:
        decoded, last = 0, None
        frame = self._first
        while frame is not None:
            self._check(frame, decoded, last)
            picture = picture_from_frame(frame, self.form, self.color)
            last, key, duration = frame.pts, frame.key_frame, frame.duration
            frame = self._first = None  # the picture keeps what it needs
            decoded += 1
            yield Frame(picture, last - self._first_pts, self.time_base, duration, key)
            with self._lock:
                if self._closed:
                    return
                frame = next(self._source, None)
        self._check_end(decoded)

    def identity(self) -> dict[str, object]:
        """What tells this source from others: its size, a hash of 64 places spread over it, and the stream."""
        if self.carried is not None:
            return {"pipe": secrets.token_hex(8)}
        if self._sequence:
            return {"pictures": len(self._sequence), "sha256": digest_of(self._sequence), "cut": [self.start, self.end]}
        size = self.path.stat().st_size
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for place in range(64):
                file.seek(size * place // 64)
                digest.update(file.read(1 << 16))
        return {"bytes": size, "sha256": digest.hexdigest(), "stream": self.stream_index, "cut": [self.start, self.end]}

    def source(self) -> InputContainer:
        """A second look at the source, or of a pipe the only one there is."""
        return self._container if self.carried is not None else open_container(self.path)

    def close(self) -> None:
        """Let go of the file and the decoder; frames that were given stay. Another thread may be iterating."""
        self._closed = True
        with self._lock:
            self._source = iter(())
            self._first = None
            self._container.close()

    def _expected(self) -> int | None:
        """How many frames there will be: what the container says, or what its length and mean rate come to."""
        if self._sequence and not self.is_cut:
            return len(self._sequence)
        if self.is_cut:
            return round(self.seconds * float(self.rate)) if self.seconds and self.rate else None
        entries = self._stream.index_entries
        if "mp4" in self.format_names and len(entries) == self._stream.frames:
            return sum(1 for entry in entries if not entry.is_discard)
        tag = self._stream.metadata.get("NUMBER_OF_FRAMES", "")
        exact = self._stream.frames or (int(tag) if tag.isdecimal() else None)
        if exact or not (self.seconds and self.rate):
            return exact
        return round(self.seconds * float(self.rate))

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames; on damage those that were still inside the decoder, then InputError."""
        fault: FFmpegError | None = None
        try:
            chosen = (self._stream,) if self.carried is None else ()
            for packet in self._container.demux(*chosen):
                if packet.stream_index != self.stream_index:
                    if self.carried is not None and packet.size:
                        self.carried.put(packet)
                    continue
                if packet.size == 0 and packet.dts is None and packet.pts is None:
                    if self.carried is None:
                        break
                    continue
                if packet.is_corrupt:
                    fault = av.error.InvalidDataError(0, "a packet is cut off")
                    break
                self._demuxed += 1
                self._frame_bytes = packet.size
                self._packets += not packet.is_discard
                yield from self._stream.codec_context.decode(packet)
        except FFmpegError as error:
            fault = error
        try:
            yield from self._stream.codec_context.decode(None)
        except FFmpegError as error:
            fault = fault or error
        if fault is not None:
            where = f"after {self._demuxed} packets of stream {self.stream_index}"
            raise InputError(f"{self.path} is damaged {where}: {one_line(fault)}; fetch or make it again")

    def _between(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Those from `start` on and before `end`."""
        for frame in frames:
            at = _time(frame) * self.time_base
            if self.end is not None and at >= self.end:
                return
            if self.start is None or at >= self.start:
                yield frame

    def _check(self, frame: Any, number: int, last: int | None) -> None:
        if frame.pts is None:
            # AVI and raw streams know only decoding times, which without reordering are those of presentation.
            frame.pts = frame.dts if frame.dts is not None else (0 if last is None else last + (frame.duration or 1))
        where = f"{self.path}, frame {number} at {float(frame.pts * self.time_base):.3f} s"
        if frame.is_corrupt:
            raise InputError(f"{where}: damaged data; fetch or make it again")
        if (frame.width, frame.height) != (self.width, self.height):
            size = f"{self.width}x{self.height} to {frame.width}x{frame.height}"
            raise InputError(f"{where}: the size changes from {size}; split the file there with ffmpeg")
        if pixel_format(frame.format.name, self.path) != self.form:
            raise InputError(f"{where}: the pixel format changes to {frame.format.name}; split the file there")
        if frame.interlaced_frame:
            how = "type: ffmpeg -i IN -vf bwdif -crf 14 OUT.mkv"
            raise InputError(f"{where}: interlaced, and only progressive video is upscaled; {how}")
        if last is not None and frame.pts <= last:
            raise InputError(f"{where}: shown no later than the frame before; remake its times with ffmpeg -vsync vfr")

    def _check_end(self, decoded: int) -> None:
        """Refuse to call a file whole when frames are missing at its end or inside."""
        again = "it ends early; fetch or make it again"
        if self.is_cut:
            return
        if self.is_y4m:
            head = self._pipe.head if self._pipe else _head(self.path)
            size = self._pipe.bytes if self._pipe else self.path.stat().st_size
            if is_cut_y4m(head, size, self._frame_bytes):
                raise InputError(f"{self.path}: {decoded} frames are there and a part of one: {again}")
        if self._sequence and decoded < len(self._sequence):
            raise InputError(f"{self.path}: {decoded} of {len(self._sequence)} pictures could be read: {again}")
        if self._demuxed < self._indexed:
            raise InputError(f"{self.path}: {self._demuxed} of {self._indexed} packets are there: {again}")
        if decoded < self._packets and self.codec in _ONE_TO_ONE:
            raise InputError(f"{self.path}: {decoded} of {self._packets} frames could be decoded: {again}")
        if "matroska" in self.format_names and self.carried is None and is_cut_short(self.path):
            raise InputError(f"{self.path}: {decoded} frames are there, but its last part is missing: {again}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _time(frame: Any) -> int:
    """A frame's pts, or where its container knows none the time of its decoding."""
    return int(frame.pts if frame.pts is not None else frame.dts or 0)
