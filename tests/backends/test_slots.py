"""The order of calls on a GPU, on a stand-in whose device memory is the host's: no GPU was at hand."""

import ctypes
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import ort_gpu, slots
from srdeploy.backends.onnxfile import read_spec
from srdeploy.backends.ort_gpu import GpuRunner, cuda_settings, tensorrt_settings
from srdeploy.backends.slots import AT_ONCE, CAPTURE_AT, KEPT
from srdeploy.backends.trt_build import BuildOptions
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

    def close(self) -> None:
        self.calls.append("close")

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
        self.threads: set[int] = set()

    def io_binding(self) -> "Engine":
        return Engine(self.calls)

    def bind_input(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
        assert (name, device, index) == ("in", "cuda", 0)
        self.source, self.size = address, int(np.prod(shape))

    def bind_output(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
        assert (name, device, index) == ("out", "cuda", 0)
        self.target = address

    def run_with_iobinding(self, binding: "Engine", options: dict[str, str] | None = None) -> None:
        self.calls.append("run" if options is None else f"graph {options['gpu_graph_id']}")
        self.threads.add(threading.get_ident())
        given = np.frombuffer((ctypes.c_uint8 * self.size_of(binding)).from_address(binding.source), np.uint8)
        np.frombuffer((ctypes.c_uint8 * given.size).from_address(binding.target), np.uint8)[...] = 2 * given

    @staticmethod
    def size_of(binding: "Engine") -> int:
        return binding.size


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def runner(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> GpuRunner:
    monkeypatch.setattr(ort_gpu, "Cuda", lambda index: StandIn(calls))
    return GpuRunner(Engine(calls), ("in", "out"), 0)


@pytest.fixture
def captured(runner: GpuRunner, calls: list[str]) -> GpuRunner:
    return GpuRunner(Engine(calls), ("in", "out"), 0, dict)


def run(runner: GpuRunner, side: int) -> None:
    given = np.random.default_rng(side).integers(0, 128, (1, side, side, 1), np.uint8)
    result = np.zeros_like(given)
    runner.run(given, result)
    assert np.array_equal(result, 2 * given)


def test_copies_are_waited_for(runner: GpuRunner, calls: list[str]) -> None:
    run(runner, 8)
    assert [call for call in calls if call != "enter"] == ["upload", "wait", "run", "download", "wait"]


def test_sizes_keep_their_memory_and_few_are_kept(runner: GpuRunner, calls: list[str]) -> None:
    for _ in range(3):
        for side in range(8, 8 + KEPT):
            run(runner, side)
    assert "free" not in calls
    run(runner, 30)
    assert (calls.count("free"), calls.count("unpin")) == (2, 2)


def test_what_fails_gives_its_memory_back(runner: GpuRunner, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Engine, binding: Engine, options: Any = None) -> None:
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

    monkeypatch.setattr(ort_gpu, "Cuda", lambda index: Full(calls))
    full = GpuRunner(Engine(calls), ("in", "out"), 0)
    with pytest.raises(OutOfMemory):
        run(full, 8)
    assert (calls.count("free"), calls.count("unpin")) == (2, 4)  # and tried again without what other sizes keep


def test_threads_have_memory_of_their_own(runner: GpuRunner) -> None:
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


def test_a_size_that_returns_becomes_a_graph(captured: GpuRunner, calls: list[str]) -> None:
    """ONNX Runtime captures and keeps graphs by number, in one thread alone; -1 is none."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for side in (8, 8, 8, 8, 12, 12):
                run(captured, side)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not failed
    runs = [call for call in calls if call.startswith("graph")]
    assert CAPTURE_AT == 3
    assert runs == ["graph -1"] * 2 + ["graph 1"] * 2 + ["graph -1"] * 2 + ["graph 1"] * 4 + ["graph 2"] * 2
    assert len(captured._session.threads) == 1


def test_nobody_else_computes_while_a_graph_is_captured(captured: GpuRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, alone, failed = set[int](), [0], list[int](), list[BaseException]()
    whole = captured._slots._work

    def work(slot: slots.Slot) -> None:
        inside.add(threading.get_ident())
        most[0] = max(most[0], len(inside))
        try:
            whole(slot)
        finally:
            inside.discard(threading.get_ident())

    compute = captured._compute

    def seen(slot: slots.Slot) -> None:
        if slot.runs == CAPTURE_AT:
            free = captured._slots._places.acquire(blocking=False)
            alone.append(not free)
            if free:
                captured._slots._places.release()
        compute(slot)

    monkeypatch.setattr(captured._slots, "_work", work)
    monkeypatch.setattr(captured, "_compute", seen)

    def many() -> None:
        try:
            for side in (8, 12, 8, 12, 8, 12, 8, 12):
                run(captured, side)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=many) for _ in range(2 * AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and not any(thread.is_alive() for thread in threads)
    assert alone and all(alone)
    assert slots.Slots._places._value == AT_ONCE, "every place was given back"


def test_what_cannot_be_captured_runs_without(
    captured: GpuRunner, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Engine.run_with_iobinding

    def refuse(self: Engine, binding: Engine, options: dict[str, str]) -> None:
        if options["gpu_graph_id"] != "-1":
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")
        whole(self, binding, options)

    monkeypatch.setattr(Engine, "run_with_iobinding", refuse)
    for _ in range(5):
        run(captured, 8)
    assert calls.count("graph -1") == 5
    assert "free" not in calls


def test_graphs_end_somewhere(captured: GpuRunner, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_gpu, "MOST_GRAPHS", 1)
    for side in (8, 8, 8, 12, 12, 12):
        run(captured, side)
    runs = [call for call in calls if call.startswith("graph")]
    assert runs == ["graph -1"] * 2 + ["graph 1"] + ["graph -1"] * 3


def test_options_are_the_providers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spelling, as it stands in the libraries of onnxruntime-gpu 1.31.1."""
    spec = replace(read_spec(zoo.find("espcn-x4")), precision="fp16")
    monkeypatch.setenv("SRDEPLOY_CACHE", "/cache")
    assert set(cuda_settings(1, graphs=True)) == {
        "device_id",
        "use_tf32",
        "cudnn_conv_algo_search",
        "enable_cuda_graph",
    }
    settings = tensorrt_settings(1, spec, BuildOptions())
    assert settings["trt_profile_max_shapes"] == "input:8x1080x1920x1"
    assert settings["trt_profile_min_shapes"] == "input:1x16x16x1"
    assert (settings["trt_fp16_enable"], settings["trt_int8_enable"], settings["device_id"]) == ("1", "0", "1")
    assert Path(settings["trt_engine_cache_path"]) == Path("/cache/ort")
    assert tensorrt_settings(0, replace(spec, precision="fp32"), BuildOptions())["trt_fp16_enable"] == "0"
