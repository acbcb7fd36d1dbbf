"""Half precision with every type said, and with casts only where they belong."""

from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import run_graph
from srdeploy.errors import ModelError
from srdeploy.graph.convert import fp16_from_onnx
from srdeploy.graph.files import check
from srdeploy.graph.pixels import wrap_pixels

onnx = pytest.importorskip("onnx")
FLOAT16 = 10


def types_of(model: Any) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}


def test_everything_between_the_borders_is_half(small: Any) -> None:
    half = fp16_from_onnx(small)
    check(half, "half")
    assert [node.op_type for node in half.graph.node] == ["Cast", "Conv", "Relu", "Conv", "DepthToSpace", "Cast"]
    types = types_of(half)
    assert types["input"] == types["output"] == onnx.TensorProto.FLOAT
    assert {types[name] for name in types if name not in ("input", "output")} == {FLOAT16}
    assert {tensor.data_type for tensor in half.graph.initializer} == {FLOAT16}
    check(wrap_pixels(half, quantize=False), "wrapped")


def test_the_source_is_left_alone(small: Any) -> None:
    before = small.SerializeToString()
    fp16_from_onnx(small)
    assert small.SerializeToString() == before


def test_close_to_the_source(small: Any) -> None:
    picture = np.random.default_rng(0).random((1, 1, 20, 20), dtype=np.float32)
    a = run_graph(small.SerializeToString(), {"input": picture})["output"]
    b = run_graph(fp16_from_onnx(small).SerializeToString(), {"input": picture})["output"]
    assert 0 < np.abs(a - b).max() < 2e-3


def test_nodes_can_stay_float(small: Any) -> None:
    half = fp16_from_onnx(small, keep={"Conv_2"})
    check(half, "half")
    assert [node.op_type for node in half.graph.node] == [
        *("Cast", "Conv", "Relu", "Cast", "Conv", "Cast", "DepthToSpace", "Cast")
    ]
    kept = next(node for node in half.graph.node if node.name == "Conv_2")
    weights = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert weights[kept.input[1]] == onnx.TensorProto.FLOAT


def test_scales_of_resize_stay_float(network: Any) -> None:
    half = fp16_from_onnx(
        network([("Resize", ["x", "", "s"], {"mode": "linear"})], {"s": np.array([1, 1, 2, 2], np.float32)})
    )
    check(half, "half")
    assert half.graph.initializer[0].data_type == onnx.TensorProto.FLOAT


def test_a_weight_that_does_not_fit(network: Any) -> None:
    model = network([("Conv", ["x", "w"], {})], {"w": np.full((1, 1, 1, 1), 7e4, np.float32)})
    with pytest.raises(ModelError, match="65504"):
        fp16_from_onnx(model)
