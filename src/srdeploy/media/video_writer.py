"""A video like its source, with other frames: every time, stream, tag and chapter as it was, and no work lost."""

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.error import FFmpegError

from srdeploy.errors import InputError, OutputError
from srdeploy.media.base import DEFAULT_OPTIONS, EncodeOptions, check_place, one_line, partial_path, work_folder
from srdeploy.media.kinds import VIDEO_SUFFIXES
from srdeploy.media.limits import refuse_what_is_lost
from srdeploy.media.matroska import set_display_size
from srdeploy.media.segment_encoder import SEGMENT_FRAMES, SegmentEncoder, settings_of
from srdeploy.media.segments import Packet, Segments
from srdeploy.media.stream_copy import StreamCopy
from srdeploy.media.video_reader import VideoReader
from srdeploy.media.video_target import FORMATS, VideoTarget
from srdeploy.media.whole import check_result
from srdeploy.picture import Frame
from srdeploy.shortage import is_shortage, too_little


class VideoWriter:
    """Encodes frames of `width` x `height` into `path` and copies all else from the source of `like`; see base.Writer.

    Frames are given in the order of their pts, in the source's time_base; each keeps its pts and duration. Sound,
    subtitles, other videos, attachments, chapters, metadata and dispositions are copied; the colour tags, the sample
    aspect ratio and the display matrix (its shift scaled with the size) are the source's.

    Every SEGMENT_FRAMES frames have an encoder of their own, whose packets go into a closed segment in a hidden folder
    beside the result. At the end they are joined, whether the run was one or several: so the bytes are the same.
    key: what else those bytes depend on, such as the model. must_go_on: refuse work that was begun with other
    settings, instead of starting anew.

    Raises OutputError when the container cannot hold a stream or the encoder the size or the depth, all of it before
    the first frame; later, when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        like: VideoReader,
        width: int,
        height: int,
        options: EncodeOptions = DEFAULT_OPTIONS,
        key: Mapping[str, Any] | None = None,
        must_go_on: bool = False,
    ) -> None:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            known = " ".join(sorted(VIDEO_SUFFIXES))
            raise OutputError(f"cannot write {path}: no video of the kind '{path.suffix}'; type one of {known}")
        self.path = path
        self.notes: list[str] = []
        self._like = like
        check_place(path)
        self._target = VideoTarget(path, like, (width, height), options)
        self.notes += refuse_what_is_lost(path, like, self._target.codec)
        self._try_container()
        self._encoder = SegmentEncoder(self._target)
        self._coarse = self._target.format in {"matroska", "webm", "mpegts"}
        self._done = False
        self._forgiving = False
        self.settings = settings_of(self._target, like, key or {})
        with self._errors():
            self._segments = Segments(work_folder(path), self.settings)
        try:
            self._go_on(must_go_on)
        except BaseException:
            self._segments.leave()
            raise

    def _go_on(self, must: bool) -> None:
        segments = self._segments
        with self._errors():
            segments.go_on(self.path, must)
        self.begun = sum(len(segment.packets) for segment in segments.closed)
        self.size = segments.size
        if self.begun:
            self._like.go_on(self.begun, segments.last_pts)
        if segments.frames:  # on a cluster later ones too, where one before is missing
            self.notes.append(f"{segments.frames} frames were there already, from a run that was stopped")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        except InputError:  # the source's fault: going on would find it again
            error = InputError()
            raise
        finally:
            if self._done or isinstance(error, InputError) or not self.kept():
                self._segments.remove()
            else:
                self._segments.leave()

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises ValueError when its size is not the writer's, OutputError when the disk is full."""
        with self._errors():
            for packet in self._counted(self._encoder.encode(frame)):
                self._segments.add(packet)
            if self._encoder.frames == SEGMENT_FRAMES:
                self._close_segment()

    def length_of(self, number: int) -> int | None:
        """How many frames the segment of that number, from 0 on, has; None when it is not there."""
        return self._segments.length_of(number)

    def put(self, number: int, packets: list[Packet]) -> None:
        """Take a whole segment that was encoded elsewhere, with these `settings`; any order will do."""
        with self._errors():
            self._segments.put(number, self._counted(packets))

    def finish(self) -> None:
        """Join all and give it its name, if that is not done yet; see base.Writer."""
        if not self._done:
            self._finish(self.path, float("inf"))

    def keep_partial(self) -> Path | None:
        """Finish with the frames so far and what was copied to their end; see base.Writer."""
        with self._errors():
            self._close_segment()
        self._segments.forget_rest()
        if not self._segments.frames:
            return None
        path = partial_path(self.path)
        self._forgiving = True
        last = max(self._segments.closed[-1].packets)
        self._finish(path, float((last[0] + last[1]) * self._like.time_base))
        return path

    def kept(self) -> int:
        """Frames that stay on the disk for a run that goes on; a pipe does not come again."""
        return self._segments.frames if self._like.carried is None else 0

    def _close_segment(self) -> None:
        for packet in self._counted(self._encoder.end()):
            self._segments.add(packet)
        self._segments.close_segment()

    def _counted(self, packets: list[Packet]) -> Iterator[Packet]:
        for packet in packets:
            self.size += len(packet.data)
            ticks = 90_000 if self._target.format == "mpegts" else 1000
            if self._coarse and (packet.pts * self._like.time_base * ticks).denominator != 1:
                self._coarse = False
                unit = "the millisecond" if ticks == 1000 else "1/90000 s"
                self.notes.append(f"{self.path.suffix} keeps times to {unit}; those of the source are finer")
            yield packet

    def _try_container(self) -> None:
        """Refuse now what the container could not hold in the end."""
        copy = StreamCopy(self._like, self.path)
        try:
            with self._errors():
                container, _ = self._target.open(io.BytesIO(), copy)
                container.close()
            self.notes += [*self._target.notes, *copy.notes]
        finally:
            copy.close()

    def _finish(self, path: Path, until: float) -> None:
        """Encode what is inside the encoder, join all with the copies before `until` seconds, and name the file."""
        part = self._segments.folder / f"result{self.path.suffix}"
        with self._errors():
            self._close_segment()
            if not self._segments.frames:
                raise OutputError(f"{self.path} would hold no frame; nothing was written")
            copy = StreamCopy(self._like, self.path)
            try:
                if self._forgiving:
                    copy.forgive_damage()
                index = self._join(part, copy, until)
            finally:
                copy.close()
            self._show_aspect(part, index)
            self._check(part, index, copy)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        try:
            part.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from None
        self._done = True

    def _join(self, part: Path, copy: StreamCopy, until: float) -> int:
        """Mux all segments and the copies; the video's stream index."""
        container, stream = self._target.open(f"file:{part}", copy)
        try:
            for packet in self._timed(container.format.name in {"mp4", "mov"}):
                packet.stream = stream
                for copied in copy.packets_until(float(packet.dts * packet.time_base)):
                    container.mux_one(copied)
                container.mux_one(packet)
            for copied in copy.packets_until(until):
                container.mux_one(copied)
            index = int(stream.index)
            container.close()
        except BaseException:
            with contextlib.suppress(FFmpegError, OSError):
                container.close()
            raise
        return index

    def _check(self, part: Path, index: int, copy: StreamCopy) -> None:
        base = self._like.time_base
        shown = sorted(packet for segment in self._segments.closed for packet in segment.packets)
        # MPEG-TS does not say how long a frame lasts.
        end = None if self._target.format == "mpegts" else (shown[-1][0] + shown[-1][1]) * base
        times = [packet[0] * base for packet in shown]
        shift = check_result(part, index, times, end, copy.copied, copy.kinds)
        if abs(shift) > Fraction(1, 1000):
            later = "later" if shift > 0 else "earlier"
            self.notes.append(f"{self.path.suffix} begins elsewhere: all streams are {abs(float(shift)):.3f} s {later}")

    def _timed(self, is_mp4: bool) -> Iterator[Any]:
        """The segments' packets with decoding times, which run over them all as those of one encoder would.

        Packet i is decoded when frame i - d is shown, d being the reordering; the first d before that as x264 has it.
        """
        times = sorted(packet[0] for segment in self._segments.closed for packet in segment.packets)
        ahead = min(self._segments.reordering(), len(times) - 1)
        lead = times[ahead] - times[0]
        end = max(packet[0] + packet[1] for packet in self._segments.closed[-1].packets)
        for index, (pts, duration, key, data) in enumerate(self._segments.packets()):
            packet = av.Packet(data)
            packet.time_base = self._like.time_base
            packet.pts = pts
            packet.dts = times[index - ahead] if index >= ahead else times[index] - lead
            packet.duration = duration
            packet.is_keyframe = key
            if is_mp4 and duration and index == len(times) - 1:
                # MP4 stores steps of decoding time; the last one makes their sum the length of what is shown.
                packet.duration = max(1, end - times[0] - (packet.dts - (times[0] - lead)))
            yield packet

    def _show_aspect(self, part: Path, index: int) -> None:
        """Matroska's own field for the sample aspect ratio, without which VP9 has none."""
        aspect = self._like.sample_aspect_ratio
        if FORMATS[self.path.suffix.lower()] not in {"matroska", "webm"} or aspect is None or aspect == 1:
            return
        width = round(self._target.width * aspect)
        if not set_display_size(part, index, width, self._target.height):
            self.notes.append(f"{self.path.name} does not carry the sample aspect ratio {aspect}; type: -o NAME.mp4")

    @contextlib.contextmanager
    def _errors(self) -> Any:
        """FFmpeg's and the system's errors as one line about the result."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            if is_shortage(error):
                raise too_little(f"to write {self.path}") from None
            raise OutputError(f"cannot write {self.path}: {one_line(error)}") from None
