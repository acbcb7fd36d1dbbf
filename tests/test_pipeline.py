"""The three stages: order, timestamps, and what happens when one of them fails."""

import signal
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from srdeploy import pipeline
from srdeploy.errors import InputError, OutputError
from srdeploy.picture import Frame, Picture
from srdeploy.pipeline import QUEUE_FRAMES, upscale_stream


def _picture(value: int) -> Picture:
    return Picture("gray", (np.full((2, 2), value, np.uint8),))


class Source:
    """A reader of `count` frames at uneven times, which fails after `fails_at` frames if given."""

    path = Path("source")
    width = height = 2

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.frames: int | None = count
        self.notes: list[str] = []
        self.given = 0
        self.fails_at = fails_at

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.frames or 0):
            if index == self.fails_at:
                raise InputError("source is damaged")
            self.given += 1
            yield Frame(_picture(index % 256), index * index, Fraction(1, 90_000), 7)

    def close(self) -> None:
        pass


class Sink:
    """A writer that keeps what it gets, slowly if asked, and fails at a frame if asked."""

    path = Path("sink")
    begun = size = 0

    def __init__(self, delay: float = 0.0, fails_at: int | None = None) -> None:
        self.got: list[Frame] = []
        self.notes: list[str] = []
        self.delay, self.fails_at = delay, fails_at

    def write(self, frame: Frame) -> None:
        if len(self.got) == self.fails_at:
            raise OutputError("disk full")
        time.sleep(self.delay)
        self.got.append(frame)

    def kept(self) -> int:
        return 0

    def finish(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def test_order_and_times_are_kept() -> None:
    sink, seen = Sink(), []
    assert upscale_stream(Source(300), lambda p: p, sink, seen.append) == 300
    assert [f.pts for f in sink.got] == [i * i for i in range(300)]
    assert [int(f.picture.planes[0][0, 0]) for f in sink.got] == [i % 256 for i in range(300)]
    assert {(f.time_base, f.duration) for f in sink.got} == {(Fraction(1, 90_000), 7)}
    assert seen == list(range(1, 301))


def test_a_slow_writer_bounds_what_is_decoded() -> None:
    source, sink = Source(100), Sink(delay=0.002)
    ahead = []

    def spy(picture: Picture) -> Picture:
        ahead.append(source.given - len(sink.got))
        return picture

    upscale_stream(source, spy, sink)
    assert max(ahead) <= 2 * QUEUE_FRAMES + 3  # two queues, and one frame in each pair of hands


def test_large_frames_wait_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes each, and six may wait: one decoded, one enlarged, and those that are worked on."""
    monkeypatch.setattr(pipeline, "QUEUE_BYTES", 6)
    source, sink = Source(12), Sink(delay=0.02)
    ahead: list[int] = []
    upscale_stream(source, lambda picture: picture, sink, lambda done: ahead.append(source.given - done))
    assert len(sink.got) == 12 and max(ahead) <= 5


def test_frames_before_the_damage_are_written_and_then_it_is_said() -> None:
    sink = Sink(delay=0.001)
    with pytest.raises(InputError, match="damaged"):
        upscale_stream(Source(50, fails_at=31), lambda p: p, sink)
    assert len(sink.got) == 31


def test_a_failing_writer_stops_the_others() -> None:
    source = Source(10_000)
    with pytest.raises(OutputError, match="disk full"):
        upscale_stream(source, lambda p: p, Sink(fails_at=5))
    assert source.given < 100
    assert not [t for t in threading.enumerate() if t.name in ("decode", "enlarge", "encode")]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_failing_network_stops_the_others(error: BaseException) -> None:
    source = Source(10_000)

    def fail(picture: Picture) -> Picture:
        if source.given > 20:
            raise error
        return picture

    with pytest.raises(type(error)):
        upscale_stream(source, fail, Sink())
    assert source.given < 100
    assert not [t for t in threading.enumerate() if t.name in ("decode", "enlarge", "encode")]


def test_no_frames() -> None:
    assert upscale_stream(Source(0), lambda p: p, Sink()) == 0


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_frame_like_the_one_before_is_not_computed_again(at_once: int) -> None:
    class Still(Source):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                yield replace(frame, picture=_picture(frame.pts // 10_000))

    computed, sink = [], Sink()

    def enlarge(picture: Picture) -> Picture:
        computed.append(int(picture.planes[0][0, 0]))
        return picture

    upscale_stream(Still(300), enlarge, sink, at_once=at_once)
    assert sorted(computed) == list(range(9))
    assert [int(f.picture.planes[0][0, 0]) for f in sink.got] == [i * i // 10_000 for i in range(300)]


def test_an_engine_that_takes_long_does_not_hold_up_an_interruption() -> None:
    released = threading.Event()

    def long(picture: Picture) -> Picture:
        interrupt_main()
        released.wait(30)
        return picture

    started = time.monotonic()
    # A shell starts what runs in the background deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            upscale_stream(Source(10), long, Sink())
    finally:
        signal.signal(signal.SIGINT, before)
    released.set()
    assert time.monotonic() - started < 20


def test_several_at_once_stay_in_order() -> None:
    """Three frames are in the network at the same time, and leave it in order."""
    together = threading.Barrier(3, timeout=20)
    calls: list[int] = []

    def enlarge(picture: Picture) -> Picture:
        calls.append(1)
        if len(calls) <= 3:
            together.wait()  # or it breaks: nobody else came
        return picture

    sink = Sink()
    assert upscale_stream(Source(50), enlarge, sink, at_once=3) == 50
    assert [frame.pts for frame in sink.got] == sorted(frame.pts for frame in sink.got)
    plain = Sink()
    upscale_stream(Source(50), lambda p: p, plain)
    assert [frame.pts for frame in sink.got] == [frame.pts for frame in plain.got]


def test_a_failing_network_stops_the_others_when_several_are_at_work() -> None:
    def fail(picture: Picture) -> Picture:
        raise OutputError("no")

    with pytest.raises(OutputError, match="no"):
        upscale_stream(Source(3000), fail, Sink(), at_once=3)
