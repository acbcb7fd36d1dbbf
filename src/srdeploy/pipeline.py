"""Decode | enlarge | encode, overlapped: three threads and two short queues, frames in order."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty, Full, Queue

import numpy as np

from srdeploy.inorder import in_order
from srdeploy.media.base import Reader, Writer
from srdeploy.picture import Frame, Picture

QUEUE_FRAMES = 4
"""Frames that wait between two stages: enough to even out their pace, few enough to bound memory."""

QUEUE_BYTES = 512 << 20
"""And no more than these, but for one frame: pages of a TIFF may have half a gigabyte each."""

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 1.0


class _Stopped(Exception):
    """Another stage has ended with an error; this one goes quietly."""


class _Pipe:
    """A bounded queue of frames that ends with None, and that gives up when the stream is stopped."""

    def __init__(self, stop: threading.Event) -> None:
        self._queue: Queue[Frame | None] = Queue(QUEUE_FRAMES)
        self._room = threading.Condition()
        self._bytes = 0
        self._stop = stop

    def put(self, frame: Frame | None) -> None:
        size = 0 if frame is None else _bytes_of(frame.picture)
        while not self._stop.is_set():
            with self._room:
                if self._bytes and self._bytes + size > QUEUE_BYTES:
                    self._room.wait(_POLL_SECONDS)
                    continue
                self._bytes += size
            return self._put(frame)
        raise _Stopped

    def _put(self, frame: Frame | None) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(frame, timeout=_POLL_SECONDS)
            except Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():
            try:
                frame = self._queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if frame is None:
                return
            with self._room:
                self._bytes -= _bytes_of(frame.picture)
                self._room.notify()
            yield frame
        raise _Stopped


def _bytes_of(picture: Picture) -> int:
    return sum(plane.nbytes for plane in (*picture.planes, picture.alpha) if plane is not None)


class _Stage(threading.Thread):
    """A thread that keeps the error it ended with, and stops the other stages when there is one."""

    def __init__(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._stop_all = stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  (handed to the caller's thread, and raised there)
            self.error = error
            self._stop_all.set()


def upscale_stream(
    reader: Reader,
    upscaler: Callable[[Picture], Picture],
    writer: Writer,
    on_frame: Callable[[int], None] = lambda done: None,
    interrupted: threading.Event | None = None,
    at_once: int = 1,
) -> int:
    """Enlarge every frame of `reader` into `writer`; return how many it holds then.

    Reading, the network and writing each have a thread of their own. pts, time base and duration of each frame are
    kept. A frame with the pixels of the one before it is not computed again. on_frame is called with
    the number of frames written, in the writer's thread.

    An error of the reader is raised after the frames before it have been written; one of the network or the writer is
    raised at once. The caller's `with writer` then removes what was written, or keeps it. When the calling thread is
    interrupted, a stage that is inside an engine or an encoder for longer than _PATIENCE_SECONDS is left behind.
    interrupted: raises KeyboardInterrupt when set; threads other than the main one hear of Ctrl-C by it.
    at_once: frames that are given to `upscaler` at the same time, each by a thread of its own.
    """
    stop = threading.Event()
    decoded, enlarged = _Pipe(stop), _Pipe(stop)
    failure: list[BaseException] = []
    written = writer.begun

    def decode() -> None:
        try:
            for frame in reader:
                decoded.put(frame)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread once the good frames are through)
            failure.append(error)
        decoded.put(None)

    def distinct() -> Iterator[tuple[Frame, bool]]:
        """Frames, and whether they repeat the one before."""
        source: Picture | None = None
        for frame in decoded:
            repeats = source is not None and same_pixels(frame.picture, source)
            source = source if repeats else frame.picture
            yield frame, repeats

    def larger(item: tuple[Frame, bool]) -> tuple[Frame, Picture | None]:
        frame, repeats = item
        return frame, None if repeats else upscaler(frame.picture)

    def enlarge() -> None:
        big: Picture | None = None
        # An engine on the CPU may take long: this stage itself is then what an interruption leaves behind.
        made = map(larger, distinct()) if at_once == 1 else in_order(larger, distinct(), at_once)
        for frame, picture in made:
            big = picture or big
            assert big is not None
            enlarged.put(replace(frame, picture=big))
        enlarged.put(None)

    def encode() -> None:
        nonlocal written
        for frame in enlarged:
            writer.write(frame)
            written += 1
            on_frame(written)

    stages = [_Stage(work.__name__, work, stop) for work in (decode, enlarge, encode)]
    try:
        for stage in stages:
            stage.start()
        while stages[-1].is_alive():
            stages[-1].join(_POLL_SECONDS)  # with a limit, or Windows does not hear Ctrl-C
            if interrupted is not None and interrupted.is_set():
                raise KeyboardInterrupt
    finally:
        stop.set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for stage in (stage for stage in stages if stage.is_alive()):
            # Without an interruption all of them end by themselves.
            stage.join(max(0.0, deadline - time.monotonic()) if sys.exc_info()[0] else None)
    errors = [*(stage.error for stage in stages if stage.error is not None), *failure]
    if errors:
        raise errors[0]
    return written


def same_pixels(one: Picture, other: Picture) -> bool:
    """Whether two pictures of a stream have the same samples, and are read alike."""
    pairs = zip((*one.planes, one.alpha), (*other.planes, other.alpha), strict=True)
    return one.color == other.color and all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
    )
