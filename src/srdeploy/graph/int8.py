"""The same network in 8-bit integers: QuantizeLinear and DequantizeLinear around every convolution.

Written here rather than taken: ONNX Runtime's quantiser sits behind another door, reads its pictures from files, and
puts float conversions at the borders, where pixels are integers already.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.additions import Additions, names_of
from srdeploy.graph.files import Model, border, shape_of
from srdeploy.graph.pixels import rename_border
from srdeploy.ranges import Range
from srdeploy.rounding import Rounded

Array = np.ndarray[Any, Any]

_GRID: Range = (0.0, 1.0)
"""The grid of pixels: level / 255 with zero point 0, so that a picture is its own quantisation."""


def convolutions(model: Model) -> list[str]:
    """Names of the convolutions that `int8_from_onnx` quantises (weights in the file), in the graph's order.

    model: a float network (N, C, H, W), 0..1. Raises ModelError when it has none: there is nothing to quantise.
    """
    names = list(convolution_nodes(rename_border(model)))
    if not names:
        raise ModelError(
            "the network has no convolution with weights of its own, and int8 quantises these; type --fp16"
        )
    return names


def kernels(model: Model) -> dict[str, tuple[str, Array, Array, bool]]:
    """By name of convolution: the tensor taken, weight float64 (O, I, h, w), bias (O,), and whether it is plain.

    Plain is what slides over every place with one kernel for all channels: no stride, dilation or groups.
    """
    onnx = require("onnx", "export")
    model = rename_border(model)
    arrays = {t.name: onnx.numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    found = {}
    for name, node in convolution_nodes(model).items():
        weight = arrays[node.input[1]]
        bias = arrays[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(len(weight))
        spread = [v for a in node.attribute if a.name in ("strides", "dilations") for v in a.ints]
        plain = weight.ndim == 4 and not grouped(node) and set(spread) <= {1}
        found[name] = (str(node.input[0]), weight, bias, plain)
    return found


def with_activations(model: Model) -> tuple[Model, list[str]]:
    """A copy of a float network that also gives what int8_from_onnx needs ranges for, and the names of that.

    The copy's input is "input", float (N, C, H, W); the named outputs are float.
    """
    onnx = require("onnx", "export")
    model = rename_border(model)
    grid = on_grid(model)
    names = [name for name in _quantized(model, frozenset()) if name not in grid]
    kind = onnx.TensorProto.FLOAT
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in names)
    return model, names


def int8_from_onnx(
    model: Model,
    ranges: Mapping[str, Range],
    keep: Collection[str] = (),
    weights: Mapping[str, Rounded] | None = None,
    show: str = "",
) -> Model:
    """A copy of a float network that takes and gives uint8 (N, H, W, C) and convolves in integers.

    Weights are int8, symmetric, of one scale per output channel; activations uint8, of one scale and zero point;
    biases int32 of scale input * weight. Input and output lie on the grid of pixels, 1/255 with zero point 0: what
    goes in is dequantised as it is, and the last quantisation clips and rounds half to even. A Relu right behind a
    convolution stays inside the pair that quantises it, so that an engine computes both in one.
    ranges: by the names of with_activations. keep: names of convolutions that stay float. weights: by the names of
    convolutions, instead of rounding to nearest. show: a tensor among ranges, or "input", whose dequantised value the
    copy gives as a second output.
    """
    result = Int8(rename_border(model), ranges, frozenset(keep), weights or {}).convert(show)
    result.metadata_props.extend(model.metadata_props)  # how channels stand for the network's
    return result


def convolution_nodes(model: Model) -> dict[str, Any]:
    """Convolutions with weights of their own, by name, of a model from rename_border."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {n.name: n for n in model.graph.node if n.op_type == "Conv" and set(n.input[1:]) - {""} <= weights}


def consumers(model: Model, name: str) -> list[Any]:
    """The nodes that take a tensor."""
    return [node for node in model.graph.node if name in node.input]


def grouped(node: Any) -> bool:
    """Whether a convolution is in groups of channels."""
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def behind(model: Model, node: Any) -> str:
    """The tensor in which a convolution's result becomes 8 bits: behind its Relu or Clip, when that alone takes it."""
    users = consumers(model, node.output[0])
    inner = node.output[0] not in {value.name for value in model.graph.output}
    fused = inner and len(users) == 1 and users[0].op_type in ("Relu", "Clip")
    return str(users[0].output[0] if fused else node.output[0])


def on_grid(model: Model) -> set[str]:
    """Tensors that hold pixels: the borders, and what only a rearrangement parts from the output."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    grid, name = {"input", "output"}, "output"
    while name in made_by and made_by[name].op_type == "DepthToSpace":
        name = made_by[name].input[0]
        if len(consumers(model, name)) > 1:
            break
        grid.add(name)
    return grid


def _quantized(model: Model, keep: frozenset[str]) -> list[str]:
    """Names of the tensors that become 8 bits: what quantised convolutions take and give, and pixels."""
    names = ["input"]
    for name, node in convolution_nodes(model).items():
        if name not in keep:
            names += [node.input[0], behind(model, node)]
    return list(dict.fromkeys((*names, *sorted(on_grid(model)))))


class Int8:
    """One pass over the nodes in order, parting each quantised tensor into its 8 bits and their value."""

    def __init__(
        self, model: Model, ranges: Mapping[str, Range], keep: frozenset[str], rounded: Mapping[str, Rounded]
    ) -> None:
        self.onnx = require("onnx", "export")
        self.model, self.rounded = model, rounded
        self.channels = int(shape_of(border(model, "the network")[1])[1] or 1)
        self.convolutions = {name for name in convolution_nodes(model) if name not in keep}
        self.keep = keep
        grid = on_grid(model)
        self.steps = {
            name: self.step(name, _GRID if name in grid else ranges[name])
            for name in self.tensors(_quantized(model, keep))
        }
        self.values: dict[str, str] = {}
        self.exact: dict[str, str] = {}
        self.weights = {t.name: self.onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.new = Additions(names_of(model), self.nodes, self.constants, "int8_")

    def convert(self, show: str) -> Model:
        graph = self.model.graph
        self.borders()
        for node in list(graph.node):
            self._node(node)
        if show:
            kind = self.onnx.TensorProto.FLOAT
            graph.output.append(self.onnx.helper.make_tensor_value_info(self.values.get(show, show), kind, None))
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend((*kept, *self.constants))
        return self.model

    def step(self, name: str, span: Range) -> tuple[np.float32, Any]:
        """Scale and zero point of 256 levels over a range, widened to hold 0: padding and Relu mean it exactly."""
        low, high = min(span[0], 0.0), max(span[1], 0.0)
        scale = np.float32((high - low) / 255 or 1.0)
        return scale, np.uint8(np.clip(np.rint(-low / float(scale)), 0, 255))

    def tensors(self, names: list[str]) -> list[str]:
        """Which of these become 8 bits."""
        return names

    def borders(self) -> None:
        """Make the input and the output bytes, on the grid of pixels."""
        graph = self.model.graph
        del graph.input[:], graph.output[:]
        graph.input.append(self._border("input", "height", "width"))
        graph.output.append(self._border("output", "out_height", "out_width"))
        self._dequantize("input", self._moved("input", to_planes=True))

    def bias(self, node: Any, bias: Any, products: Any) -> str:
        """A convolution's bias (O,) in steps of `products`, those of its sums."""
        whole = np.clip(np.rint(bias / products.astype(np.float64)), -(2**31), 2**31 - 1).astype(np.int32)
        return self._constant_value(node, "bias", whole, products)

    def _node(self, node: Any) -> None:
        quantized = node.name in self.convolutions
        scale = self.steps[node.input[0]][0] if quantized else np.float32(1)
        exposed = node.name in self.keep and node.input[0] in self.values
        unrounded = self._stays_float(node)
        taken = {**self.values, **self.exact} if node.op_type == "Add" else self.values
        node.input[:] = [taken.get(name, name) for name in node.input]
        if quantized:
            self._weights(node, scale)
        if exposed:
            self._float(node)
            return
        if node.op_type == "Clip" and self._saturates(node):
            node.op_type = "Relu"
            del node.input[1:]
        exact = {name: self.new.fresh(f"{name}_exact") for name in node.output if name in self.steps}
        if unrounded:
            self.exact |= {name: exact.get(name, name) for name in node.output}
        node.output[:] = [exact.get(name, name) for name in node.output]
        self.nodes.append(node)
        for name, result in exact.items():
            self._quantize(name, result)

    def _stays_float(self, node: Any) -> bool:
        """Whether a result is at hand in float: of a convolution that is kept so, or of one rearranged. What is added
        to it is added to that, not to its 8 bits: the enlarged picture would lose half a level there."""
        return node.name in self.keep or (node.op_type == "DepthToSpace" and node.input[0] in self.exact)

    def _saturates(self, node: Any) -> bool:
        """Whether the levels of a Clip's result end where the Clip does, 0 being its least."""
        limits = [self.weights.get(name) for name in node.input[1:]]
        if node.output[0] not in self.steps or len(limits) < 2 or limits[0] is None or limits[1] is None:
            return False
        scale, zero = self.steps[node.output[0]]
        most = scale * (np.iinfo(zero.dtype).max - zero)
        return bool(float(limits[0]) == 0 and zero == 0 and most <= float(limits[1]) * (1 + 1e-6))

    def _float(self, node: Any) -> None:
        """A convolution that stays float though it takes 8 bits, and behind it a maximum that changes nothing: ONNX
        Runtime (1.21 and later) rounds the weights of any that it finds between a Dequantize- and a QuantizeLinear."""
        name = node.output[0]
        node.output[0] = self.new.fresh(f"{name}_float")
        self.nodes.append(node)
        lowest = self.new.constant("lowest", np.finfo(np.float32).min)
        if name in self.steps:
            self._quantize(name, self.new.node("Max", [node.output[0], lowest], f"{name}_exact"))
        else:
            self.new.last("Max", [node.output[0], lowest], name)

    def _quantize(self, name: str, exact: str) -> None:
        levels = self.new.node("QuantizeLinear", [exact, *self._scale_and_zero(name)], f"{name}_levels")
        if name == "output":
            self._moved(levels, to_planes=False)
        if consumers(self.model, name):  # as yet under its old name in the nodes to come
            self._dequantize(name, levels)

    def _dequantize(self, name: str, levels: str) -> None:
        inputs = [levels, *self._scale_and_zero(name)]
        self.values[name] = self.new.node("DequantizeLinear", inputs, f"{name}_value")

    def _scale_and_zero(self, name: str) -> list[str]:
        return [
            self.new.constant(f"{name}_{what}", value)
            for what, value in zip(("scale", "zero"), self.steps[name], strict=True)
        ]

    def _moved(self, name: str, to_planes: bool) -> str:
        """Move the channels of a border's bytes: NHWC to NCHW, or back into "output"."""
        last = self.new.fresh("planes") if to_planes else "output"
        if self.channels > 1:  # one channel is in its place in either layout: its sides are renamed, which is free
            return self.new.last("Transpose", [name], last, perm=[0, 3, 1, 2] if to_planes else [0, 2, 3, 1])
        axes = [self.new.constant("axis", np.array([axis])) for axis in ((3, 1) if to_planes else (1, 3))]
        flat = self.new.node("Squeeze", [name, axes[0]], "flat")
        return self.new.last("Unsqueeze", [flat, axes[1]], last)

    def _weights(self, node: Any, scale: np.float32) -> None:
        """Put int8 weights and an int32 bias before a convolution whose input has this scale."""
        if node.name in self.rounded:
            found = self.rounded[node.name]
            levels, steps, bias = found.levels, found.steps, found.bias
        else:
            levels, steps, bias = self._nearest(node, scale)
        node.input[1] = self._constant_value(node, "weight", levels, steps)
        if bias is not None:
            del node.input[2:]
            node.input.append(self.bias(node, bias, scale * steps))

    def _nearest(self, node: Any, scale: np.float32) -> tuple[Any, Any, Any]:
        """Levels, steps and bias by rounding each weight to nearest."""
        weight = self.weights[node.input[1]].astype(np.float64)
        bias = self.weights[node.input[2]].astype(np.float64) if len(node.input) > 2 and node.input[2] else None
        steps = np.abs(weight.reshape(len(weight), -1)).max(axis=1) / 127
        if bias is not None:  # a channel of next to no weight must not push its bias out of 32 bits
            steps = np.maximum(steps, np.abs(bias) / (float(scale) * 2**30))
        steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
        levels = np.rint(weight / steps.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float64))
        return np.clip(levels, -127, 127).astype(np.int8), steps, bias

    def _constant_value(self, node: Any, what: str, levels: Any, steps: Any) -> str:
        zero = np.zeros(len(steps), levels.dtype)
        inputs = [
            self.new.constant(f"{node.name}_{what}{end}", v)
            for end, v in (("", levels), ("_scale", steps), ("_zero", zero))
        ]
        return self.new.node("DequantizeLinear", inputs, f"{node.name}_{what}_value", axis=0)

    def _border(self, name: str, height: str, width: str) -> Any:
        sides = ["batch", height, width, self.channels]
        return self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.UINT8, sides)
