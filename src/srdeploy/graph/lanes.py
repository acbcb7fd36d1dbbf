"""Channels in the numbers that CPU kernels take: fours in, sixteens out.

ONNX Runtime computes an int8 convolution in one pass (gathering, products, rounding) when its input channels are a
multiple of 4 and its output channels 16 or more, the lanes of a vector instruction; others go a longer way. Measured
on 480x270 and one core: 1 to 64 channels of 5x5 in 25 ms, the same as 8 to 64 of 5x1 in 7; 32 to 4 of 3x3 in 43 ms,
32 to 16 in 9.
"""

from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.additions import Additions
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Array, consumers, grouped

INPUTS, OUTPUTS = 4, 16

NAME = "lanes_"
"""How the names of nodes begin that in_lanes adds."""

_END = np.iinfo(np.int64).max


def in_lanes(model: Model) -> Model:
    """A copy of an int8 graph (of int8_from_onnx) that gives the same bytes, faster on ONNX Runtime's CPU kernels.

    Fewer than INPUTS input channels: the columns of the kernel become channels, each a shifted copy of the bytes, so
    that a kernel of h x w on C channels is one of h x 1 on C * w. Fewer than OUTPUTS output channels: more are
    computed, of zero weights, and cut off.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    return _Lanes(copy).convert()


def out_of_lanes(model: Model) -> Model:
    """A copy without what in_lanes did: every convolution takes and gives the channels of the network's again."""
    copy = type(model)()
    copy.CopyFrom(model)
    _Back(copy).convert()
    return copy


class _Graph:
    """A graph's nodes and constants by name."""

    def __init__(self, model: Model) -> None:
        self.onnx = require("onnx", "export")
        self.graph = model.graph
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made_by = {name: node for node in model.graph.node for name in node.output}

    def array(self, name: str) -> Array:
        return np.asarray(self.onnx.numpy_helper.to_array(self.tensors[name]))

    def replace(self, name: str, array: Array) -> None:
        self.tensors[name].CopyFrom(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))


class _Back(_Graph):
    """The way back."""

    def convert(self) -> None:
        for node in self.graph.node:
            value = self.made_by.get(node.input[0]) if node.op_type == "Conv" else None
            stacked = self.made_by.get(value.input[0]) if value is not None else None
            if stacked is not None and stacked.name.startswith(NAME) and stacked.op_type == "Concat":
                self._channels_as_columns(node, value, stacked)
        for node in [node for node in self.graph.node if node.op_type == "Slice" and node.name.startswith(NAME)]:
            if self.made_by[node.input[0]].op_type == "QuantizeLinear":
                self._fewer_outputs(node)

    def _channels_as_columns(self, node: Any, value: Any, stacked: Any) -> None:
        wide = self.made_by[self.made_by[stacked.input[0]].input[0]]
        value.input[0] = wide.input[0]
        levels = self.made_by[node.input[1]].input[0]
        weight, columns, sides = self.array(levels), len(stacked.input), self.array(wide.input[1])
        weight = weight.reshape(len(weight), columns, -1, weight.shape[2]).transpose(0, 2, 3, 1)
        self.replace(levels, weight)
        for attribute in node.attribute:
            if attribute.name == "pads":
                attribute.ints[:] = [attribute.ints[0], sides[3], attribute.ints[2], sides[7]]
            if attribute.name == "kernel_shape":
                attribute.ints[:] = weight.shape[2:]

    def _fewer_outputs(self, cut: Any) -> None:
        count = int(self.array(cut.input[2])[0])
        rounded = self.made_by[cut.input[0]]
        rounded.output[0] = cut.output[0]
        conv = self.made_by[rounded.input[0]]
        conv = self.made_by[conv.input[0]] if conv.op_type == "Relu" else conv
        for value in conv.input[1:]:
            for name in self.made_by[value].input:
                self.replace(name, self.array(name)[:count])
        self.graph.node.remove(cut)


class _Lanes(_Graph):
    """One pass over the nodes in order."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.model = model
        self.nodes: list[Any] = []
        self.new = Additions({*self.tensors, *self.made_by, "input"}, self.nodes, model.graph.initializer, NAME)
        self.cut: dict[str, int] = {}

    def convert(self) -> Model:
        graph = self.model.graph
        for node in list(graph.node):
            if node.op_type == "Conv" and self._in_integers(node):
                if self._weight(node).shape[1] < INPUTS and self._slides(node):
                    self._columns_as_channels(node)
                if self._weight(node).shape[0] < OUTPUTS:
                    self._more_outputs(node)
            self.nodes.append(node)
            if node.output[0] in self.cut:
                self._cut(node)
        used = {"output"} | {name for node in self.nodes for name in node.input}
        del graph.node[:]
        graph.node.extend(node for node in self.nodes if used.intersection(node.output))
        return self.model

    def _in_integers(self, node: Any) -> bool:
        makers = [self.made_by.get(name) for name in node.input[:2]]
        return not grouped(node) and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)

    def _slides(self, node: Any) -> bool:
        spread = [v for a in node.attribute if a.name in ("strides", "dilations") for v in a.ints]
        named = {a.name: list(a.ints) for a in node.attribute}
        return set(spread) <= {1} and "pads" in named and self._weight(node).ndim == 4

    def _columns_as_channels(self, node: Any) -> None:
        weight = self._weight(node)
        outputs, channels, height, width = weight.shape
        columns = next(n for n in range(width, width + INPUTS) if n * channels % INPUTS == 0)
        value = self.made_by[node.input[0]]
        levels, scale, zero = value.input
        top, left, bottom, right = next(list(a.ints) for a in node.attribute if a.name == "pads")
        sides = np.array([0, 0, 0, left, 0, 0, 0, right + columns - width])
        wide = self.new.node("Pad", [levels, self.new.constant("sides", sides), zero], "wide")
        axis, one = self.new.constant("columns", np.array([3])), self.new.constant("one", np.array([1]))
        shifted = []
        for i in range(columns):
            end = i + 1 - columns or _END
            bounds = [self.new.constant(f"column_{i}_{at}", np.array([v])) for at, v in (("from", i), ("to", end))]
            shifted.append(self.new.node("Slice", [wide, *bounds, axis, one], f"column_{i}"))
        stacked = self.new.node("Concat", shifted, "stacked", axis=1)
        node.input[0] = self.new.node("DequantizeLinear", [stacked, scale, zero], "stacked_value")
        padded = np.zeros((outputs, channels, height, columns), weight.dtype)
        padded[..., :width] = weight
        self.replace(self.made_by[node.input[1]].input[0], padded.transpose(0, 3, 1, 2).reshape(outputs, -1, height, 1))
        for attribute in node.attribute:
            if attribute.name == "pads":
                attribute.ints[:] = [top, 0, bottom, 0]
            if attribute.name == "kernel_shape":
                attribute.ints[:] = [height, 1]

    def _more_outputs(self, node: Any) -> None:
        """Zero weights up to OUTPUTS channels, and a note to cut them off where the result is in bytes again."""
        count = len(self._weight(node))
        for value in node.input[1:]:
            levels, *others = self.made_by[value].input
            for name in (levels, *others):
                array = self.array(name)
                # Scales are repeated: ONNX Runtime fuses only where the bias has that of input times weight.
                more = np.zeros_like(array[:1]) if name == levels else array[-1:]
                self.replace(name, np.concatenate((array, *[more] * (OUTPUTS - count))))
        (user,) = consumers(self.model, node.output[0])
        if user.op_type == "Relu":
            (user,) = consumers(self.model, user.output[0])
        self.cut[user.output[0]] = count

    def _cut(self, node: Any) -> None:
        """The first channels of a result in bytes, under the name that all of them had."""
        name = node.output[0]
        node.output[0] = self.new.fresh(f"{name}_all")
        bounds = [
            self.new.constant(f"{name}_{at}", np.array([v]))
            for at, v in (("from", 0), ("to", self.cut[name]), ("axis", 1))
        ]
        self.new.last("Slice", [node.output[0], *bounds], name)

    def _weight(self, node: Any) -> Array:
        return self.array(self.made_by[node.input[1]].input[0])
