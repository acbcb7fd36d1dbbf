"""Any graph as a function on the CPU."""

from pathlib import Path

import numpy as np
import pytest

from srdeploy.backends.ort_graph import open_graph, run_graph
from srdeploy.errors import ModelError

onnx = pytest.importorskip("onnx")


def two_outputs() -> bytes:
    make, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node("Neg", ["x"], ["minus"]), onnx.helper.make_node("Exp", ["x"], ["power"])]
    outputs = [make("minus", float32, ["n"]), make("power", float32, ["n"])]
    graph = onnx.helper.make_graph(nodes, "test", [make("x", float32, ["n"])], outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def test_results_come_by_name() -> None:
    x = np.float32([0, 1, 2])
    results = run_graph(two_outputs(), {"x": x}, threads=1)
    assert set(results) == {"minus", "power"}
    assert np.array_equal(results["minus"], -x)
    assert np.allclose(results["power"], np.exp(x))


def test_what_does_not_run_is_a_model_error() -> None:
    run = open_graph(two_outputs())
    with pytest.raises(ModelError, match="the graph failed"):
        run({"x": np.zeros((2, 2), np.float32)})
    with pytest.raises(ModelError, match="not a model"):
        open_graph(b"text")


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run_graph(two_outputs(), {"x": np.zeros(3, np.float32)})
    assert capfd.readouterr() == ("", "")
