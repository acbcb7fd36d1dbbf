"""A stamped file of a tiny network, made by hand: these tests need onnx, what they test does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.graph.convert import fp16_from_onnx
from srdeploy.graph.facts import facts_of
from srdeploy.graph.files import stamp_and_save
from srdeploy.graph.pixels import wrap_pixels
from srdeploy.spec import ModelSpec, PixelKind, Precision

onnx = pytest.importorskip("onnx")


def _float_network(channels: int, scale: int = 2, seed: int = 0) -> Any:
    """5x5 to 6 channels, ReLU, 3x3, shuffle: halo 3."""
    rng = np.random.default_rng(seed)
    weights = {
        "w0": rng.normal(0, 0.3, (6, channels, 5, 5)).astype(np.float32),
        "w1": rng.normal(0, 0.2, (channels * scale**2, 6, 3, 3)).astype(np.float32),
    }
    node, make, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["input", "w0"], ["a"], name="first", pads=[2] * 4),
            node("Relu", ["a"], ["b"], name="relu"),
            node("Conv", ["b", "w1"], ["c"], name="last", pads=[1] * 4),
            node("DepthToSpace", ["c"], ["output"], name="shuffle", blocksize=scale, mode="CRD"),
        ],
        "test",
        [make("input", float32, ["batch", channels, "height", "width"])],
        [make("output", float32, ["batch", channels, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[..., Path]:
    """model_file(channels=1, pixels="uint8", precision="fp32", stamped=True) -> the path of a new file."""

    def make(
        channels: int = 1, pixels: PixelKind = "uint8", precision: Precision = "fp32", stamped: bool = True
    ) -> Path:
        model = _float_network(channels)
        facts = facts_of(model)
        spec = ModelSpec(
            "tiny-x2", facts.scale, channels, facts.halo, facts.multiple, precision, pixels,
            facts.parameters, facts.activation_bytes, "0" * 64,
        )  # fmt: skip
        graph = fp16_from_onnx(model) if precision == "fp16" else model
        graph = wrap_pixels(graph, quantize=precision == "fp32") if pixels == "uint8" else graph
        path = tmp_path / f"tiny-{channels}-{precision}-{pixels}.onnx"
        if stamped:
            stamp_and_save(graph, spec, path)
        else:
            path.write_bytes(graph.SerializeToString())
        return path

    return make
