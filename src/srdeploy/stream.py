"""Decode | upscale | encode, overlapped: three threads and two short queues, frames in order."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty, Full, Queue

from srdeploy.media.base import Reader, Writer
from srdeploy.picture import Frame, Picture

QUEUE_FRAMES = 4
"""Frames that wait between two stages: enough to even out their pace, few enough to bound memory."""

_POLL_SECONDS = 0.1


class _Stopped(Exception):
    """Another stage has ended with an error; this one goes quietly."""


class _Pipe:
    """A bounded queue of frames that ends with None, and that gives up when the stream is stopped."""

    def __init__(self, stop: threading.Event) -> None:
        self._queue: Queue[Frame | None] = Queue(QUEUE_FRAMES)
        self._stop = stop

    def put(self, frame: Frame | None) -> None:
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
            yield frame
        raise _Stopped


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
) -> int:
    """Enlarge every frame of `reader` into `writer`; return how many were written.

    Reading and writing each have a thread of their own; the network runs in the calling one. pts, time base and
    duration of each frame are kept. on_frame is called with the number of frames written, in the writer's thread.

    An error of the reader is raised after the frames before it have been written; one of the network or the writer is
    raised at once. The caller's `with writer` then removes what was written, or keeps it.
    """
    stop = threading.Event()
    decoded, enlarged = _Pipe(stop), _Pipe(stop)
    failure: list[BaseException] = []
    written = 0

    def decode() -> None:
        try:
            for frame in reader:
                decoded.put(frame)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread once the good frames are through)
            failure.append(error)
        decoded.put(None)

    def encode() -> None:
        nonlocal written
        for frame in enlarged:
            writer.write(frame)
            written += 1
            on_frame(written)

    stages = [_Stage("decode", decode, stop), _Stage("encode", encode, stop)]
    for stage in stages:
        stage.start()
    try:
        for frame in decoded:
            enlarged.put(replace(frame, picture=upscaler(frame.picture)))
        enlarged.put(None)
        stages[1].join()
    except _Stopped:
        pass
    finally:
        stop.set()
        for stage in stages:
            stage.join()
    errors = [*(stage.error for stage in stages if stage.error is not None), *failure]
    if errors:
        raise errors[0]
    return written
