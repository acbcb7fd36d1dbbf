"""The video stream of a source, demuxed and decoded: frames with their times, and whether all of them came."""

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import ThreadType
from av.error import FFmpegError

from srdeploy.errors import InputError
from srdeploy.media.base import MAX_PIXELS, one_line
from srdeploy.media.containers import open_container
from srdeploy.media.matroska import is_cut_short
from srdeploy.media.pipes import Carried, Counted, is_cut_y4m
from srdeploy.shortage import is_shortage, too_little

# Codecs in which one packet is one frame, so that a packet without its frame is a loss.
_ONE_TO_ONE = frozenset({"h264", "hevc", "av1", "vp9", "mjpeg", "prores", "ffv1", "png", "gif", "dnxhd", "rawvideo"})

# What has an index of its key frames that can be relied on. AVI's says nothing of times, TS has none.
_INDEXED = frozenset({"mp4", "matroska", "image2"})

_BACK = (0, 2, 8)
"""Seconds to go back for a key frame that is shown early enough."""


class Demuxer:
    """Decoded frames of the best video stream, in the order of showing, each with a pts in the stream's time_base.

    threads: the decoder's (None = one for each core), which hold no lock of Python's while they work. pipe: standard
    input in place of `path`; packets of other streams are then put into `carried`.
    Raises InputError when there is no video or no decoder for it; after the last good frame, when the file is damaged.
    """

    def __init__(
        self, path: Path, threads: int | None, pipe: Counted | None = None, carried: Carried | None = None
    ) -> None:
        self.path = path
        self._pipe, self._carried = pipe, carried
        self.container = open_container(path, pipe)
        try:
            self.stream: Any = self._best()
        except BaseException:
            self.container.close()
            raise
        stream = self.stream
        stream.codec_context.options["max_pixels"] = str(MAX_PIXELS)
        stream.thread_type = ThreadType.AUTO
        stream.thread_count = threads or 0
        self.codec = str(stream.codec_context.codec.canonical_name)
        self.format_names = frozenset(self.container.format.name.split(","))
        self.time_base = Fraction(stream.time_base or Fraction(1, 1000))
        self.key = 0
        self._since: int | None = None
        self._due = 0  # packets of frames that are to come: without those that an edit list hides
        self._demuxed = 0
        self._indexed = len(stream.index_entries) if "mp4" in self.format_names else 0
        self._frame_bytes = 0
        self._slots: list[int] = []

    def _best(self) -> Any:
        stream: Any = self.container.streams.best("video")
        if stream is None or int(stream.disposition) & int(av.stream.Disposition.attached_pic):
            kinds = ", ".join(s.type for s in self.container.streams) or "none"
            raise InputError(f"{self.path} has no video (its streams: {kinds}); type the name of a picture or a video")
        if stream.codec_context is None:
            raise InputError(
                f"{self.path}: no decoder for its video stream {stream.index}; convert it with ffmpeg first"
            )
        return stream

    def seek(self, pts: int) -> bool:
        """Go to a key frame at or before `pts`, whose own pts is then `key`; only before the first frame is taken.

        False when the index is none to be relied on, or knows none; then nothing more can be read. Frames before that
        key frame may come too, and may be damaged.
        """
        if not self.format_names & _INDEXED:
            return False
        try:
            # Indices are ordered by decoding: what is shown may begin later.
            for back in _BACK:
                place = pts - int(back / self.time_base)
                self.container.seek(place, stream=self.stream)
                first: Any = next((p for p in self.container.demux(self.stream) if p.size), None)
                if first is not None and first.pts is not None and first.pts <= pts and first.is_keyframe:
                    break
            else:
                return False
            entries = self.stream.index_entries if self._indexed else ()
            before = next((n for n, entry in enumerate(entries) if entry.timestamp == first.dts), None)
            if self._indexed and before is None:
                return False
            self.container.seek(place, stream=self.stream)
        except FFmpegError:
            return False
        self._demuxed = before or 0
        self.key = int(first.pts)
        return True

    def expect_after(self, pts: int) -> None:
        """From here on frames up to `pts` are not missed at the end."""
        self._since = pts

    def frames(self) -> Iterator[Any]:
        """The frames; on damage those that were still inside the decoder, then InputError."""
        last, step = None, 1
        for frame in self._decoded():
            if frame.pts is None and self._slots:
                # AVI knows only the times of decoding: frames are shown at these, in their own order.
                frame.pts = heapq.heappop(self._slots)
            elif frame.pts is None:
                frame.pts = 0 if last is None else last + step
            last, step = frame.pts, frame.duration or 1
            yield frame

    def _decoded(self) -> Iterator[Any]:
        fault: FFmpegError | None = None
        decoder = self.stream.codec_context
        try:
            chosen = (self.stream,) if self._carried is None else ()
            for packet in self.container.demux(*chosen):
                if packet.stream_index != self.stream.index:
                    if self._carried is not None and packet.size:
                        self._carried.put(packet)
                    continue
                if packet.size == 0 and packet.dts is None and packet.pts is None:
                    if self._carried is None:
                        break
                    continue
                if packet.is_corrupt:
                    fault = av.error.InvalidDataError(0, "a packet is cut off")
                    break
                self._demuxed += 1
                self._frame_bytes = packet.size
                self._due += self._is_due(packet)
                if "avi" in self.format_names:
                    packet.pts = None  # a guess that reordered frames show to be wrong
                if packet.pts is None and packet.dts is not None:
                    heapq.heappush(self._slots, packet.dts)
                yield from decoder.decode(packet)
        except FFmpegError as error:
            fault = error
        try:
            yield from decoder.decode(None)
        except FFmpegError as error:
            fault = fault or error
        if fault is not None and is_shortage(fault):
            raise too_little(f"to read {self.path}")
        if fault is not None:
            where = f"after {self._demuxed} packets of stream {self.stream.index}"
            raise InputError(f"{self.path} is damaged {where}: {one_line(fault)}; fetch or make it again")

    def _is_due(self, packet: Any) -> bool:
        return not packet.is_discard and (self._since is None or packet.pts is None or packet.pts > self._since)

    def check_end(self, given: int, before: int) -> None:
        """Raise InputError when frames are missing at the end or inside.

        given: how many came of those that were expected. before: how many there are of an earlier run.
        """
        again, decoded = "it ends early; fetch or make it again", before + given
        if "yuv4mpegpipe" in self.format_names:
            head = self._pipe.head if self._pipe else _head(self.path)
            size = self._pipe.bytes if self._pipe else self.path.stat().st_size
            if is_cut_y4m(head, size, self._frame_bytes):
                raise InputError(f"{self.path}: {decoded} frames are there and a part of one: {again}")
        if self._demuxed < self._indexed:
            raise InputError(f"{self.path}: {self._demuxed} of {self._indexed} packets are there: {again}")
        if given < self._due and self.codec in _ONE_TO_ONE:
            raise InputError(f"{self.path}: {decoded} of {before + self._due} frames could be decoded: {again}")
        if "matroska" in self.format_names and self._carried is None and is_cut_short(self.path):
            raise InputError(f"{self.path}: {decoded} frames are there, but its last part is missing: {again}")

    def close(self) -> None:
        """Let go of the file and the decoder; frames that were given stay."""
        self.container.close()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)
