"""Int8 graphs: integers from border to border, and nothing between a convolution and its Relu."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import ort_devices, ort_graph
from srdeploy.graph.equalize import equalized
from srdeploy.graph.files import check, load_model
from srdeploy.graph.int8 import convolutions, int8_from_onnx, with_activations
from srdeploy.graph.lanes import INPUTS, OUTPUTS, in_lanes
from srdeploy.graph.pixels import wrap_pixels

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def network() -> Any:
    return load_model(zoo.find("fast-x2", None, "fp32", "float"))


def _ranges(network: Any) -> dict[str, tuple[float, float]]:
    model, names = with_activations(network)
    planes = np.random.default_rng(3).random((1, 1, 24, 32), np.float32)
    found = ort_graph.run_graph(model.SerializeToString(), {"input": planes})
    return {name: (float(found[name].min()), float(found[name].max())) for name in names}


def _optimized(model: Any, path: Path) -> list[str]:
    """Operators of the graph that ONNX Runtime really runs."""
    runtime = ort_devices.onnxruntime()
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def test_every_convolution_runs_in_integers(network: Any, tmp_path: Path) -> None:
    model = int8_from_onnx(network, _ranges(network))
    check(model, "int8")
    found = _optimized(model, tmp_path / "optimized.onnx")
    assert found.count("QLinearConv") == len(convolutions(network)) == 10
    assert not set(found) & {"Conv", "Relu", "Cast", "QuantizeLinear", "DequantizeLinear"}


def test_the_borders_are_bytes_on_the_grid_of_pixels(network: Any) -> None:
    model = int8_from_onnx(network, _ranges(network))
    assert not {node.op_type for node in model.graph.node} & {"Cast", "Mul", "Div", "Clip", "Round"}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    first = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == "planes")
    last = [n for n in model.graph.node if n.op_type == "QuantizeLinear"][-1]
    for node in (first, last):
        scale, zero = (values[name] for name in node.input[1:])
        assert scale == np.float32(1 / 255) and zero == 0 and zero.dtype == np.uint8


def test_layers_can_stay_float(network: Any, tmp_path: Path) -> None:
    names = convolutions(network)
    model = int8_from_onnx(network, _ranges(network), keep=(names[0], names[-1]))
    found = _optimized(model, tmp_path / "optimized.onnx")
    assert found.count("QLinearConv") == 8 and found.count("Conv") + found.count("FusedConv") == 2


def test_what_is_added_to_a_float_picture_is_added_to_it_unrounded() -> None:
    """SRCNN adds what it found to the enlarged picture: with the enlarging layer in float, not to its 8 bits."""
    network = load_model(zoo.find("srcnn-x2", None, "fp32", "float"))
    enlarging = convolutions(network)[0]
    losses = []
    planes = np.random.default_rng(5).integers(0, 256, (1, 20, 24, 1), np.uint8)
    exact = ort_graph.run_graph(wrap_pixels(network).SerializeToString(), {"input": planes})["output"].astype(int)
    for keep in ((), (enlarging,)):
        model = int8_from_onnx(network, _ranges(network), keep)
        check(model, "int8")
        made_by = {name: node.op_type for node in model.graph.node for name in node.output}
        (add,) = [node for node in model.graph.node if node.op_type == "Add"]
        assert [made_by[name] for name in add.input] == [
            "DepthToSpace" if keep else "DequantizeLinear",
            "DequantizeLinear",
        ]
        found = ort_graph.run_graph(model.SerializeToString(), {"input": planes})["output"].astype(int)
        losses.append(float(np.mean(np.square(found - exact))))
    assert losses[1] < 0.7 * losses[0]


def test_an_equalized_network_computes_the_same(network: Any) -> None:
    model, names = with_activations(network)
    planes = np.random.default_rng(4).random((1, 1, 20, 28), np.float32)
    found = ort_graph.run_graph(model.SerializeToString(), {"input": planes})
    peaks = {name: np.abs(found[name]).max(axis=(0, 2, 3)) for name in names}
    same = equalized(network, peaks)
    again = ort_graph.run_graph(with_activations(same)[0].SerializeToString(), {"input": planes})
    np.testing.assert_allclose(again["output"], found["output"], atol=1e-5)
    hidden = next(name for name in names if name != "output")
    reached = np.abs(again[hidden]).max(axis=(0, 2, 3))
    assert reached[reached > 0].min() > peaks[hidden][peaks[hidden] > 0].min()


def test_it_enlarges_colour_too_and_any_size(foreign_rgb: Callable[[int, int, float], Any]) -> None:
    network = foreign_rgb(18, 8, 0.05)
    pixels = np.random.default_rng(1).integers(0, 90, (2, 9, 7, 3), np.uint8)
    (exact,) = ort_graph.run_graph(wrap_pixels(network).SerializeToString(), {"input": pixels}).values()
    (found,) = ort_graph.run_graph(int8_from_onnx(network, {}).SerializeToString(), {"input": pixels}).values()
    assert found.shape == (2, 18, 14, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - exact).max() <= 2


@pytest.mark.parametrize("name", ["espcn-x2", "srcnn-rgb-x4"])
def test_lanes_change_no_byte_and_suit_the_fast_kernels(name: str, tmp_path: Path) -> None:
    network = load_model(zoo.find(name, None, "fp32", "float"))
    plain = int8_from_onnx(network, dict.fromkeys(with_activations(network)[1], (0.0, 2.0)))
    laned = in_lanes(plain)
    check(laned, name)
    channels = plain.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    pixels = np.random.default_rng(2).integers(0, 256, (2, 11, 14, channels), np.uint8)
    results = [ort_graph.run_graph(model.SerializeToString(), {"input": pixels})["output"] for model in (plain, laned)]
    np.testing.assert_array_equal(results[1], results[0])
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in laned.graph.initializer}
    assert _optimized(laned, tmp_path / "optimized.onnx").count("QLinearConv") == len(convolutions(network))
    kernels = [w for w in tensors.values() if w.ndim == 4 and w.dtype == np.int8 and w.shape[1] > 1]
    assert len(kernels) == 3 and all(w.shape[0] >= OUTPUTS and w.shape[1] % INPUTS == 0 for w in kernels)
