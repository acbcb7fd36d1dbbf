"""The CUDA driver, as far as running an engine needs it: a device, its memory, a stream, a graph.

Called through ctypes, as gpus.py does: the driver is there wherever an NVIDIA GPU is, in whatever version of CUDA the
engine was built for, and nothing has to be installed for it. Names and types follow the CUDA driver API.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from srdeploy.errors import DeviceError, OutOfMemory

_SUCCESS, _OUT_OF_MEMORY = 0, 2
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: what others do on the default stream does not hold it up
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may do what they like meanwhile


class Cuda:
    """The primary context of one GPU, and a stream on it. index: in CUDA's order.

    Every method may be called from any thread. Raises DeviceError when the driver, the GPU or memory is not there.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self._driver = _load()
        self._call("cuInit", 0)
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), index)
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.enter()
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        self._stream = stream

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return self._stream.value or 0

    def enter(self) -> None:
        """Make this GPU the calling thread's."""
        self._call("cuCtxSetCurrent", self._context)

    def name(self) -> str:
        """What the GPU is called, such as "NVIDIA H100"."""
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode(errors="replace")

    def capability(self) -> str:
        """The compute capability, such as "9.0"."""
        numbers = []
        for attribute in (_MAJOR, _MINOR):
            number = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(number), attribute, self._device)
            numbers.append(str(number.value))
        return ".".join(numbers)

    def version(self) -> str:
        """The CUDA version of the driver, such as "13.0"."""
        number = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def allocate(self, size: int) -> int:
        """The address of so many bytes of the GPU's memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """An array in page-locked memory of the host, which the GPU copies from and to by itself; see unpin."""
        size = int(np.prod(shape)) * dtype.itemsize
        address = ctypes.c_void_p()
        self._call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(size))
        room: Any = (ctypes.c_uint8 * size).from_address(address.value or 0)
        return np.frombuffer(room, dtype).reshape(shape)

    def unpin(self, array: np.ndarray[Any, Any]) -> None:
        """Give the memory of a `pinned` array back; nobody may look at it any more."""
        self._call("cuMemFreeHost", ctypes.c_void_p(array.ctypes.data))

    def upload(self, address: int, values: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous array to the GPU, in the stream's order."""
        source = ctypes.c_void_p(values.ctypes.data)
        self._call(
            "cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(values.nbytes), self._stream
        )

    def download(self, values: np.ndarray[Any, Any], address: int) -> None:
        """Fill a contiguous array from the GPU, in the stream's order; it is there after `wait`."""
        target = ctypes.c_void_p(values.ctypes.data)
        self._call(
            "cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(values.nbytes), self._stream
        )

    def wait(self) -> None:
        """Until the stream has done all it was given."""
        self._call("cuStreamSynchronize", self._stream)

    def memory(self) -> tuple[int, int]:
        """Bytes of the GPU's memory that are free, and all that it has; of the calling thread's GPU."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def capture(self, work: Callable[[], None]) -> int:
        """What `work` gives to the stream as one graph, which is not run yet: its handle, for `launch` and `drop`.

        Memory and addresses are fixed in it. `work` must have been run before, and may not wait.
        """
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            work()
        finally:
            self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_uint64(0))
        self._call("cuGraphDestroy", graph)
        return ready.value or 0

    def launch(self, graph: int) -> None:
        """Run a captured graph in the stream's order."""
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), self._stream)

    def drop(self, graph: int) -> None:
        """Give a captured graph back."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def close(self) -> None:
        """Give the stream and the context back; what was allocated must have been freed."""
        self._call("cuStreamDestroy_v2", self._stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _call(self, name: str, *words: Any) -> None:
        code = getattr(self._driver, name)(*words)
        if code == _OUT_OF_MEMORY:
            raise OutOfMemory("the GPU ran out of memory; type a smaller --tile")
        if code != _SUCCESS:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            reason = (text.value or b"no such error").decode(errors="replace")
            raise DeviceError(f"the CUDA driver fails in {name}: {reason} ({code}); nvidia-smi shows what there is")


def _load() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        raise DeviceError(
            "found no NVIDIA GPU or no driver for it (nvidia-smi shows what there is); type: --backend ort"
        ) from None
