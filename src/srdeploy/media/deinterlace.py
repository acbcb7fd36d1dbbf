"""Interlaced frames made progressive, one for each, by FFmpeg's bwdif."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.error import BlockingIOError, EOFError
from av.filter import Graph


class Deinterlacer:
    """Passes frames through, those that say that they are interlaced as progressive ones.

    Each keeps its pts, duration, tags and side data; the order of the fields is each frame's own. bwdif (the motion of
    yadif, the filter of BBC R&D's w3fdif) looks at one frame before and one after, so frames come one later.
    count: how many were interlaced, total: of how many.
    """

    def __init__(self, threads: int | None) -> None:
        self.count = self.total = 0
        self._threads = threads or 0

    def frames(self, source: Iterator[Any], time_base: Fraction) -> Iterator[Any]:
        """The frames of `source`, whose pts count in `time_base`; then what iterating it raises."""
        self.count = self.total = 0
        graph, form = None, None
        fault: Exception | None = None
        while True:
            try:
                frame = next(source, None)
            except Exception as error:  # noqa: BLE001  (raised once what the filter holds has been given)
                fault, frame = error, None
            new = None if frame is None else (frame.width, frame.height, frame.format.name)
            if graph is not None and new != form:
                yield from _through(graph, None)
                graph = None
            if frame is None:
                break
            if graph is None:
                graph, form = _graph(frame, time_base, self._threads), new
            self.total += 1
            self.count += frame.interlaced_frame
            yield from _through(graph, frame)
        if fault is not None:
            raise fault

    def note(self, name: str) -> str:
        """What was done, as a sentence."""
        if not self.count:
            return f"no frame of {name} says that it is interlaced, so --deinterlace changed nothing"
        return f"{self.count} of {self.total} frames of {name} were interlaced and are progressive now"


def _graph(frame: Any, time_base: Fraction, threads: int) -> Graph:
    graph = Graph()
    graph.threads = threads
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(time_base),
        pixel_aspect="1/1",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"), graph.add("buffersink")
    )
    graph.configure()
    return graph


def _through(graph: Graph, frame: Any) -> Iterator[Any]:
    """Hand over a frame, or None for the end, and take what is ready."""
    graph.vpush(frame)
    while True:
        try:
            made: Any = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        # bwdif counts in half ticks, so that a second field would have a time.
        made.pts, made.duration = made.pts // 2, made.duration // 2
        yield made
