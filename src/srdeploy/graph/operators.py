"""What each ONNX operator does to the two sides of a picture: one visible table, and a reason for all others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.windows import SAME, Gather, Sample, Scatter, Window

Constants = Mapping[str, np.ndarray[Any, Any]]
Windows = tuple[Window, Window]
Axes = tuple[int, int]
"""Where height and width stand in a tensor's shape, counted from its end: (-2, -1) in NCHW, (-3, -2) in NHWC."""

NCHW: Axes = (-2, -1)


class NotTileable(Exception):
    """A result depends on the whole picture, or it is not known on what; the text says why."""


@dataclass(frozen=True)
class Node:
    """One node as the handlers see it. axes: where the sides stand in its (first) picture; rank: of that picture."""

    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constants: Constants
    axes: Axes
    rank: int

    def constant(self, position: int, attribute: str = "") -> list[Any] | None:
        """A constant input as a flat list (or the attribute that held it in older opsets); None when absent."""
        if len(self.inputs) > position and self.inputs[position]:
            value = self.constants.get(self.inputs[position])
            if value is None:
                raise NotTileable(f"{self.op} with a computed argument")
            return list(value.reshape(-1).tolist())
        held = self.attributes.get(attribute)
        return None if held is None else list(held) if isinstance(held, (list, tuple)) else [held]


def node_of(proto: Any, constants: Constants, axes: Axes, rank: int) -> Node:
    """The view of an onnx.NodeProto; text attributes come as str."""
    helper = require("onnx", "export").helper
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
    return Node(proto.op_type, tuple(proto.input), attributes, constants, axes, rank)


def windows(node: Node) -> Windows:
    """What `node` reads along height and width; NotTileable with the reason when that is not a fixed window."""
    if node.op in POINTWISE:
        return SAME, SAME
    handler = HANDLERS.get(node.op)
    if handler is None:
        raise NotTileable(f"{node.op} reads the whole picture, or it is not known what it reads")
    return handler(node)


def axes_after(node: Node) -> Axes:
    """Where the sides stand in the node's output."""
    if node.op != "Transpose":
        return node.axes
    order = node.attributes.get("perm") or list(range(node.rank))[::-1]
    moved = [order.index(node.rank + axis) - node.rank for axis in node.axes]
    return moved[0], moved[1]


def _planes_only(node: Node) -> None:
    if node.axes != NCHW or node.rank != 4:
        raise NotTileable(f"{node.op} over sides that were moved")


def _kernel(node: Node) -> tuple[int, ...]:
    kernel = node.attributes.get("kernel_shape")
    if kernel is None and len(node.inputs) > 1 and node.inputs[1] in node.constants:
        kernel = node.constants[node.inputs[1]].shape[2:]
    if kernel is None:
        raise NotTileable(f"{node.op} with a computed kernel")
    return tuple(kernel)


def _convolution(node: Node) -> Windows:
    _planes_only(node)
    kernel = _kernel(node)
    strides, dilations = node.attributes.get("strides", [1, 1]), node.attributes.get("dilations", [1, 1])
    pads = node.attributes.get("pads", [0, 0, 0, 0])
    auto = node.attributes.get("auto_pad", "NOTSET")
    sides = []
    for i in (0, 1):
        begin, end = pads[i], pads[i + 2]
        if auto.startswith("SAME"):
            total = max((kernel[i] - 1) * dilations[i] + 1 - strides[i], 0)
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end = total - begin
        round_up = bool(node.attributes.get("ceil_mode", 0))
        sides.append(Gather(kernel[i], strides[i], dilations[i], begin, end, round_up))
    return sides[0], sides[1]


def _transposed(node: Node) -> Windows:
    _planes_only(node)
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attributes:
        raise NotTileable("ConvTranspose to a given shape")
    kernel = _kernel(node)
    strides, dilations = node.attributes.get("strides", [1, 1]), node.attributes.get("dilations", [1, 1])
    pads, more = node.attributes.get("pads", [0, 0, 0, 0]), node.attributes.get("output_padding", [0, 0])
    sides = [Scatter(kernel[i], strides[i], dilations[i], pads[i], pads[i + 2] - more[i]) for i in (0, 1)]
    return sides[0], sides[1]


def _depth_to_space(node: Node) -> Windows:
    _planes_only(node)
    block = node.attributes["blocksize"]
    return Scatter(block, block), Scatter(block, block)


def _space_to_depth(node: Node) -> Windows:
    _planes_only(node)
    block = node.attributes["blocksize"]
    return Gather(block, block), Gather(block, block)


def _pad(node: Node) -> Windows:
    if node.attributes.get("mode", "constant") == "wrap":
        raise NotTileable("Pad that wraps around")
    pads = node.constant(1, "pads") or []
    axes = node.constant(3) or list(range(len(pads) // 2))
    begin = {axis % node.rank - node.rank: pads[i] for i, axis in enumerate(axes)}
    end = {axis % node.rank - node.rank: pads[i + len(axes)] for i, axis in enumerate(axes)}
    height, width = (Gather(begin=begin.get(axis, 0), end=end.get(axis, 0)) for axis in node.axes)
    return height, width


def _slice(node: Node) -> Windows:
    starts, ends = node.constant(1, "starts") or [], node.constant(2, "ends") or []
    axes = node.constant(3, "axes") or list(range(len(starts)))
    steps = node.constant(4) or [1] * len(starts)
    cut = {axis % node.rank - node.rank: (starts[i], ends[i], steps[i]) for i, axis in enumerate(axes)}
    sides = []
    for axis in node.axes:
        start, end, step = cut.get(axis, (0, 1 << 62, 1))
        if start < 0 or step < 1 or 0 <= end < 1 << 31:
            raise NotTileable("Slice counted from the far end of the picture, or of a fixed size")
        sides.append(Gather(stride=step, begin=-start, end=min(end, 0)))
    return sides[0], sides[1]


def _resize(node: Node) -> Windows:
    if node.attributes.get("axes") or node.constant(2) is None:
        raise NotTileable("Resize to a computed size")
    mode = node.attributes.get("mode", "nearest")
    place = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if place not in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric"):
        raise NotTileable(f"Resize with {place}, whose phase depends on the picture's size")
    scales = node.constant(2) or []
    nearest = node.attributes.get("nearest_mode", "round_prefer_floor")
    sides = []
    for axis in node.axes:
        scale = Fraction(scales[axis]).limit_denominator(64)
        if abs(float(scale) - scales[axis]) > 1e-6:
            raise NotTileable(f"Resize by {scales[axis]:g}")
        support = {"nearest": 0, "linear": 1, "cubic": 2}[mode]
        sides.append(Sample(scale, support, place == "asymmetric", nearest, bool(node.attributes.get("antialias", 0))))
    return sides[0], sides[1]


def _along_channels(node: Node) -> Windows:
    """Concat, Split, Softmax, Gather, reductions: fixed windows as long as they leave height and width alone."""
    axes = [
        node.attributes.get("axis", {"Concat": 1, "Split": 0, "Gather": 0, "LayerNormalization": -1}.get(node.op, -1))
    ]
    if node.op.startswith("Reduce"):
        axes = node.constant(1, "axes") or list(range(node.rank))
        if not node.attributes.get("keepdims", 1):
            raise NotTileable(f"{node.op} that drops a side")
    if node.op == "LayerNormalization":
        axes = list(range(axes[0] % node.rank, node.rank))
    if node.op == "Gather" and node.constants.get(node.inputs[1], np.empty(0)).ndim != 1:
        raise NotTileable("Gather that changes the number of sides")
    if any(axis % node.rank - node.rank in node.axes for axis in axes):
        raise NotTileable(f"{node.op} along height or width")
    return SAME, SAME


def _matrix(node: Node) -> Windows:
    matrix = node.constants.get(node.inputs[1])
    if matrix is None or matrix.ndim != 2 or -1 in node.axes:
        raise NotTileable("MatMul over the picture (attention)")
    return SAME, SAME


def _transpose(node: Node) -> Windows:
    return SAME, SAME


BROADCASTING = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Mean", "Sum", "PRelu", "Where"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    )
)
"""Operators on samples at the same place in several tensors, of which some may be constants."""

POINTWISE = BROADCASTING | frozenset(
    (
        *("Abs", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor"),
        *("Gelu", "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu", "Log", "Mish", "Neg", "Not"),
        *("DequantizeLinear", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
        *("Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"),
    )
)
"""Operators whose output sample depends on the input samples at the same place alone."""

HANDLERS: dict[str, Callable[[Node], Windows]] = {
    "Conv": _convolution,
    "MaxPool": _convolution,
    "AveragePool": _convolution,
    "LpPool": _convolution,
    "ConvTranspose": _transposed,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Pad": _pad,
    "Slice": _slice,
    "Resize": _resize,
    "Transpose": _transpose,
    "MatMul": _matrix,
    **dict.fromkeys(
        ("Concat", "Split", "Softmax", "LogSoftmax", "Gather", "LayerNormalization", "LpNormalization"), _along_channels
    ),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"), _along_channels),
}
"""Operators that read a fixed window, or leave the sides alone."""
