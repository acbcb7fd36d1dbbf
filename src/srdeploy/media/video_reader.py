"""Frames of a video as its decoder gives them, each with its own time."""

import hashlib
import secrets
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from srdeploy.errors import InputError
from srdeploy.media.base import PIPE
from srdeploy.media.containers import chroma_location, open_container
from srdeploy.media.deinterlace import Deinterlacer
from srdeploy.media.demux import Demuxer
from srdeploy.media.frames import (
    color_of,
    display_matrix,
    drops_alpha,
    is_opaque,
    picture_from_frame,
    pixel_format,
    side_data,
)
from srdeploy.media.names import RATE, digest_of, files_of, is_sequence, number_of
from srdeploy.media.pipes import Carried, Counted
from srdeploy.picture import ColorTags, Frame


class VideoReader:
    """Frames of the best video stream of a file, in order of presentation; see base.Reader.

    Pictures have the layout "yuv" (4:2:0, 4:2:2, 4:4:4), "gray" or "rgb", with the samples' own depth. pts and
    durations count in the stream's time_base, as the container has them. Turned sources are given unturned, with their
    display_matrix beside them. Frames come from a decoder with its own threads (`threads`, None = one for each core),
    which holds no lock of Python's while it works.

    start, end: only frames shown from `start` seconds on and before `end` are given, and their pts count from the first
    one. origin: that frame's time in the source, in seconds (0 for a source that is read whole).
    deinterlace: interlaced frames become progressive ones, which otherwise are refused.
    Of a pipe, packets of other streams are in `carried`.

    Raises InputError on opening when there is nothing to show, and while iterating, after the last good frame, when
    the file is damaged, ends early, is interlaced, or changes its size on the way.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        start: float | None = None,
        end: float | None = None,
        deinterlace: bool = False,
    ) -> None:
        self.path = path
        self.start, self.end = start, end
        self.is_cut = start is not None or end is not None
        self.origin = Fraction(0)
        self.notes: list[str] = []
        self.carried = Carried() if path == PIPE else None
        self._sequence = files_of(path) if path != PIPE and is_sequence(path) else []
        self.first_number = number_of(path, self._sequence[0]) if self._sequence else 1
        self._threads = threads
        self._deinterlacer = Deinterlacer(threads) if deinterlace else None
        self._lock = threading.Lock()
        self._closed = False
        self._begun = self._uncounted = 0
        self._demuxer = Demuxer(path, threads, Counted() if path == PIPE else None, self.carried)
        try:
            if start and self.carried is None:
                # What bwdif makes of a frame depends on the one before it.
                before = start - (0.5 if deinterlace else 0)
                self._demuxer = self._sought(int(before / self._demuxer.time_base)) or self._reopened()
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        stream = self._demuxer.stream
        kind = self._demuxer.container.format.name
        if self._sequence:
            self.notes.append(f"{self.path.name}: {RATE} pictures a second are assumed")
        elif kind.endswith("_pipe") or kind in {"image2", "ico", "tty"}:
            raise InputError(
                f"{self.path} is neither a video nor a picture of a kind that is read ({kind.removesuffix('_pipe')})"
            )
        self.stream_index = int(stream.index)
        self.format_names = self._demuxer.format_names
        self.is_y4m = "yuv4mpegpipe" in self.format_names
        self.time_base = self._demuxer.time_base
        self._source = self._frames(self._demuxer)
        first = next(self._source, None)
        if first is None and self.is_cut:
            raise InputError(f"{self.path} shows no frame between --start and --end; type other times")
        if first is None:
            raise InputError(f"{self.path}: its video stream {stream.index} holds no frame; fetch or make it again")
        self._first: Any = first
        self._first_pts = int(first.pts) if self.is_cut else 0
        self.origin = self._first_pts * self.time_base
        self._describe(stream, first)
        self._check(first, 0, None)

    def _describe(self, stream: Any, first: Any) -> None:
        self.width = int(first.width)
        self.height = int(first.height)
        self.form = pixel_format(first.format.name, self.path)
        self.depth = self.form.depth
        self.color: ColorTags = color_of(first, chroma_location(stream))
        # PyAV 19 has rationals of its own, which do less.
        self.rate: Fraction | None = Fraction(stream.average_rate or stream.guessed_rate or 0) or None
        self.sample_aspect_ratio: Fraction | None = Fraction(stream.sample_aspect_ratio or 0) or None
        self.display_matrix = display_matrix(first)
        self.mastering_display = side_data(first, "MASTERING_DISPLAY_METADATA")
        self.content_light = side_data(first, "CONTENT_LIGHT_LEVEL")
        length = stream.duration * self.time_base if stream.duration else None
        if length is None and self._demuxer.container.duration:
            length = Fraction(self._demuxer.container.duration, av.time_base)
        if length is not None and self.is_cut:
            stop = length if self.end is None else min(length, Fraction(self.end))
            length = max(stop - Fraction(self.start or 0), Fraction(0))
        self.seconds: float | None = None if length is None else float(length)
        self.frames = self._expected()
        if drops_alpha(first.format.name) and not is_opaque(first):
            kept = "; type -o with .png or .webp to keep it" if self.format_names & {"gif", "apng"} else ""
            self.notes.append(f"the alpha channel of {self.path.name} ({first.format.name}) is not kept{kept}")
        if stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1":  # beside VP8's or VP9's picture
            self.notes.append(f"the alpha channel of {self.path.name} (alpha_mode 1) is not kept")

    def go_on(self, begun: int, pts: int) -> None:
        """Give only the frames after the first `begun`, of which the last is shown at `pts`; before any is taken.

        Where the container has an index to rely on, decoding starts at a key frame some way before, elsewhere at the
        beginning.
        """
        last = pts + self._first_pts
        found = self._decoded_before(last)
        self._begun, self._uncounted = begun, begun if found else 0
        self._demuxer.close()
        self._first = None
        if found is None:
            self._demuxer = self._reopened()
            self._source = self._frames(self._demuxer)
            if _upto(self._source, last) is None:
                raise InputError(f"{self.path} is not what it was when its first {begun} frames were enlarged")
        else:
            self._demuxer, self._source = found

    def __iter__(self) -> Iterator[Frame]:
        given, last = 0, None
        frame = self._first or next(self._source, None)
        while frame is not None:
            self._check(frame, self._begun + given, last)
            picture = picture_from_frame(frame, self.form, self.color)
            last, key, duration = int(frame.pts), frame.key_frame, frame.duration
            frame = self._first = None  # the picture keeps what it needs
            given += 1
            yield Frame(picture, last - self._first_pts, self.time_base, duration, key)
            with self._lock:
                if self._closed:
                    return
                frame = next(self._source, None)
        if self._deinterlacer is not None:
            self.notes.append(self._deinterlacer.note(self.path.name))
        if self._sequence and not self.is_cut and self._begun + given < len(self._sequence):
            raise InputError(
                f"{self.path}: {self._begun + given} of {len(self._sequence)} pictures could be read: it ends early; "
                "fetch or make it again"
            )
        if not self.is_cut:
            self._demuxer.check_end(self._begun + given - self._uncounted, self._uncounted)

    def identity(self) -> dict[str, object]:
        """What tells this source from others: its size, a hash of 64 places spread over it, and the stream."""
        if self.carried is not None:
            return {"pipe": secrets.token_hex(8)}
        how = {"cut": [self.start, self.end], "deinterlaced": self._deinterlacer is not None}
        if self._sequence:
            return {"pictures": len(self._sequence), "sha256": digest_of(self._sequence), **how}
        size = self.path.stat().st_size
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for place in range(64):
                file.seek(size * place // 64)
                digest.update(file.read(1 << 16))
        return {"bytes": size, "sha256": digest.hexdigest(), "stream": self.stream_index, **how}

    def source(self) -> InputContainer:
        """A second look at the source, or of a pipe the only one there is."""
        return self._demuxer.container if self.carried is not None else open_container(self.path)

    def close(self) -> None:
        """Let go of the file and the decoder; frames that were given stay. Another thread may be iterating."""
        self._closed = True
        with self._lock:
            self._source = iter(())
            self._first = None
            self._demuxer.close()

    def _reopened(self) -> Demuxer:
        """The source from its beginning once more."""
        self._demuxer.close()
        return Demuxer(self.path, self._threads)

    def _sought(self, pts: int) -> Demuxer | None:
        """The source from a key frame at or before `pts` on; None where no index says where that is."""
        demuxer = Demuxer(self.path, self._threads)
        if demuxer.seek(pts):
            return demuxer
        demuxer.close()
        return None

    def _decoded_before(self, last: int) -> tuple[Demuxer, Iterator[Any]] | None:
        """The source just after the frame at `last`, decoded from the second key frame before it.

        None where it is not certain that this gives what decoding from the beginning gives: where there is no index,
        or no such key frame, or where decoding from the key frame between gives another picture (a key frame after
        which not all is new, or which is none).
        """
        near = self._sought(last - 1)
        far = near and self._sought(near.key - 1)
        if near is None or far is None:
            if near is not None:
                near.close()
            return None
        sources = self._frames(near), self._frames(far)
        far.expect_after(last)
        try:
            one, other = (_upto(source, last) for source in sources)
            if one is not None and other is not None:
                pictures = [picture_from_frame(frame, self.form, self.color) for frame in (one, other)]
                if all(np.array_equal(a, b) for a, b in zip(*(p.planes for p in pictures), strict=True)):
                    return far, sources[1]
        except InputError:  # said, if it is so, when all is decoded
            pass
        finally:
            near.close()
        far.close()
        return None

    def _expected(self) -> int | None:
        """How many frames there will be: what the container says, or what its length and mean rate come to."""
        if self._sequence and not self.is_cut:
            return len(self._sequence)
        if self.is_cut:
            return round(self.seconds * float(self.rate)) if self.seconds and self.rate else None
        entries = self._demuxer.stream.index_entries
        if "mp4" in self.format_names and len(entries) == self._demuxer.stream.frames:
            return sum(1 for entry in entries if not entry.is_discard)
        tag = self._demuxer.stream.metadata.get("NUMBER_OF_FRAMES", "")
        exact = self._demuxer.stream.frames or (int(tag) if tag.isdecimal() else None)
        if exact or not (self.seconds and self.rate):
            return exact
        return round(self.seconds * float(self.rate))

    def _frames(self, demuxer: Demuxer) -> Iterator[Any]:
        """Decoded frames, deinterlaced where that was asked for, from `start` on and before `end`."""
        frames = demuxer.frames()
        if self._deinterlacer is not None:
            frames = self._deinterlacer.frames(frames, demuxer.time_base)
        for frame in frames:
            at = frame.pts * self.time_base
            if self.end is not None and at >= self.end:
                return
            if self.start is None or at >= self.start:
                yield frame

    def _check(self, frame: Any, number: int, last: int | None) -> None:
        where = f"{self.path}, frame {number} at {float(frame.pts * self.time_base):.3f} s"
        if frame.is_corrupt:
            raise InputError(f"{where}: damaged data; fetch or make it again")
        if (frame.width, frame.height) != (self.width, self.height):
            size = f"{self.width}x{self.height} to {frame.width}x{frame.height}"
            raise InputError(f"{where}: the size changes from {size}; split the file there with ffmpeg")
        if pixel_format(frame.format.name, self.path) != self.form:
            raise InputError(f"{where}: the pixel format changes to {frame.format.name}; split the file there")
        if frame.interlaced_frame:
            raise InputError(f"{where}: interlaced, and only progressive video is upscaled; type: --deinterlace")
        if last is not None and frame.pts <= last:
            raise InputError(f"{where}: shown no later than the frame before; remake its times with ffmpeg -vsync vfr")


def _upto(frames: Iterator[Any], pts: int) -> Any:
    """The frame at `pts`, with those before it taken; None when there is none."""
    frame = next((frame for frame in frames if frame.pts >= pts), None)
    return frame if frame is not None and frame.pts == pts else None
