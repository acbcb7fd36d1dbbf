"""Convolutions to few channels, written so that a CPU computes no more than it must.

ONNX Runtime's CPU kernels compute 16 output channels at a time: a 5x5 convolution from 32 channels to 3 costs what one
to 16 does. One row of the kernel at a time, to 5 x 3 channels, and the five results shifted and summed, costs a fifth.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.additions import Additions, names_of
from srdeploy.graph.files import Model, cleaned

LANES = 16
"""Output channels that are computed together."""

WORTH = 4.0
"""Convolutions that become this many times cheaper are rewritten: at three times, shifting costs what is saved."""


def rows_apart(model: Model) -> Model:
    """A copy in which convolutions to few channels are done row by row of their kernels: the same sums, reordered.

    For files that CPUs run; other engines have no use for it, and int8 quantises the convolution as it was.
    """
    model = cleaned(model)
    build = _Rewrite(model)
    for node in list(model.graph.node):
        build.node(node)
    return build.finish()


def rows_together(model: Model, names: Collection[str]) -> Model:
    """A copy in which the convolutions of these names, of those that rows_apart rewrote, are one node again each."""
    model = cleaned(model)
    for node in [node for node in model.graph.node if node.op_type == "Sum" and node.name.endswith("_sum")]:
        if node.name.removesuffix("_sum") in names:
            _join(model, node)
    return cleaned(model)


def _join(model: Model, node: Any) -> None:
    """Turn the Sum of rows into the convolution that they were; leave what rows_apart did not write."""
    onnx = require("onnx", "export")
    made_by = {name: maker for maker in model.graph.node for name in maker.output}
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rows = [made_by[name] for name in node.input if name in made_by]
    padded = made_by.get(rows[0].input[0]) if rows else None
    conv = made_by.get(padded.input[0]) if padded is not None and padded.op_type == "Pad" else None
    if padded is None or conv is None or [part.op_type for part in (conv, padded)] != ["Conv", "Pad"]:
        return
    pads = next((list(a.ints) for a in conv.attribute if a.name == "pads"), None)
    bounds = {name for row in rows for name in row.input[1:3]}
    if pads is None or not {conv.input[1], padded.input[1], *bounds} <= set(weights):
        return
    flat, edges, height = weights[conv.input[1]], weights[padded.input[1]], len(rows)
    cuts = [[row.input[0], *(weights[name].tolist() for name in row.input[1:3])] for row in rows]
    ours = [_bounds(row, height, len(flat) // height) for row in range(height)]
    if cuts != [[padded.output[0], start.tolist(), end.tolist()] for start, end in ours]:
        return
    whole = flat.reshape(height, -1, flat.shape[1], flat.shape[3]).transpose(1, 2, 0, 3)
    add = Additions(names_of(model), [], model.graph.initializer).constant
    biases = [add(f"{name}_flat", weights[name].reshape(-1)) for name in node.input if name in weights]
    inputs = [conv.input[0], add(f"{conv.input[1]}_whole", np.ascontiguousarray(whole)), *biases]
    name, pads = node.name.removesuffix("_sum"), [int(edges[2]), pads[1], int(edges[6]), pads[3]]
    node.CopyFrom(onnx.helper.make_node("Conv", inputs, node.output, name=name, pads=pads))


def _bounds(row: int, height: int, outputs: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where row `row` of a kernel's results begins and ends, along channels and along y."""
    left_out = height - 1 - row
    last = -left_out if left_out else np.iinfo(np.int64).max
    return np.array([row * outputs, row]), np.array([(row + 1) * outputs, last])


class _Rewrite:
    def __init__(self, model: Model) -> None:
        self.onnx = require("onnx", "export")
        self.model = model
        self.weights = {t.name: self.onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[Any] = []
        self.new = Additions(names_of(model), self.nodes, model.graph.initializer)

    def node(self, node: Any) -> None:
        """Take a node over, rewritten if that is worth it."""
        weight = self._worth(node)
        if weight is None:
            self.nodes.append(node)
            return
        attributes = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        outputs, _, height, width = weight.shape
        # Channel r * outputs + o of `rows` is what row r of the kernel gives to output o.
        flat = np.ascontiguousarray(weight.transpose(2, 0, 1, 3)).reshape(-1, weight.shape[1], 1, width)
        add, constant, name = self.new.node, self.new.constant, node.name
        kernel = constant(f"{name}_weight", flat)
        rows = add("Conv", [node.input[0], kernel], f"{name}_rows", pads=[0, left, 0, right])
        edges = constant(f"{name}_edges", np.array([0, 0, top, 0, 0, 0, bottom, 0]))
        rows = add("Pad", [rows, edges], f"{name}_padded")
        axes = constant(f"{name}_axes", np.array([1, 2]))
        parts = []
        for row in range(height):
            bounds = zip(("start", "end"), _bounds(row, height, outputs), strict=True)
            start, end = (constant(f"{name}_{which}{row}", bound) for which, bound in bounds)
            parts.append(add("Slice", [rows, start, end, axes], f"{name}_row{row}"))
        if len(node.input) > 2 and node.input[2]:
            bias = self.weights[node.input[2]].reshape(1, -1, 1, 1)
            parts.append(constant(f"{name}_bias", bias))
        self.nodes.append(self.onnx.helper.make_node("Sum", parts, [node.output[0]], name=f"{node.name}_sum"))

    def finish(self) -> Model:
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        return cleaned(self.model)

    def _worth(self, node: Any) -> Any:
        """The weights (O, I, h, w) of a convolution that is to be rewritten; None for all other nodes."""
        if node.op_type != "Conv" or not set(node.input[1:]) - {""} <= set(self.weights):
            return None
        weight = self.weights[node.input[1]]
        plain = {"dilations": [1, 1], "strides": [1, 1], "group": 1, "auto_pad": b"NOTSET"}
        found = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        if weight.ndim != 4 or any(found.get(name, value) != value for name, value in plain.items()):
            return None
        outputs, inputs, height, _ = weight.shape
        gain = height * _lanes(outputs) / _lanes(height * outputs)
        return weight if gain >= WORTH and inputs >= LANES else None


def _lanes(channels: int) -> int:
    """Channels that are computed for so many."""
    return -(-channels // LANES) * LANES
