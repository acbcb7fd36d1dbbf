"""ONNX Runtime on a GPU without waiting for copies: pinned memory, and a stream for them beside the network's.

No line here has been run on a GPU: none was at hand. What is tested is the order of the calls, on a stand-in.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from srdeploy.backends.cuda import Cuda
from srdeploy.errors import OutOfMemory
from srdeploy.picture import Pixels

KEPT = 4
"""Slots that wait for another picture of their size: tiles have one size, and several threads take one each."""

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


class _Slot:
    """Memory for one input and one output of fixed shapes, here and on the GPU, with a stream of its own."""

    def __init__(self, shapes: Shapes, dtype: np.dtype[Any], session: Any, names: tuple[str, str], cuda: Cuda) -> None:
        self.shapes = shapes
        self.cuda = cuda
        self.host = [cuda.pinned(shape, dtype) for shape in shapes]
        self.room: list[int] = []
        try:
            for array in self.host:
                self.room.append(cuda.allocate(array.nbytes))
        except OutOfMemory:  # a smaller tile comes next, and needs what this one has
            self.close()
            raise
        self.binding = session.io_binding()
        self.binding.bind_input(names[0], "cuda", cuda.index, dtype, shapes[0], self.room[0])
        self.binding.bind_output(names[1], "cuda", cuda.index, dtype, shapes[1], self.room[1])

    def close(self) -> None:
        self.cuda.enter()
        for address in self.room:
            self.cuda.free(address)
        for array in self.host:
            self.cuda.unpin(array)


class CudaRunner:
    """Runs a session of ONNX Runtime's CUDA provider. One thread's copies pass while another's network runs.

    session: its InferenceSession; names: of its input and output. open_cuda: a context with a new stream.
    """

    def __init__(self, session: Any, names: tuple[str, str], open_cuda: Callable[[], Cuda]) -> None:
        self._session = session
        self._names = names
        self._open_cuda = open_cuda
        self._idle: list[_Slot] = []
        self._lock = threading.Lock()

    def run(self, values: Pixels, result: Pixels) -> None:
        """Compute contiguous `values` into contiguous `result`, of the same dtype.

        Raises OutOfMemory when the GPU has too little, DeviceError when its driver fails.
        """
        slot = self._take((values.shape, result.shape), values.dtype)
        try:
            slot.cuda.enter()
            slot.host[0][...] = values
            slot.cuda.upload(slot.room[0], slot.host[0])
            slot.cuda.wait()
            self._session.run_with_iobinding(slot.binding)  # returns when its own stream is done
            slot.cuda.download(slot.host[1], slot.room[1])
            slot.cuda.wait()
            result[...] = slot.host[1]
        except BaseException:
            slot.close()
            raise
        self._give(slot)

    def _take(self, shapes: Shapes, dtype: np.dtype[Any]) -> _Slot:
        with self._lock:
            for slot in self._idle:
                if slot.shapes == shapes:
                    self._idle.remove(slot)
                    return slot
        cuda = self._open_cuda()
        cuda.enter()
        return _Slot(shapes, dtype, self._session, self._names, cuda)

    def _give(self, slot: _Slot) -> None:
        with self._lock:
            self._idle.append(slot)
            old = self._idle.pop(0) if len(self._idle) > KEPT else None
        if old is not None:
            old.close()
