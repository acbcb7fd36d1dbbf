"""The embedded products, the energy counters, the work that is counted, and samples taken in turns."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends.ort_graph import run_graph
from srdeploy.bench import machine, sampling
from srdeploy.bench.machine import CONVOLUTIONS, MATMUL, MATMUL_INT8, Energy, timed
from srdeploy.bench.sampling import take
from srdeploy.bench.subjects import Subject, still
from srdeploy.bench.suite import Row
from srdeploy.environment import environment
from srdeploy.graph.files import load_model
from srdeploy.graph.work import work_of


def test_the_embedded_products_are_what_onnx_makes() -> None:
    onnx = pytest.importorskip("onnx")
    kinds = onnx.TensorProto
    for data, op, types in (
        (MATMUL, "MatMul", (kinds.FLOAT, kinds.FLOAT, kinds.FLOAT)),
        (MATMUL_INT8, "MatMulInteger", (kinds.UINT8, kinds.INT8, kinds.INT32)),
    ):
        shapes = (["m", "k"], ["k", "n"], ["m", "n"])
        values = [onnx.helper.make_tensor_value_info(*v) for v in zip("abc", types, shapes, strict=True)]
        graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["a", "b"], ["c"])], "matmul", values[:2], values[2:])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
        assert model.SerializeToString(deterministic=True) == data
    a = np.arange(6, dtype=np.uint8).reshape(2, 3)
    b = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    assert (run_graph(MATMUL_INT8, {"a": a, "b": b})["c"] == a.astype(np.int32) @ b).all()


def test_the_embedded_reference_is_what_onnx_makes() -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.numpy_helper.from_array(np.array([0.01], np.float32))
    nodes = [onnx.helper.make_node("ConstantOfShape", ["shape"], ["w"], value=value)]
    nodes += [onnx.helper.make_node("Conv", [a, "w"], [b], pads=[1] * 4) for a, b in ("xa", "ab", "by")]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32, 96, 96]) for name in "xy"]
    shape = onnx.numpy_helper.from_array(np.array([32, 32, 3, 3]), "shape")
    graph = onnx.helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], [shape])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    assert model.SerializeToString(deterministic=True) == CONVOLUTIONS


def test_energy_is_read_where_linux_tells(tmp_path: Path) -> None:
    assert Energy(folder=tmp_path).why_not is not None
    for name, value in {"intel-rapl:0": 5_000_000, "intel-rapl:1": 1_000_000, "intel-rapl:0:0": 7}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    meter = Energy(folder=tmp_path)
    before = meter()
    assert meter.why_not is None and before == [5.0, 1.0], "a package, not its parts"
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("6500000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("500000\n")  # it began again after 10 J
    assert meter.spent(before, meter()) == pytest.approx(1.5 + 9.5)


def test_time_is_told_apart_from_processor_time() -> None:
    result, clock, processor = timed(lambda: time.sleep(0.2) or "slept")
    assert result == "slept" and clock >= 199 and processor < clock


def test_work_is_counted_as_by_hand(foreign_rgb: Callable[[int, int, float], object]) -> None:
    pytest.importorskip("onnx")
    work = work_of(foreign_rgb(18, 8, 0.1), 20, 30)
    assert work.multiply_adds == 20 * 30 * 12 * 3 * 9
    assert work.layer_values == 20 * 30 * (3 + 12)
    # 5x5x64, 3x3x32, 3x3x16: the same in the float file and the wrapped one; int8 has channels more, as lanes or parts
    for path in sorted(zoo.MODELS.glob("espcn-x4.fp*.onnx")):
        assert work_of(load_model(path), 27, 48).multiply_adds == 27 * 48 * (25 * 64 + 9 * 64 * 32 + 9 * 32 * 16), path


def test_a_still_fills_any_size() -> None:
    pixels = still(700, 3, 1, 2)
    assert pixels.shape == (2, 700, 3, 1) and pixels.dtype == np.uint8
    assert still(50, 90, 3).std() > 0


def test_the_environment_is_told_without_names() -> None:
    found = environment()
    assert found["libraries"]["numpy"] == np.__version__
    assert {"cpu", "cpu_flags", "governor", "memory_mb", "thread_variables", "system", "python"} <= set(found)


class _Clock:
    """Time that passes as work is done: subjects of known duration, without waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def subject(self, name: str, seconds: float, spread: float = 0.0) -> Subject:
        rng = np.random.default_rng(0)

        def run(on_first: Callable[[], None]) -> int:
            self.now += seconds * (1 + spread * rng.standard_normal())
            self.order.append(name)
            return 1

        return Subject(Row("network", "ort", name), {"threads": 1, "device": "cpu"}, run)

    def timed(self, work: Callable[[], object]) -> tuple[object, float, float]:
        before = self.now
        result = work()
        return result, (self.now - before) * 1e3, (self.now - before) * 1e3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(sampling, "timed", clock.timed)
    monkeypatch.setattr(sampling.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(sampling.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(machine, "timed", lambda work: (None, 1.0, 1.0))
    return clock


def test_rows_take_turns_until_they_are_narrow(clock: _Clock) -> None:
    subjects = [clock.subject("slow", 0.5, 0.001), clock.subject("quick", 0.05, 0.001)]
    slow, quick = take(subjects, deadline=1000, narrow=0.02)
    assert clock.now < 60, "both are narrow long before the limit"
    assert slow.visits == [1] * sampling.LEAST_VISITS and len(quick.visits) == len(slow.visits)
    assert set(quick.visits) <= {4, 5} and len(quick.samples_ms) == sum(quick.visits)
    turns = [name for name, before in zip(clock.order, ["", *clock.order], strict=False) if name != before]
    assert turns == ["slow", "quick"] * sampling.LEAST_VISITS
    assert np.median(slow.samples_ms) == pytest.approx(500, rel=0.01)


def test_a_slow_row_does_not_starve_the_others(clock: _Clock) -> None:
    slow, quick = take([clock.subject("slow", 8.0, 0.5), clock.subject("quick", 0.05)], deadline=200, narrow=0.02)
    assert 10 <= len(slow.visits) <= 25
    assert len(quick.visits) > 100


def test_noise_is_measured_until_the_limit(clock: _Clock) -> None:
    (noisy,) = take([clock.subject("noisy", 0.05, 0.5)], deadline=20, narrow=0.001)
    assert 20 <= clock.now < 21
    assert not noisy.is_narrow(0.001)


def test_the_limit_leaves_every_row_one_visit(clock: _Clock) -> None:
    found = take([clock.subject("a", 2.0), clock.subject("b", 2.0)], deadline=1, narrow=0.02)
    assert [s.visits for s in found] == [[1], [1]]
