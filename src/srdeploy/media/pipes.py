"""Video by pipes: what comes only once is carried along, and what cannot be renamed is sent on as it is made."""

import contextlib
import io
import os
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.error import FFmpegError

from srdeploy.errors import OutputError
from srdeploy.media.base import EncodeOptions, Finishing, one_line
from srdeploy.picture import Frame

if TYPE_CHECKING:
    from srdeploy.media.video_reader import VideoReader

_HEAD = 4096


class Counted:
    """Standard input, with how much has come and how it began."""

    def __init__(self) -> None:
        self._file = sys.stdin.buffer.raw if isinstance(sys.stdin.buffer, io.BufferedReader) else sys.stdin.buffer
        self.bytes = 0
        self.head = b""

    def read(self, size: int = -1) -> bytes:
        """What there is, at most `size` bytes; empty at the end."""
        data: bytes = self._file.read(size) or b""
        self.bytes += len(data)
        if len(self.head) < _HEAD:
            self.head += data[:_HEAD]
        return data


def is_cut_y4m(head: bytes, size: int, frame: int) -> bool:
    """Whether a Y4M of `size` bytes ends inside a frame of `frame` bytes, which FFmpeg leaves out without a word."""
    first, mark, _ = head.partition(b"\nFRAME\n")
    return bool(mark) and (size - len(first) - 1) % (len(b"FRAME\n") + frame) != 0


class Carried:
    """Packets of the streams that are not decoded, in their order; their bytes wait in a file without a name."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this lives
        self._written = self._read = 0

    def put(self, packet: Any) -> None:
        """Keep a packet. One thread puts, one gets."""
        data = bytes(packet)
        os.pwrite(self._file.fileno(), data, self._written)
        self._written += len(data)
        times = packet.pts, packet.dts, packet.duration, packet.time_base
        self._waiting.append((packet.stream_index, len(data), packet.is_keyframe, *times))

    def get(self) -> tuple[int, Any] | None:
        """The stream index and a packet, or None when there is none yet."""
        if not self._waiting:
            return None
        index, size, key, pts, dts, duration, time_base = self._waiting.popleft()
        packet: Any = av.Packet(os.pread(self._file.fileno(), size, self._read))
        self._read += size
        packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, time_base
        packet.is_keyframe = key
        return index, packet


class PipeWriter(Finishing):
    """Writes frames to standard output as they come, with the sound and all else that the format holds.

    The format is NUT, with raw pictures unless options.codec says otherwise; a source in Y4M goes on as Y4M.
    There is nothing to rename, to resume or to take back. See base.Writer.
    """

    def __init__(self, like: "VideoReader", width: int, height: int, options: EncodeOptions) -> None:
        from srdeploy.media.stream_copy import StreamCopy
        from srdeploy.media.video_target import VideoTarget

        self.path = Path("-")
        self._like = like
        self._done = False
        if sys.stdout.isatty():
            raise OutputError("-o - writes a video to standard output, which is a terminal; type: | and a command")
        self._target = VideoTarget(self.path, like, (width, height), options)
        self._copy = StreamCopy(like, self.path)
        with self._errors():
            self._container, self._stream = self._target.open(sys.stdout.buffer, self._copy)
        self.notes = [*self._target.notes, *self._copy.notes]

    def write(self, frame: Frame) -> None:
        """Encode one frame and send on what is ready."""
        with self._errors():
            self._mux(self._stream.encode(self._target.image(frame)))

    def finish(self) -> None:
        """Send the rest."""
        if self._done:
            return
        with self._errors():
            self._mux(self._stream.encode(None))
            for copied in self._copy.packets_until(float("inf")):
                self._container.mux_one(copied)
            self._container.close()
            sys.stdout.buffer.flush()
        self._done = True

    def leave(self) -> None:
        """See base.Finishing."""
        self._copy.close()
        if not self._done:
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            self.size += packet.size
            packet.stream = self._stream
            for copied in self._copy.packets_until(float(packet.dts * packet.time_base)):
                self._container.mux_one(copied)
            self._container.mux_one(packet)

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise OutputError(f"cannot write to standard output: {one_line(error)}; send it elsewhere") from None
