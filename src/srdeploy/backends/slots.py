"""Calls to a GPU that overlap: pinned memory and a stream for each, and few of them at once.

While the network of one picture runs, the next is on its way up and the one before on its way down; each is called by a
thread of its own. No line here has been run on a GPU: none was at hand. What is tested is the order of the calls, on a
stand-in.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from srdeploy.backends.cuda import Cuda
from srdeploy.errors import OutOfMemory
from srdeploy.picture import Pixels

AT_ONCE = 3
"""Calls in flight: one on its way up, one that is computed, one on its way down."""

KEPT = 6
"""Slots that wait for another picture of their size: video and tiles have one, and batches a few."""

CAPTURE_AT = 3
"""A slot's run from which its calls are one CUDA graph: sizes that return are fixed, and the first runs allocate."""

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


class Slot:
    """Memory for one input and one output of fixed shapes, here and on the GPU, with a stream of its own.

    host, room: of the input and of the output, here and there. runs: calls that it has served, with the one now. owned,
    graph: what the engine keeps for it; before_close gives back what must be given back before its memory is.
    """

    def __init__(self, shapes: Shapes, dtype: np.dtype[Any], cuda: Cuda) -> None:
        self.shapes = shapes
        self.dtype = dtype
        self.cuda = cuda
        self.runs = 0
        self.host: list[np.ndarray[Any, Any]] = []
        self.room: list[int] = []
        self.owned: Any = None
        self.graph: int | None = None
        self.before_close: Callable[[], None] = lambda: None
        try:
            for shape in shapes:
                self.host.append(cuda.pinned(shape, dtype))
                self.room.append(cuda.allocate(self.host[-1].nbytes))
        except OutOfMemory:  # a smaller tile comes next, and needs what this one has
            self.close()
            raise

    def close(self) -> None:
        self.cuda.enter()
        self.before_close()
        self.owned = None
        for address in self.room:
            self.cuda.free(address)
        for array in self.host:
            self.cuda.unpin(array)
        self.cuda.close()


class Slots:
    """Runs a network on one GPU for any number of threads, AT_ONCE of them at a time in this process.

    open_cuda: the GPU with a new stream. prepare: called once with a new slot. work: called with a slot whose host[0]
    is filled; fills host[1]. Both are called with the GPU entered.
    """

    _places = threading.Semaphore(AT_ONCE)
    _alone = threading.Lock()

    def __init__(
        self, open_cuda: Callable[[], Cuda], prepare: Callable[[Slot], None], work: Callable[[Slot], None]
    ) -> None:
        self._open_cuda = open_cuda
        self._prepare = prepare
        self._work = work
        self._idle: list[Slot] = []
        self._lock = threading.Lock()

    def run(self, values: Pixels, result: Pixels) -> None:
        """Compute contiguous `values` into contiguous `result`, of the same dtype.

        Raises OutOfMemory when the GPU has too little, DeviceError when its driver fails.
        """
        with self._places:
            slot = self._take((values.shape, result.shape), values.dtype)
            try:
                slot.cuda.enter()
                slot.runs += 1
                if slot.runs == 1:
                    self._prepare(slot)
                slot.host[0][...] = values
                self._work(slot)
                result[...] = slot.host[1]
            except BaseException:
                slot.close()
                raise
            self._give(slot)

    @classmethod
    @contextmanager
    def alone(cls) -> Iterator[None]:
        """While no other thread of this process computes on a GPU; called from inside `work` only."""
        cls._places.release()  # or two that wait to be alone would wait for each other
        with cls._alone:
            for _ in range(AT_ONCE):
                cls._places.acquire()
            try:
                yield
            finally:
                for _ in range(AT_ONCE):
                    cls._places.release()
        cls._places.acquire()

    def free_bytes(self) -> int:
        """The GPU's memory that is free now."""
        cuda = self._open_cuda()
        cuda.enter()
        try:
            return cuda.memory()[0]
        finally:
            cuda.close()

    def forget(self) -> None:
        """Give back the memory of all slots that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for slot in idle:
            slot.close()

    def _take(self, shapes: Shapes, dtype: np.dtype[Any]) -> Slot:
        with self._lock:
            for slot in self._idle:
                if slot.shapes == shapes:
                    self._idle.remove(slot)
                    return slot
        cuda = self._open_cuda()
        cuda.enter()
        try:
            return Slot(shapes, dtype, cuda)
        except OutOfMemory:
            self.forget()  # other sizes' memory may be what is missing
            cuda = self._open_cuda()
            cuda.enter()
            return Slot(shapes, dtype, cuda)

    def _give(self, slot: Slot) -> None:
        with self._lock:
            self._idle.append(slot)
            old = self._idle.pop(0) if len(self._idle) > KEPT else None
        if old is not None:
            old.close()
