"""Sizes that a graph computes while it runs, made constants where they are the same for every picture.

Exporters leave behind what a program did with its sizes: Shape, Gather and Mul before a Resize, a Reshape or a Slice.
Run at a few sizes, the graph says what comes of that; what is the same each time, or keeps its place relative to the
picture's own sides, needs no computing. That is faster, and only then can it be told how far a pixel reaches.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model, cleaned
from srdeploy.graph.runs import Arrays, Feed, Run
from srdeploy.graph.shuffles import SHAPERS, with_shuffles

_OPEN = np.iinfo(np.int64).max
_SMALL = 64
"""Elements of the largest tensor that is taken for sizes and not for a picture of its own, such as a mask."""


def with_constant_sizes(model: Model, run: Run, feeds: Sequence[Feed]) -> Model:
    """A copy of a network with what it computes of its sizes folded, proved on `feeds`: same results, or `model` as is.

    feeds: inputs of two or more different sizes, no side the same in two of them; of one size when the network takes
    no other. Pixel shuffles written as Reshape, Transpose, Reshape become DepthToSpace and SpaceToDepth.
    """
    model = cleaned(model)
    folded = cleaned(with_shuffles(_Folding(model, run, feeds).folded(), lambda changed: _shapes(changed, run, feeds)))
    for feed in feeds:
        before, after = (run(m.SerializeToString(), feed) for m in (model, folded))
        if not all(np.allclose(before[name], after[name], rtol=1e-5, atol=1e-5) for name in before):
            return model
    return folded


def _shapes(
    model: Model, run: Run, feeds: Sequence[Feed], more: Sequence[str] = ()
) -> tuple[list[Arrays], list[Arrays]]:
    """For each feed: the shape of every tensor that a node moves about, and the values of the tensors `more`."""
    onnx = require("onnx", "export")
    moved = [node for node in model.graph.node if node.op_type in _MOVING]
    names = list(dict.fromkeys(name for node in moved for name in (node.input[0], node.output[0])))
    weights = {tensor.name for tensor in model.graph.initializer}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    wanted = {f"{name}__shape": name for name in names if name not in weights}
    for output, name in wanted.items():
        probe.graph.node.append(onnx.helper.make_node("Shape", [name], [output]))
        probe.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.INT64, None))
    for name in more:
        probe.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    if not probe.graph.output:
        return [{} for _ in feeds], [{} for _ in feeds]
    data = cleaned(probe).SerializeToString()
    shapes, values = [], []
    for feed in feeds:
        found = run(data, feed)
        shapes.append({name: found[output] for output, name in wanted.items()})
        values.append({name: found[name] for name in more})
    return shapes, values


class _Folding:
    """One pass over the nodes that take computed sizes."""

    def __init__(self, model: Model, run: Run, feeds: Sequence[Feed]) -> None:
        self.onnx = require("onnx", "export")
        self.model = self.onnx.ModelProto()
        self.model.CopyFrom(model)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        computed = _computed(model, self.onnx)
        taken = [
            name
            for node in model.graph.node
            if node.output[0] not in computed
            for name in node.input
            if name in computed
        ]
        types = _integers(model, self.onnx)
        self.computed = [name for name in dict.fromkeys(taken) if name in types]
        self.shapes, self.values = _shapes(model, run, feeds, self.computed)
        self.made = 0

    def folded(self) -> Model:
        for node in self.model.graph.node:
            for position, name in enumerate(node.input):
                if name in self.values[0]:
                    self._same_each_time(node, position, [values[name] for values in self.values])
            handler = {"Resize": self._resize, "Reshape": self._reshape, "Slice": self._slice}.get(node.op_type)
            if handler is not None and all(node.input[0] in shapes for shapes in self.shapes):
                handler(node)
            if node.op_type in ("Expand", "Reshape") and self._keeps_shape(node):
                node.op_type = "Identity"
                del node.input[1:], node.attribute[:]
        self._first_channels_written()
        return self.model

    def _first_channels_written(self) -> None:
        """ScatterND that writes channels 0..k-1 of one picture (x[:, :k] = y) is y beside the other channels."""
        nodes = []
        for node in self.model.graph.node:
            first = self._channels_written(node)
            if first is None:
                nodes.append(node)
                continue
            rest = f"{node.output[0]}_rest"
            bounds = [self._constant(np.array([value], np.int64)) for value in (first, _OPEN, 1)]
            nodes.append(
                self.onnx.helper.make_node("Slice", [node.input[0], *bounds], [rest], name=f"{node.name}_rest")
            )
            nodes.append(self.onnx.helper.make_node("Concat", [node.input[2], rest], node.output, node.name, axis=1))
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def _channels_written(self, node: Any) -> int | None:
        places = (
            next((t for t in self.model.graph.initializer if t.name == node.input[1]), None)
            if (node.op_type == "ScatterND" and not node.attribute)
            else None
        )
        if places is None:
            return None
        index = self.onnx.numpy_helper.to_array(places)
        if index.ndim != 3 or index.shape[0] != 1 or index.shape[2] != 2:
            return None
        first = index.shape[1]
        return first if np.array_equal(index[0], [(0, channel) for channel in range(first)]) else None

    def _same_each_time(self, node: Any, position: int, found: list[np.ndarray[Any, Any]]) -> None:
        if found[0].size <= _SMALL and all(np.array_equal(found[0], other) for other in found[1:]):
            node.input[position] = self._constant(found[0])

    def _found(self, node: Any, position: int) -> list[np.ndarray[Any, Any]] | None:
        """What stands at an input at each size: computed, or one constant for all."""
        if len(node.input) <= position or not node.input[position]:
            return None
        name = node.input[position]
        if name in self.weights:
            return [self.onnx.numpy_helper.to_array(self.weights[name])] * len(self.values)
        return [values[name] for values in self.values] if name in self.values[0] else None

    def _resize(self, node: Any) -> None:
        """Sizes in proportion to the input's are scales."""
        sizes = self._found(node, 3)
        if sizes is None or len(sizes[0]) != len(self.shapes[0][node.input[0]]):
            return
        ratios = [size / shapes[node.input[0]] for size, shapes in zip(sizes, self.shapes, strict=True)]
        if all(np.array_equal(ratios[0], other) for other in ratios[1:]):
            node.input[2] = self._constant(ratios[0].astype(np.float32))
            del node.input[3:]

    def _reshape(self, node: Any) -> None:
        """0 says "as it was" at its place, and one side may be -1, "what remains"."""
        target = self._found(node, 1)
        if target is None or node.input[1] in self.weights:
            return
        befores = [shapes[node.input[0]] for shapes in self.shapes]
        afters = [shapes[node.output[0]] for shapes in self.shapes]
        said: list[int] = []
        for axis in range(len(afters[0])):
            sides = [int(after[axis]) for after in afters]
            kept = all(axis < len(b) and b[axis] == side for b, side in zip(befores, sides, strict=True))
            said.append(0 if kept else sides[0] if len(set(sides)) == 1 else -1)
        if said.count(-1) <= 1:
            node.input[1] = self._constant(np.array(said, np.int64))

    def _slice(self, node: Any) -> None:
        """An end that moves with the picture's far side is counted from there."""
        starts, ends, axes = (self._found(node, position) for position in (1, 2, 3))
        if starts is None or ends is None:
            return
        sides = [
            shapes[node.input[0]][np.arange(len(ends[0])) if axes is None else axes[i]]
            for i, shapes in enumerate(self.shapes)
        ]
        for position, found in ((1, starts), (2, ends)):
            said = [self._place([int(f[i]) for f in found], [int(s[i]) for s in sides]) for i in range(len(found[0]))]
            if None not in said:
                node.input[position] = self._constant(np.array(said, np.int64))

    def _place(self, found: list[int], sides: list[int]) -> int | None:
        if all(value >= side for value, side in zip(found, sides, strict=True)):
            return _OPEN
        if len(set(found)) == 1 and (len(found) > 1 or found[0] <= 0):
            return found[0]
        back = {value - side if value >= 0 else value for value, side in zip(found, sides, strict=True)}
        # At one size alone an end could be counted from either side; results are the same.
        return back.pop() if len(back) == 1 else None

    def _keeps_shape(self, node: Any) -> bool:
        names = (node.input[0], node.output[0])
        if not all(name in shapes for shapes in self.shapes for name in names):
            return False
        return all(np.array_equal(shapes[names[0]], shapes[names[1]]) for shapes in self.shapes)

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        self.made += 1
        name = f"size_{self.made}"
        tensor = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.model.graph.initializer.append(tensor)
        return name


_MOVING = SHAPERS | {"Resize", "Slice", "Expand", "ScatterND"}


def _computed(model: Model, onnx: Any) -> set[str]:
    """Tensors that depend on sizes and constants alone, and on sizes at all."""
    weights = {tensor.name for tensor in model.graph.initializer}
    found: set[str] = set()
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        plain = not any(attribute.HasField("g") for attribute in node.attribute)
        if node.op_type == "Shape" or (
            plain
            and inputs
            and all(name in found or name in weights for name in inputs)
            and not found.isdisjoint(inputs)
        ):
            found.update(node.output)
    return found


def _integers(model: Model, onnx: Any) -> set[str]:
    typed = onnx.shape_inference.infer_shapes(model).graph
    return {v.name for v in typed.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.INT64}
