"""What a precision does to the weights of a float graph, and to nothing else."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model
from srdeploy.spec import Precision

Array = np.ndarray[Any, Any]

EPSILON: Mapping[Precision, float] = {"fp32": 2.0**-22, "fp16": 2.0**-11, "bf16": 2.0**-8, "int8": 2.0**-9}
"""How far a result of each precision may be off, relative to its size, for the rounding of its own type."""


def rounded_weights(model: Model, precision: Precision) -> Model:
    """A copy whose float weights hold what `precision` can: halves; 8 bits of one scale for each output channel; for
    fp32, one unit in the last place up and down by turns. Types stay."""
    onnx = require("onnx", "export")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            values = onnx.numpy_helper.to_array(tensor)
            rounded = _rounded(values.astype(np.float32), precision).astype(values.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
    return result


def _rounded(values: Array, precision: Precision) -> Array:
    if precision == "fp32":
        turns = np.where(np.arange(values.size) % 2, EPSILON["fp32"], -EPSILON["fp32"]).reshape(values.shape)
        return np.asarray(values * (1 + turns.astype(np.float32)))
    if precision == "int8":
        if values.ndim < 2:
            return values
        steps = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 127
        return np.asarray(np.rint(values / np.where(steps > 0, steps, 1)) * steps)
    if precision == "bf16":
        return (values.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)
    return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)


def scalars(model: Model) -> dict[str, float]:
    """The weights that are single numbers, by name."""
    onnx = require("onnx", "export")
    return {t.name: float(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer if not t.dims}


def half_loses(model: Model) -> dict[str, str]:
    """Names of the nodes whose weights half precision cannot hold, and why: too large, or too small for its bits."""
    onnx = require("onnx", "export")
    found: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = np.abs(onnx.numpy_helper.to_array(tensor).astype(np.float64))
        peak = float(values.max(initial=0.0))
        if not peak <= 65504:
            why = f"{tensor.name} reaches {peak:.3g}, and half precision ends at 65504"
        elif np.sum(np.square(values - values.astype(np.float16))) > (8 * EPSILON["fp16"]) ** 2 * np.sum(values**2):
            why = f"{tensor.name} stays below {peak:.1g}, where half precision has few bits"
        else:
            continue
        found |= {node.name: why for node in model.graph.node if tensor.name in node.input}
    return found
