"""uint8 in and out gives what NumPy gives around the float network."""

from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import run_graph
from srdeploy.errors import ModelError
from srdeploy.graph.files import check
from srdeploy.graph.pixels import rename_border, wrap_pixels

onnx = pytest.importorskip("onnx")


def rgb_network(network: Any) -> Any:
    rng = np.random.default_rng(5)
    weights = {"w": rng.normal(0, 0.35, (12, 3, 3, 3)).astype(np.float32), "b": rng.random(12).astype(np.float32)}
    pads = {"pads": [1] * 4}
    return network(
        [("Conv", ["x", "w", "b"], pads), ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"})], weights, 3
    )


@pytest.mark.parametrize("quantize", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_wrapped_is_scaled_clipped_and_rounded(channels: int, quantize: bool, small: Any, network: Any) -> None:
    model = small if channels == 1 else rgb_network(network)
    wrapped = wrap_pixels(model, quantize)
    check(wrapped, "wrapped")
    pixels = np.random.default_rng(2).integers(0, 256, (2, 21, 34, channels), np.uint8)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    floats = run_graph(model.SerializeToString(), {"input": planes})["output"].transpose(0, 2, 3, 1)
    expected = np.rint(np.clip(floats * np.float32(255), 0, 255)).astype(np.uint8)
    assert floats.min() < 0 and floats.max() > 1  # so that clipping is seen
    result = run_graph(wrapped.SerializeToString(), {"input": pixels})["output"]
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("quantize", [True, False])
def test_halves_are_rounded_to_even(quantize: bool, network: Any) -> None:
    model = network([("Mul", ["x", "half"], {})], {"half": np.float32(0.5)})
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    result = run_graph(wrap_pixels(model, quantize).SerializeToString(), {"input": pixels})["output"]
    exact = pixels.astype(np.float32) / np.float32(255) * np.float32(0.5) * np.float32(255)
    assert np.array_equal(result, np.rint(exact).astype(np.uint8))
    assert result.reshape(-1)[[1, 5, 9]].tolist() == [0, 2, 4]  # 0.5, 2.5, 4.5


def test_for_engines_only_the_borders_are_uint8(small: Any) -> None:
    model = onnx.shape_inference.infer_shapes(wrap_pixels(small, quantize=False), strict_mode=True)
    uint8 = onnx.TensorProto.UINT8
    assert not [v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == uint8]
    assert (model.graph.node[0].op_type, model.graph.node[-1].op_type) == ("Cast", "Cast")


def test_sizes_are_free_and_named(small: Any) -> None:
    model = wrap_pixels(small)
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", "height", "width", 1]


def test_names_of_the_network_do_not_clash(small: Any) -> None:
    renames = {"n0": "output_inner", "n1": "levels", "n2": "peak", "w0": "one", "input": "planes", "output": "zero"}
    for node in small.graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    for value in (*small.graph.input, *small.graph.output, *small.graph.initializer):
        value.name = renames.get(value.name, value.name)
    check(wrap_pixels(small), "wrapped")
    check(rename_border(small), "renamed")


def test_other_networks_are_not_wrapped(small: Any) -> None:
    with pytest.raises(ModelError, match="float"):
        wrap_pixels(wrap_pixels(small))
