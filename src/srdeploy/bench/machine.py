"""The machine's own measures: a reference workload beside each sample, its peaks, and the energy that it tells of."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from srdeploy.backends.nvml import energy_joules
from srdeploy.backends.ort_graph import Runner, open_graph
from srdeploy.errors import SrdeployError

if sys.platform != "win32":
    import resource

T = TypeVar("T")

MATMUL = (
    b'\x08\x08:`\n\x11\n\x01a\n\x01b\x12\x01c"\x06MatMul\x12\x06matmulZ\x15\n\x01a\x12\x10\n\x0e\x08\x01\x12\n'
    b"\n\x03\x12\x01m\n\x03\x12\x01kZ\x15\n\x01b\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01k\n\x03\x12\x01nb\x15\n\x01c"
    b"\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01m\n\x03\x12\x01nB\x04\n\x00\x10\x12"
)
"""An ONNX file, c = a b in float32: 106 bytes, so that the onnx library is not needed. A test makes it again."""

MATMUL_INT8 = (
    b'\x08\x08:g\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x06matmulZ\x15\n\x01a\x12\x10\n\x0e\x08\x02'
    b"\x12\n\n\x03\x12\x01m\n\x03\x12\x01kZ\x15\n\x01b\x12\x10\n\x0e\x08\x03\x12\n\n\x03\x12\x01k\n\x03\x12\x01nb\x15\n"
    b"\x01c\x12\x10\n\x0e\x08\x06\x12\n\n\x03\x12\x01m\n\x03\x12\x01nB\x04\n\x00\x10\x12"
)
"""The same of uint8 by int8 into int32."""

CONVOLUTIONS = (
    b'\x08\x08:\x98\x02\n3\n\x05shape\x12\x01w"\x0fConstantOfShape*\x16\n\x05value*\n\x08\x01\x10\x01J\x04\n\xd7#<'
    b'\xa0\x01\x04\n"\n\x01x\n\x01w\x12\x01a"\x04Conv*\x11\n\x04pads@\x01@\x01@\x01@\x01\xa0\x01\x07\n"\n\x01a\n'
    b'\x01w\x12\x01b"\x04Conv*\x11\n\x04pads@\x01@\x01@\x01@\x01\xa0\x01\x07\n"\n\x01b\n\x01w\x12\x01y"\x04Conv*'
    b"\x11\n\x04pads@\x01@\x01@\x01@\x01\xa0\x01\x07\x12\x0cconvolutions*-\x08\x04\x10\x07B\x05shapeJ  \x00\x00\x00"
    b"\x00\x00\x00\x00 \x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"
    b"Z\x1b\n\x01x\x12\x16\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08 \n\x02\x08`\n\x02\x08`b\x1b\n\x01y\x12\x16"
    b"\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08 \n\x02\x08`\n\x02\x08`B\x04\n\x00\x10\x12"
)
"""An ONNX file of three 3x3 convolutions of 32 channels at 96x96 in float32: 291 bytes, also made again by a test."""

REFERENCE = "three 3x3 convolutions of 32 channels at 96x96, fp32, ONNX Runtime"
"""What Reference runs, as a report says it: times beside another reference are not compared with these."""

_PEAK_SIDE, _REPEATS = 1024, 3
_PEAK_SECONDS = 0.4
_COPY_BYTES = 64 << 20

RAPL = Path("/sys/class/powercap")
"""Where Linux tells what Intel's and AMD's processors have spent (running average power limit)."""


class Reference:
    """A fixed piece of work, run before and after each visit: what changes its time is the machine, not the program.

    Three convolutions in ONNX Runtime, with as many threads as the row has, waiting as they wait. A matrix product
    sways more than networks do when a neighbour takes caches and clock: normalised by it, the medians of 24 runs on a
    shared host scattered by 7 to 9 %, by convolutions by 4 to 6 %.
    """

    def __init__(self, threads: int) -> None:
        self._run = open_graph(CONVOLUTIONS, threads)
        self._feeds = {"x": np.random.default_rng(0).random((1, 32, 96, 96), dtype=np.float32)}
        self()

    def __call__(self) -> list[tuple[float, float]]:
        """Milliseconds of each of a few runs: on the clock, and of processor time over all threads."""
        return [timed(lambda: self._run(self._feeds))[1:] for _ in range(_REPEATS)]


def peaks(threads: int) -> dict[str, Any]:
    """The most that this machine was seen to do with so many threads: {"fp32_gflops", "int8_gops", "copy_gb_per_s"}.

    Two operations for each multiply-add of a 1024 x 1024 matrix product in ONNX Runtime; bytes read and written by a
    copy of 64 MiB. The best of many, since a peak is what is possible. None where it cannot be measured.
    """
    found: dict[str, Any] = {"threads": threads}
    for key, precision, model in (("fp32_gflops", "fp32", MATMUL), ("int8_gops", "int8", MATMUL_INT8)):
        try:
            best = _best(_product(open_graph(model, threads), precision))
            found[key] = round(2 * _PEAK_SIDE**3 / best / 1e6, 1)
        except SrdeployError:  # an engine without that product
            found[key] = None
    found["copy_gb_per_s"] = round(2 * _COPY_BYTES / _best(_copy(threads)) / 1e6, 2)
    return found


def best_peaks(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The greater of two measurements, value by value."""
    return {key: None if a[key] is None or b[key] is None else max(a[key], b[key]) for key in a}


class Energy:
    """Joules that the processor packages (and for CUDA rows the first GPU) spent; why_not says why there are none."""

    def __init__(self, device: str = "cpu", folder: Path = RAPL) -> None:
        self._domains = [path for path in sorted(folder.glob("*-rapl:*")) if path.name.count(":") == 1]
        self._domains = [path for path in self._domains if _number(path / "energy_uj") is not None]
        self._gpu = device.startswith("cuda") and energy_joules() is not None
        self.why_not = None
        if not self._domains and not self._gpu:
            self.why_not = "this machine does not tell (no readable RAPL counter, no NVML)"

    def __call__(self) -> list[float]:
        """The counters now: one for each package in joules, and the GPU's."""
        packages = [(_number(path / "energy_uj") or 0) / 1e6 for path in self._domains]
        return packages + ([energy_joules() or 0.0] if self._gpu else [])

    def spent(self, before: list[float], after: list[float]) -> float:
        """Joules between two calls; a counter that began again meanwhile is followed."""
        total = 0.0
        for index, (a, b) in enumerate(zip(before, after, strict=True)):
            wrap = 0.0
            if b < a and index < len(self._domains):
                wrap = (_number(self._domains[index] / "max_energy_range_uj") or 0) / 1e6
            total += b - a + wrap
        return total


def _factors(precision: str) -> dict[str, Any]:
    rng, side = np.random.default_rng(0), _PEAK_SIDE
    if precision == "int8":
        a, b = rng.integers(0, 255, (side, side), np.uint8), rng.integers(-127, 127, (side, side), np.int8)
        return {"a": a, "b": b}
    return {name: rng.random((side, side), dtype=np.float32) for name in ("a", "b")}


def _product(run: Runner, precision: str) -> Callable[[], object]:
    feeds = _factors(precision)
    return lambda: run(feeds)


def _copy(threads: int) -> Callable[[], object]:
    source, target = np.ones(_COPY_BYTES, np.uint8), np.empty(_COPY_BYTES, np.uint8)
    parts = [slice(_COPY_BYTES * i // threads, _COPY_BYTES * (i + 1) // threads) for i in range(threads)]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))


def _best(work: Callable[[], object]) -> float:
    """The least milliseconds of runs over _PEAK_SECONDS, two at least."""
    work()
    times: list[float] = []
    end = time.perf_counter() + _PEAK_SECONDS
    while len(times) < 2 or time.perf_counter() < end:
        times.append(timed(work)[1])
    return min(times)


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Run `work` and return its result and its milliseconds: on the clock, and of processor time over all threads and
    over programs that it started and saw end."""
    cpu, clock = _processor_seconds(), time.perf_counter_ns()
    result = work()
    return result, (time.perf_counter_ns() - clock) / 1e6, (_processor_seconds() - cpu) * 1e3


def _processor_seconds() -> float:
    if sys.platform == "win32":
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
