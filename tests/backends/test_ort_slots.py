"""The order of calls on a GPU, on a stand-in whose device memory is the host's: no GPU was at hand."""

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_slots import KEPT, CudaRunner
from srdeploy.errors import OutOfMemory


class StandIn:
    """A context: memory that is the host's, and copies that are done only when they are waited for."""

    index = 0

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.rooms: dict[int, Any] = {}
        self.waiting: list[tuple[int, int, int]] = []

    def enter(self) -> None:
        self.calls.append("enter")

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        return np.zeros(shape, dtype)

    def unpin(self, array: np.ndarray) -> None:
        self.calls.append("unpin")

    def allocate(self, size: int) -> int:
        room = ctypes.create_string_buffer(size)
        self.rooms[ctypes.addressof(room)] = room
        return ctypes.addressof(room)

    def free(self, address: int) -> None:
        del self.rooms[address]
        self.calls.append("free")

    def upload(self, address: int, values: np.ndarray) -> None:
        self.calls.append("upload")
        self.waiting.append((address, values.ctypes.data, values.nbytes))

    def download(self, values: np.ndarray, address: int) -> None:
        self.calls.append("download")
        self.waiting.append((values.ctypes.data, address, values.nbytes))

    def wait(self) -> None:
        self.calls.append("wait")
        for copy in self.waiting:
            ctypes.memmove(*copy)
        self.waiting.clear()


class Engine:
    """A session that doubles bytes from one address to another."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def io_binding(self) -> "Engine":
        return Engine(self.calls)

    def bind_input(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
        assert (name, device, index) == ("in", "cuda", 0)
        self.source, self.size = address, int(np.prod(shape))

    def bind_output(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
        assert (name, device, index) == ("out", "cuda", 0)
        self.target = address

    def run_with_iobinding(self, binding: "Engine") -> None:
        self.calls.append("run")
        given = np.frombuffer((ctypes.c_uint8 * self.size_of(binding)).from_address(binding.source), np.uint8)
        np.frombuffer((ctypes.c_uint8 * given.size).from_address(binding.target), np.uint8)[...] = 2 * given

    @staticmethod
    def size_of(binding: "Engine") -> int:
        return binding.size


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def runner(calls: list[str]) -> CudaRunner:
    return CudaRunner(Engine(calls), ("in", "out"), lambda: StandIn(calls))  # type: ignore[arg-type, return-value]


def run(runner: CudaRunner, side: int) -> None:
    given = np.random.default_rng(side).integers(0, 128, (1, side, side, 1), np.uint8)
    result = np.zeros_like(given)
    runner.run(given, result)
    assert np.array_equal(result, 2 * given)


def test_copies_are_waited_for(runner: CudaRunner, calls: list[str]) -> None:
    run(runner, 8)
    assert [call for call in calls if call != "enter"] == ["upload", "wait", "run", "download", "wait"]


def test_sizes_keep_their_memory_and_few_are_kept(runner: CudaRunner, calls: list[str]) -> None:
    for _ in range(3):
        for side in range(8, 8 + KEPT):
            run(runner, side)
    assert "free" not in calls
    run(runner, 30)
    assert (calls.count("free"), calls.count("unpin")) == (2, 2)


def test_what_fails_gives_its_memory_back(
    runner: CudaRunner, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Engine, binding: Engine) -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(Engine, "run_with_iobinding", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        run(runner, 8)
    assert (calls.count("free"), calls.count("unpin")) == (2, 2)
    del calls[:]

    class Full(StandIn):
        def allocate(self, size: int) -> int:
            if self.rooms:
                raise OutOfMemory("the GPU ran out of memory")
            return super().allocate(size)

    full = CudaRunner(Engine(calls), ("in", "out"), lambda: Full(calls))  # type: ignore[arg-type, return-value]
    with pytest.raises(OutOfMemory):
        run(full, 8)
    assert (calls.count("free"), calls.count("unpin")) == (1, 2)


def test_threads_have_memory_of_their_own(runner: CudaRunner) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for side in (16, 8, 16):
                run(runner, side)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
