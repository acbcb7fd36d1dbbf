"""How much arithmetic and memory traffic a network asks for, counted from its graph."""

from dataclasses import dataclass
from math import prod
from typing import Any

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.files import Model, border, shape_of

_COUNTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True)
class Work:
    """For one picture. multiply_adds: of convolutions and matrix products, bicubic ones included; all else is small.

    layer_values: numbers that these read and write, weights left out: what must go through memory when nothing but
    pointwise operators is fused into them.
    """

    multiply_adds: int
    layer_values: int


def work_of(model: Model, height: int, width: int, path: str = "the network") -> Work:
    """Count the work for one (height, width) picture, for float, wrapped (uint8 in and out) and int8 graphs alike.

    Raises ModelError when shapes cannot be worked out, MissingExtra without onnx.
    """
    shapes = _shapes(model, height, width, path)
    multiply_adds = values = 0
    for node in model.graph.node:
        if node.op_type not in _COUNTED:
            continue
        given, made = (shapes.get(name) for name in (node.input[0], node.output[0]))
        weights = shapes.get(node.input[1])
        if not given or not made or not weights:
            raise ModelError(f"the work of {path} cannot be counted: {node.op_type} {node.name} is of unknown shape")
        multiply_adds += _multiply_adds(node, given, weights, made)
        values += prod(given) + prod(made)
    return Work(multiply_adds, values)


def _multiply_adds(node: Any, given: tuple[int, ...], weights: tuple[int, ...], made: tuple[int, ...]) -> int:
    if node.op_type == "Conv":  # weights (out, in / group, kh, kw): each output sample sums so many products
        return prod(made) * prod(weights[1:])
    if node.op_type == "ConvTranspose":  # weights (in, out / group, kh, kw): each input sample goes to so many
        return prod(given) * prod(weights[1:])
    return prod(made) * given[-1]


def _shapes(model: Model, height: int, width: int, path: str) -> dict[str, tuple[int, ...]]:
    onnx = require("onnx", "export")
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    value, output = border(trial, path)
    last = value.type.tensor_type.elem_type == onnx.TensorProto.UINT8  # wrapped files are NHWC
    known = shape_of(value)
    channels = known[3 if last else 1] or 1
    sides = (1, height, width, channels) if last else (1, channels, height, width)
    for dim, side in zip(value.type.tensor_type.shape.dim, sides, strict=True):
        dim.dim_value = side
    output.type.tensor_type.ClearField("shape")
    del trial.graph.value_info[:]  # what was inferred for free sizes would stay free
    graph = onnx.shape_inference.infer_shapes(trial, data_prop=True).graph
    shapes = {v.name: shape_of(v) for v in (*graph.value_info, *graph.input, *graph.output)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return {name: tuple(int(side) for side in shape if side) for name, shape in shapes.items() if None not in shape}
