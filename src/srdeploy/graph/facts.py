"""What a float network is, computed from its graph: scale, channels, halo, multiple, size, memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.files import Model, border, cleaned, shape_of
from srdeploy.graph.operators import BROADCASTING, NCHW, Axes, Node, NotTileable, Windows, axes_after, node_of, windows
from srdeploy.graph.windows import Interval, Size

_TRIAL = (960, 1440)
"""Sides (divisible by whatever networks ask for) at which shapes are inferred; nothing is computed at that size."""


@dataclass(frozen=True)
class Facts:
    """Facts of a network (N, C, H, W) -> (N, C, scale * H, scale * W); the names are those of ModelSpec.

    halo: None when not tileable; `why_not` then names the operator. activation_bytes: the most bytes that tensors in
    use at one time take for each input pixel, in fp32, nodes run in the graph's order and nothing reused in place.
    """

    scale: int
    channels: int
    halo: int | None
    why_not: str | None
    multiple: int
    parameters: int
    activation_bytes: int


def facts_of(model: Model, path: str = "the network", scale: int | None = None) -> Facts:
    """Compute the facts of a float graph; scale: where it was found by running, since the graph computes its sizes.

    Raises ModelError when it is no super-resolution network: other than one input and output, not 1 or 3 channels,
    or an output that is not a whole number of times as large as its input.
    """
    model = cleaned(model)
    channels = _channels(model, path)
    elements, output = _inferred(model, path, channels, scale)
    scale = _scale(output, channels, path) if scale is None else scale
    halo: int | None = None
    why_not = None
    multiple = 1
    try:
        trace = _Trace(model)
        halo, multiple = trace.halo(scale), trace.multiple
    except NotTileable as reason:
        why_not = str(reason)
    return Facts(scale, channels, halo, why_not, multiple, _parameters(model), _peak_bytes(model, elements))


@dataclass(frozen=True)
class _Sides:
    axes: Axes
    sizes: tuple[Size, Size]


class _Trace:
    """Follows height and width forward through the graph, then intervals of indices backward."""

    def __init__(self, model: Model) -> None:
        onnx = require("onnx", "export")
        self.model = model
        value_in, value_out = border(model, "the network")
        self.input, self.output = value_in.name, value_out.name
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self.ranks = _ranks(model)
        self.sides = {self.input: _Sides(NCHW, ((Fraction(1), 0), (Fraction(1), 0)))}
        self.windows: list[tuple[Any, Windows]] = []
        for proto in model.graph.node:
            self._forward(proto)
        if self.sides[self.output].axes != NCHW:
            raise NotTileable("an output whose sides were moved")

    @property
    def multiple(self) -> int:
        """Input sides must be a multiple of this for every tensor to have a whole number of samples."""
        return lcm(*(size[0].denominator for sides in self.sides.values() for size in sides.sizes))

    def halo(self, scale: int) -> int:
        """Input pixels beyond a tile that its result depends on: the most over all phases, both axes, both ways."""
        if any(size != (Fraction(scale), 0) for size in self.sides[self.output].sizes):
            raise NotTileable("a size that is not a fixed multiple of the picture's")
        indices = range(scale * self.multiple)  # a shift by `multiple` input pixels moves every tensor by whole samples
        reach = 0
        for axis in (0, 1):
            for index, interval in zip(indices, self._backward(axis, indices), strict=True):
                if interval is not None:
                    here = index // scale
                    reach = max(reach, here - interval[0], interval[1] - here)
        return reach

    def _forward(self, proto: Any) -> None:
        pictures = [name for name in proto.input if name in self.sides]
        if not pictures:
            raise NotTileable(f"{proto.op_type} that makes a picture of its own")
        sides = self.sides[pictures[0]]
        if any(self.sides[name] != sides for name in pictures[1:]):
            raise NotTileable(f"{proto.op_type} of pictures of different sizes")
        node = node_of(proto, self.constants, sides.axes, self.ranks[pictures[0]])
        found = windows(node)
        self._no_positions(node)
        height, width = (w.size(*size) for w, size in zip(found, sides.sizes, strict=True))
        for name in proto.output:
            if name:
                self.sides[name] = _Sides(axes_after(node), (height, width))
        self.windows.append((proto, found))

    def _no_positions(self, node: Node) -> None:
        """Refuse constants that differ from place to place, such as a map of positions of one fixed size."""
        if node.op not in BROADCASTING:
            return
        for name in node.inputs:
            shape = self.constants[name].shape if name in self.constants else ()
            if any(-axis <= len(shape) and shape[axis] != 1 for axis in node.axes):
                raise NotTileable(f"{node.op} with a constant that has sides of its own")

    def _backward(self, axis: int, indices: range) -> list[Interval | None]:
        needed: dict[str, list[Interval | None]] = {self.output: [(index, index) for index in indices]}
        for proto, found in reversed(self.windows):
            outputs = [needed[name] for name in proto.output if name in needed]
            if not outputs:
                continue
            wanted = [_hull(options) for options in zip(*outputs, strict=True)]
            reads = [None if span is None else found[axis].reads(*span) for span in wanted]
            for name in proto.input:
                if name in self.sides:
                    before = needed.get(name, [None] * len(reads))
                    needed[name] = [_hull(pair) for pair in zip(before, reads, strict=True)]
        return needed.get(self.input, [None] * len(indices))


def _hull(intervals: tuple[Interval | None, ...]) -> Interval | None:
    spans = [span for span in intervals if span is not None]
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def _ranks(model: Model) -> dict[str, int]:
    graph = require("onnx", "export").shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _channels(model: Model, path: str) -> int:
    onnx = require("onnx", "export")
    value, _ = border(model, path)
    shape = shape_of(value)
    if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4:
        raise ModelError(f"{path} does not take a float picture (N, C, H, W); srdeploy exports networks that do")
    channels = shape[1] or first_kernel(model, value.name)
    if channels not in (1, 3):
        raise ModelError(f"{path} takes {channels or 'a free number of'} channels; srdeploy knows 1 (luma) and 3 (RGB)")
    return channels


def first_kernel(model: Model, name: str) -> int | None:
    """Input channels of the first convolution that takes the value `name`; None where there is none."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] == name and node.input[1] in shapes:
            return int(shapes[node.input[1]][1])
    return None


def _inferred(
    model: Model, path: str, channels: int, scale: int | None
) -> tuple[dict[str, int], tuple[int | None, ...]]:
    """Elements of every tensor, and the output's shape, for one picture of the trial size (or the graph's own)."""
    onnx = require("onnx", "export")
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    value, output = border(trial, path)
    sides = [known or free for known, free in zip(shape_of(value)[2:], _TRIAL, strict=True)]
    for dim, side in zip(value.type.tensor_type.shape.dim, (1, channels, *sides), strict=True):
        dim.dim_value = side
    output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(trial, data_prop=True).graph
    shapes = {v.name: shape_of(v) for v in (*graph.value_info, *graph.input, *graph.output)}
    elements = {name: int(np.prod([side or 1 for side in shape])) for name, shape in shapes.items()}
    made = shapes[output.name]
    if scale is not None:
        return {**elements, "": sides[0] * sides[1]}, ()
    if len(made) != 4 or None in made:
        raise ModelError(f"{path} gives a result of a size that cannot be worked out ({made}); is it a picture?")
    ratio = [Fraction(int(made[axis] or 0), side) for axis, side in zip((2, 3), sides, strict=True)]
    return {**elements, "": sides[0] * sides[1]}, (made[1], *_whole(ratio))


def _whole(ratio: list[Fraction]) -> Iterator[int | None]:
    for value in ratio:
        yield int(value) if value.denominator == 1 else None


def _scale(output: tuple[int | None, ...], channels: int, path: str) -> int:
    made, height, width = output
    if made != channels:
        raise ModelError(f"{path} takes {channels} channels and gives {made}; a super-resolution network keeps them")
    if height is None or height != width or height < 1:
        raise ModelError(
            f"{path} does not enlarge by a whole number (height {height}, width {width}); is it a picture?"
        )
    return height


def _parameters(model: Model) -> int:
    onnx = require("onnx", "export")
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in kinds and len(t.dims) > 0)


def _peak_bytes(model: Model, elements: dict[str, int]) -> int:
    pixels = elements[""]
    last = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    alive = {model.graph.input[0].name}
    peak = 0
    for index, node in enumerate(model.graph.node):
        alive.update(name for name in node.output if name)
        peak = max(peak, sum(elements.get(name, 0) for name in alive))
        alive -= {name for name in node.input if last[name] == index}
    return -(-4 * peak // pixels)
