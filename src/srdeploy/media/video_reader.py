"""Frames of a video as its decoder gives them, each with its own time."""

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError

from srdeploy.errors import InputError
from srdeploy.media.base import MAX_PIXELS, one_line
from srdeploy.media.frames import (
    color_of,
    display_matrix,
    drops_alpha,
    is_opaque,
    picture_from_frame,
    pixel_format,
    side_data,
)
from srdeploy.media.kinds import has_cut_index, sniff
from srdeploy.media.matroska import is_cut_short
from srdeploy.picture import ColorTags, Frame

# Codecs in which one packet is one frame, so that a packet without its frame is a loss.
_ONE_TO_ONE = frozenset({"h264", "hevc", "av1", "vp9", "mjpeg", "prores", "ffv1", "png", "gif", "dnxhd", "rawvideo"})


def open_container(path: Path) -> InputContainer:
    """Open a video file for demuxing. Raises InputError when it is missing, not a video, or has no index."""
    sniff(path)
    if has_cut_index(path):
        raise InputError(f"{path} ends inside its index (moov), so streams may be missing; fetch or make it again")
    # "file:" keeps a colon in a name from being read as a protocol; the list keeps a playlist from opening others.
    options = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="surrogateescape")
    except FFmpegError as error:
        raise InputError(
            f"{path} is not a whole picture or video: {one_line(error)} (an mp4 cut before its end has no index); "
            "fetch or make it again"
        ) from None


class VideoReader:
    """Frames of the best video stream of a file, in order of presentation; see base.Reader.

    Pictures have the layout "yuv" (4:2:0, 4:2:2, 4:4:4), "gray" or "rgb", with the samples' own depth. pts and
    durations count in the stream's time_base, as the container has them. Turned sources are given unturned, with their
    display_matrix beside them. Frames come from a decoder with its own threads (`threads`, None = one for each core),
    which holds no lock of Python's while it works.

    Raises InputError on opening when there is nothing to show, and while iterating, after the last good frame, when
    the file is damaged, ends early, is interlaced, or changes its size on the way.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path = path
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._closed = False
        self._container = open_container(path)
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
        if self._container.format.name.endswith("_pipe") or self._container.format.name in {"image2", "ico", "tty"}:
            kind = self._container.format.name.removesuffix("_pipe")
            raise InputError(f"{self.path} is neither a video nor a picture of a kind that is read ({kind})")
        self._stream = stream
        stream.codec_context.options["max_pixels"] = str(MAX_PIXELS)
        stream.thread_type = ThreadType.AUTO
        stream.thread_count = threads or 0
        self.stream_index = stream.index
        self.codec = str(stream.codec_context.codec.canonical_name)
        self.format_names = frozenset(self._container.format.name.split(","))
        self.time_base = Fraction(stream.time_base or Fraction(1, 1000))
        self._packets = 0  # without those that an edit list hides
        self._demuxed = 0
        self._indexed = len(stream.index_entries) if "mp4" in self.format_names else 0
        self._source = self._decoded()
        first = next(self._source, None)
        if first is None:
            raise InputError(f"{self.path}: its video stream {stream.index} holds no frame; fetch or make it again")
        self._first: Any = first
        self._describe(stream, first)

    def _describe(self, stream: Any, first: Any) -> None:
        self.width = int(first.width)
        self.height = int(first.height)
        self.form = pixel_format(first.format.name, self.path)
        self.color: ColorTags = color_of(first, _chroma_location(stream))
        self.rate: Fraction | None = stream.average_rate or stream.guessed_rate
        self.sample_aspect_ratio: Fraction | None = stream.sample_aspect_ratio or None
        self.display_matrix = display_matrix(first)
        self.mastering_display = side_data(first, "MASTERING_DISPLAY_METADATA")
        self.content_light = side_data(first, "CONTENT_LIGHT_LEVEL")
        length = stream.duration * self.time_base if stream.duration else None
        if length is None and self._container.duration:
            length = Fraction(self._container.duration, av.time_base)
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
            yield Frame(picture, last, self.time_base, duration, key)
            with self._lock:
                if self._closed:
                    return
                frame = next(self._source, None)
        self._check_end(decoded)

    def identity(self) -> dict[str, object]:
        """What tells this source from others: its size, a hash of 64 places spread over it, and the stream."""
        size = self.path.stat().st_size
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for place in range(64):
                file.seek(size * place // 64)
                digest.update(file.read(1 << 16))
        return {"bytes": size, "sha256": digest.hexdigest(), "stream": self.stream_index}

    def close(self) -> None:
        """Let go of the file and the decoder; frames that were given stay. Another thread may be iterating."""
        self._closed = True
        with self._lock:
            self._source = iter(())
            self._first = None
            self._container.close()

    def _expected(self) -> int | None:
        """How many frames there will be: what the container says, or what its length and mean rate come to."""
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
            for packet in self._container.demux(self._stream):
                if packet.size == 0 and packet.dts is None and packet.pts is None:
                    break
                if packet.is_corrupt:
                    fault = av.error.InvalidDataError(0, "a packet is cut off")
                    break
                self._demuxed += 1
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
        if self._demuxed < self._indexed:
            raise InputError(f"{self.path}: {self._demuxed} of {self._indexed} packets are there: {again}")
        if decoded < self._packets and self.codec in _ONE_TO_ONE:
            raise InputError(f"{self.path}: {decoded} of {self._packets} frames could be decoded: {again}")
        if "matroska" in self.format_names and is_cut_short(self.path):
            raise InputError(f"{self.path}: {decoded} frames are there, but its last part is missing: {again}")


def is_whole_video(path: Path) -> bool:
    """Whether every packet that the file's index knows of can be read. Decodes nothing. Raises InputError."""
    packets: Counter[int] = Counter()
    with open_container(path) as container:
        try:
            for packet in container.demux():
                if packet.is_corrupt:
                    return False
                packets[packet.stream_index] += packet.size > 0
        except FFmpegError:
            return False
        if container.streams.best("video") is None or not packets:
            return False
        if "mp4" in container.format.name and any(packets[s.index] < len(s.index_entries) for s in container.streams):
            return False
        return "matroska" not in container.format.name or not is_cut_short(path)


def _chroma_location(stream: Any) -> int | None:
    """FFmpeg's AVChromaLocation of a video stream.

    PyAV does not show it, but a Matroska header made for the stream tells it: ChromaSitingHorz (0x55B7) and
    ChromaSitingVert (0x55B8), where 1 is collocated and 2 is half a sample in.
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska", container_options={"allow_raw_vfw": "1"}) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            blob = header.getvalue()
    except (FFmpegError, ValueError):
        return None
    across, down = (blob.partition(element + b"\x81")[2][:1] for element in (b"\x55\xb7", b"\x55\xb8"))
    return {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}.get((_number(across), _number(down)))


def _number(byte: bytes) -> int:
    return byte[0] if byte else 0
