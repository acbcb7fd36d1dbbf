"""Small float networks, written node by node."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

Node = tuple[str, list[str], dict[str, Any]]


def _network(nodes: list[Node], weights: dict[str, Any], channels: int = 1) -> Any:
    """Nodes in a chain: each takes "x" (the result before it), "input", a weight, or an earlier "n<index>"."""
    protos, last = [], "input"
    for index, (op, inputs, attributes) in enumerate(nodes):
        output = "output" if index == len(nodes) - 1 else f"n{index}"
        inputs = [last if name == "x" else name for name in inputs]
        protos.append(onnx.helper.make_node(op, inputs, [output], name=f"{op}_{index}", **attributes))
        last = output
    make = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        protos,
        "test",
        [make("input", float32, ["batch", channels, "height", "width"])],
        [make("output", float32, ["batch", channels, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def network() -> Callable[..., Any]:
    return _network


@pytest.fixture
def small() -> Any:
    """3x3 convolution to 8 channels, ReLU, 3x3 to 4 channels, shuffled to twice the size; halo 2."""
    rng = np.random.default_rng(1)
    weights = {
        "w0": rng.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32),
        "b0": rng.normal(0, 0.1, 8).astype(np.float32),
        "w1": rng.normal(0, 0.2, (4, 8, 3, 3)).astype(np.float32),
        "b1": np.full(4, 0.4, np.float32),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes: list[Node] = [
        ("Conv", ["x", "w0", "b0"], pads),
        ("Relu", ["x"], {}),
        ("Conv", ["x", "w1", "b1"], pads),
        ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"}),
    ]
    return _network(nodes, weights)
