"""One video on several machines: its segments are made wherever there is time, and joined to the bytes of a single run.

A segment's packets depend on its own frames and on nothing that was made before, so it does not matter who makes which,
or in what order. `look` says what the one who joins must know; `make` makes a segment; `join` asks for them all.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srdeploy import urls
from srdeploy.atomic import result_folder
from srdeploy.errors import DeviceError, InputError
from srdeploy.fit import Fit
from srdeploy.jobs import (
    Choices,
    Done,
    Job,
    OnFrame,
    answer_of,
    key_of,
    on_this_machine,
    source_of,
    write_whole,
)
from srdeploy.media import VIDEO_SUFFIXES, open_writer, sniff
from srdeploy.media.base import Finishing
from srdeploy.media.names import is_sequence
from srdeploy.media.segment_encoder import SEGMENT_FRAMES, SegmentEncoder, settings_of
from srdeploy.media.segments import Packet
from srdeploy.media.video_reader import VideoReader
from srdeploy.media.video_target import VideoTarget
from srdeploy.media.video_writer import VideoWriter
from srdeploy.picture import Frame
from srdeploy.pipeline import upscale_stream
from srdeploy.upscale import Upscaler

AT_ONCE = 2
"""Segments or pictures that one engine has at one time: one is in the network while another is read or written."""

_AHEAD = 1000
"""Segments that are asked for before they are needed."""


@dataclass(frozen=True)
class Split:
    """A video that is to be made in segments. key: what its pixels depend on. answer: all of it but its numbers."""

    key: Mapping[str, Any]
    answer: Done


@dataclass(frozen=True)
class Made:
    """One segment. is_last: the source has no frame after it; fault: why, when that is because it is damaged."""

    packets: list[Packet]
    is_last: bool
    fault: str | None
    notes: tuple[str, ...]
    retried: int


@dataclass
class _Source:
    """A video that is being read, and how far."""

    key: tuple[Path, Choices]
    reader: VideoReader
    target: VideoTarget
    settings: Mapping[str, Any]
    frames: Iterator[Frame]
    at: int = 0
    pending: Frame | None = None
    ended: bool = False

    def next(self) -> Frame | None:
        frame, self.pending = self.pending or next(self.frames, None), None
        self.at += frame is not None
        return frame

    def peek(self) -> None:
        self.pending = next(self.frames, None)
        self.ended = self.pending is None


class Segmenter:
    """Makes segments of videos with one engine, for several threads. Decoders are kept, for whoever goes on there."""

    def __init__(self, fit: Fit[Upscaler]) -> None:
        self._fit = fit
        self._lock = threading.Lock()
        self._idle: list[_Source] = []

    def look(self, job: Job, choices: Choices) -> Split | None:
        """What the one who joins must know; None for all that is made in one piece. Raises InputError."""
        if is_sequence(job.input) or job.output.suffix.lower() not in VIDEO_SUFFIXES or sniff(job.input) != "video":
            return None
        with urls.fetched(job.input) as path:
            source = self._open(replace(job, input=path), choices)
        reader = source.reader
        chosen, size = self._sizes(reader)
        with self._lock:
            self._idle.append(source)
        key = key_of(chosen, reader.width, reader.height, reader.depth)
        return Split(key, answer_of(job, chosen, reader.depth, (reader.width, reader.height), size))

    def make(self, job: Job, choices: Choices, settings: Mapping[str, Any], number: int, on_frame: OnFrame) -> Made:
        """The segment of that number, from 0 on; settings: what the writer that joins it goes by.

        Raises SrdeployError: DeviceError when it would be made otherwise here than by those settings.
        """
        with urls.fetched(job.input) as path:
            source = self._source_at(replace(job, input=path), choices, number * SEGMENT_FRAMES)
        chosen, _ = self._sizes(source.reader)
        _check_like(settings, source.settings)
        stretch, packets = _Stretch(source, number), _Packets(source.target)
        fault = None
        try:
            enlarge = self._fit.enlarger(even=True)
            upscale_stream(stretch, enlarge, packets, lambda done: on_frame(done, None, packets.size))
        except InputError as error:
            fault = str(error).replace(str(path), str(job.input))
            source.ended = True
        packets.finish()
        if source.ended:
            source.reader.close()
        else:
            self._put_back(source)
        retried, said = chosen.log.take()
        return Made(packets.made, source.ended, fault, (*source.reader.notes, *said), retried)

    def _sizes(self, reader: VideoReader) -> tuple[Upscaler, tuple[int, int]]:
        chosen = self._fit.upscaler_for(reader.width, reader.height)
        return chosen, self._fit.size_for(reader.width, reader.height, even=True)

    def _source_at(self, job: Job, choices: Choices, first: int) -> _Source:
        """The decoder that is nearest before the frame `first`, or a new one."""
        with self._lock:
            before = [s for s in self._idle if s.key == (job.input, choices) and s.at <= first]
            if before:
                source = max(before, key=lambda s: s.at)
                self._idle.remove(source)
                return source
        return self._open(job, choices)

    def _open(self, job: Job, choices: Choices) -> _Source:
        reader = source_of(job, choices)
        if not isinstance(reader, VideoReader):
            raise TypeError(f"{job.input} is read as {type(reader).__name__}")
        chosen, size = self._sizes(reader)
        chosen.expect(reader.height, reader.width)
        target = VideoTarget(job.output, reader, size, choices.encode)
        settings = settings_of(target, reader, key_of(chosen, reader.width, reader.height, reader.depth))
        return _Source((job.input, choices), reader, target, settings, iter(reader))

    def _put_back(self, source: _Source) -> None:
        with self._lock:
            self._idle.append(source)
            old, self._idle = self._idle[:-AT_ONCE], self._idle[-AT_ONCE:]
        for one in old:
            one.reader.close()


class _Stretch:
    """The frames of one segment as a reader gives them."""

    def __init__(self, source: _Source, number: int) -> None:
        reader = source.reader
        self.path, self.notes = reader.path, reader.notes
        self.width, self.height, self.depth = reader.width, reader.height, reader.depth
        self.frames: int | None = None
        self._source = source
        self._first = number * SEGMENT_FRAMES

    def __iter__(self) -> Iterator[Frame]:
        source = self._source
        while source.at < self._first + SEGMENT_FRAMES:
            frame = source.next()
            if frame is None:
                source.ended = True
                return
            if source.at > self._first:
                yield frame
        source.peek()

    def close(self) -> None:
        """Nothing: the decoder is kept."""


@dataclass
class _Packets(Finishing):
    """A writer of one segment, into memory."""

    target: VideoTarget
    path: Path = Path()
    notes: list[str] = field(default_factory=list)
    made: list[Packet] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        self._encoder = SegmentEncoder(self.target)

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        self._take(self._encoder.encode(frame))

    def finish(self) -> None:
        """See Writer."""
        self._take(self._encoder.end())

    def leave(self) -> None:
        """Nothing is held."""

    def _take(self, packets: list[Packet]) -> None:
        self.made += packets
        self.size += sum(len(packet.data) for packet in packets)


Ask = Callable[[Mapping[str, Any], int], "Future[Made]"]
"""Asks somebody for a segment, by the settings of the writer and the segment's number."""


def join(job: Job, split: Split, choices: Choices, ask: Ask) -> Done:
    """Have all segments of a video made that are not there yet, and join them; as run_job in all else."""
    return on_this_machine(job, choices, lambda local: _joined(local, split, choices, ask))


def _joined(job: Job, split: Split, choices: Choices, ask: Ask) -> Done:
    started = time.perf_counter()
    answer = split.answer
    reader = source_of(job, choices)
    try:
        with result_folder(job.output.parent):
            size = (answer.width, answer.height)
            writer = open_writer(job.output, reader, *size, choices.encode, split.key, choices.resume)
            if not isinstance(writer, VideoWriter):
                raise TypeError(f"{job.output} is written by {type(writer).__name__}")
            begun = writer.kept()
            gathered = _Gathered(writer, reader.frames, ask)
            frames = write_whole(writer, gathered.fill, choices)
    finally:
        reader.close()
    notes = tuple(dict.fromkeys((*reader.notes, *writer.notes, *gathered.notes)))
    return answer.finished(frames, frames - begun, time.perf_counter() - started, notes, gathered.retried)


class _Gathered:
    """All segments of a video, as they come, into its writer."""

    def __init__(self, writer: VideoWriter, expected: int | None, ask: Ask) -> None:
        self.notes: dict[str, None] = {}
        self.retried = 0
        self._writer = writer
        self._ask = ask
        self._waiting: dict[Future[Made], int] = {}
        self._asked = 0
        self._count = max(1, math.ceil((expected or 0) / SEGMENT_FRAMES))  # one more whenever the last one is full
        self._end: int | None = None  # the number of the last segment, once that is known
        self._damaged: dict[int, Made] = {}

    def fill(self) -> int:
        """Have all made; how many frames there are. Raises InputError for a damaged source, its good part being in."""
        try:
            self._ask_more()
            while self._waiting:
                done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda f: f.exception() is not None):  # what is made is kept first
                    if future in self._waiting:
                        self._take(self._waiting.pop(future), future.result())
                self._ask_more()
        except CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for future in self._waiting:
                future.cancel()
        if self._damaged:
            number = min(self._damaged)
            self._writer.put(number, self._damaged[number].packets)
            raise InputError(self._damaged[number].fault)
        return self._writer.kept()

    def _ask_more(self) -> None:
        """Ask for what is missing, up to where the source is thought to end."""
        while self._end is None and len(self._waiting) < _AHEAD and self._asked < self._count:
            number = self._asked
            self._asked += 1
            length = self._writer.length_of(number)
            if length is None:
                self._waiting[self._ask(self._writer.settings, number)] = number
            elif length < SEGMENT_FRAMES:
                self._end = number
            elif self._asked == self._count:
                self._count += 1

    def _take(self, number: int, made: Made) -> None:
        self.notes |= dict.fromkeys(made.notes)
        self.retried += made.retried
        if self._end is not None and number > self._end:
            return
        if made.is_last:
            self._end = number
            for future, later in list(self._waiting.items()):
                if later > number:
                    future.cancel()
                    del self._waiting[future]
        elif number + 1 == self._count:
            self._count += 1
        if made.fault is None:
            self._writer.put(number, made.packets)
        else:
            self._damaged[number] = made


def _check_like(settings: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise DeviceError when a segment made here would not be like the others: another source, model or library."""
    unlike = sorted(key for key in {*settings, *here} if key != "device" and settings.get(key) != here.get(key))
    if unlike:
        said = "; ".join(f"{key}: {settings.get(key)} there, {here.get(key)} here" for key in unlike)
        raise DeviceError(
            f"this worker would make segments unlike those of the others ({said}); all machines need the same srdeploy "
            "and libraries, and the same file under the same path"
        )
