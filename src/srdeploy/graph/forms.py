"""Somebody else's graph brought to our form: float32 NCHW, 0..1, RGB, called "input" and "output"."""

from typing import Any, Literal

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.facts import first_kernel
from srdeploy.graph.files import Model, border, cleaned, nodes_of, rename_values, shape_of
from srdeploy.graph.pixels import rename_border
from srdeploy.spec import PixelForm

Layout = Literal["NCHW", "NHWC"]

_BLOCKED = frozenset(("Loop", "Scan", "SequenceMap"))
"""Operators that may run without end; no network that enlarges one picture needs them."""


def to_theirs(planes: np.ndarray[Any, Any], form: PixelForm, levels: bool = False) -> np.ndarray[Any, Any]:
    """Our pixels, float32 (N, C, H, W) 0..1, as a network of another form takes them; levels: rounded to uint8."""
    values = planes[:, ::-1] if form.bgr and planes.shape[1] == 3 else planes
    values = values * np.float32(form.high - form.low) + np.float32(form.low)
    if form.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.rint(values).astype(np.uint8) if levels else values.astype(np.float32))


def from_theirs(values: np.ndarray[Any, Any], form: PixelForm) -> np.ndarray[Any, Any]:
    """What a network of another form gives, as ours gives it: float32 (N, C, H, W), 0..1, not clipped."""
    values = values.astype(np.float32)
    if form.layout == "NHWC" and values.ndim == 4:
        values = values.transpose(0, 3, 1, 2)
    if form.bgr_out and values.ndim == 4 and values.shape[1] == 3:
        values = values[:, ::-1]
    return (values - np.float32(form.low_out)) / np.float32(form.high_out - form.low_out)


def widened(model: Model) -> Model:
    """A copy in which half precision, of weights and of what lies between, is float32; every half is a float32."""
    onnx = require("onnx", "export")
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    model = cleaned(model)

    def tensor(held: Any) -> None:
        if held.data_type == half:
            values = onnx.numpy_helper.to_array(held).astype(np.float32)
            held.CopyFrom(onnx.numpy_helper.from_array(values, held.name))

    for held in model.graph.initializer:
        tensor(held)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == half:
                attribute.i = full
            if attribute.HasField("t"):
                tensor(attribute.t)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = full
    return model


def check_form(model: Model, path: str) -> tuple[int, Layout, tuple[int, int] | None]:
    """Channels, layout, and the (height, width) if they are fixed, that a graph says of itself.

    Raises ModelError for what is no network of one picture: other than one input and output, not 4 dimensions, several
    pictures at once, other channels than 1 or 3, other types than float, half and uint8, loops.
    """
    onnx = require("onnx", "export")
    loop = next((node.op_type for node in nodes_of(model.graph) if node.op_type in _BLOCKED), None)
    if loop is not None:
        raise ModelError(f"{path} computes in a {loop}, which may not end; srdeploy exports networks without loops")
    known = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8)
    for value in border(model, path):
        rank = len(value.type.tensor_type.shape.dim)
        if value.type.tensor_type.elem_type not in known:
            raise ModelError(f"{path} has {value.name} of another type than float; srdeploy exports pictures in float")
        if rank not in (0, 4):
            what = "several frames (video)" if rank == 5 else f"{rank} dimensions"
            raise ModelError(
                f"{path} has {value.name} of {what}; srdeploy exports networks of one picture (N, C, H, W)"
            )
    value, _ = border(model, path)
    shape = shape_of(value)
    if len(shape) != 4:
        raise ModelError(f"{path} does not say how many dimensions {value.name} has; srdeploy needs (N, C, H, W)")
    batch, second, third, last = shape
    if (batch or 1) > 1:
        raise ModelError(f"{path} takes {batch} pictures at once; export it for one, or for any number")
    if last in (1, 3) and second not in (1, 3):
        sides = (second, third)
        return last, "NHWC", _both(*sides, path)
    channels = second or first_kernel(model, value.name)
    if channels not in (1, 3):
        found = f"{channels} channels" if channels else "a number of channels that it does not say"
        raise ModelError(f"{path} takes {found}; srdeploy knows 1 (luma) and 3 (RGB)")
    return channels, "NCHW", _both(third, last, path)


def _both(height: int | None, width: int | None, path: str) -> tuple[int, int] | None:
    if (height is None) != (width is None):
        raise ModelError(f"{path} fixes one side of the picture and leaves the other free; export it with both free")
    return None if height is None or width is None else (height, width)


def takes_levels(model: Model) -> bool:
    """Whether the network's input is uint8, whose range needs no telling."""
    onnx = require("onnx", "export")
    return bool(border(model, "the network")[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8)


def in_our_form(model: Model, form: PixelForm, channels: int, batched: bool) -> Model:
    """A copy that takes and gives float32 NCHW, 0..1, RGB, around a graph of another form.

    batched: whether it holds for several pictures at once; otherwise its input says that it takes one.
    """
    onnx = require("onnx", "export")
    model = cleaned(model)
    value_in, value_out = border(model, "the network")
    kinds = [value.type.tensor_type.elem_type for value in (value_in, value_out)]
    sides = shape_of(value_in)[2:] if form.layout == "NCHW" else shape_of(value_in)[1:3]
    build = _Form(model, form, channels)
    names = build.rename(value_in.name, value_out.name)
    network = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    build.entry(names[0], kinds[0])
    model.graph.node.extend(network)
    build.exit(names[1], kinds[1])
    batch = "batch" if batched else 1
    make, full = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    model.graph.input.append(make("input", full, [batch, channels, sides[0] or "height", sides[1] or "width"]))
    model.graph.output.append(make("output", full, ["batch" if batched else 1, channels, "out_height", "out_width"]))
    return rename_border(model)


class _Form:
    """Appends the nodes that turn our pixels into theirs, and theirs into ours."""

    def __init__(self, model: Model, form: PixelForm, channels: int) -> None:
        self.onnx = require("onnx", "export")
        self.graph, self.form, self.channels = model.graph, form, channels
        self.made = 0

    def rename(self, *names: str) -> list[str]:
        """Move names out of the way of ours; the new names of the border."""
        taken = {name: f"theirs_{name}" for name in (*names, "input", "output")}
        rename_values(self.graph.node, taken)
        for tensor in self.graph.initializer:
            tensor.name = taken.get(tensor.name, tensor.name)
        return [taken[name] for name in names]

    def entry(self, target: str, kind: int) -> None:
        form, now = self.form, "input"
        if form.bgr and self.channels == 3:
            now = self._node("Gather", [now, self._constant(np.array([2, 1, 0]))], axis=1)
        now = self._scaled(now, form.high - form.low, form.low)
        if kind == self.onnx.TensorProto.UINT8:
            now = self._node("Round", [now])
        if form.layout == "NHWC":
            now = self._node("Transpose", [now], perm=[0, 2, 3, 1])
        self._node("Cast", [now], target, to=kind)

    def exit(self, source: str, kind: int) -> None:
        form, now = self.form, self._node("Cast", [source], to=self.onnx.TensorProto.FLOAT)
        if form.layout == "NHWC":
            now = self._node("Transpose", [now], perm=[0, 3, 1, 2])
        if form.bgr_out and self.channels == 3:
            now = self._node("Gather", [now, self._constant(np.array([2, 1, 0]))], axis=1)
        spread = form.high_out - form.low_out
        if form.low_out:
            now = self._node("Sub", [now, self._constant(np.float32(form.low_out))])
        if spread != 1:
            now = self._node("Div", [now, self._constant(np.float32(spread))])
        self._node("Identity", [now], "output")

    def _scaled(self, name: str, spread: float, low: float) -> str:
        if spread != 1:
            name = self._node("Mul", [name, self._constant(np.float32(spread))])
        return self._node("Add", [name, self._constant(np.float32(low))]) if low else name

    def _node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        self.made += 1
        output = output or f"form_{self.made}"
        self.graph.node.append(self.onnx.helper.make_node(op, inputs, [output], name=f"form_{output}", **attributes))
        return output

    def _constant(self, value: Any) -> str:
        self.made += 1
        name = f"form_{self.made}"
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name


def without_identities(model: Model) -> Model:
    """A copy without Identity nodes and Casts of a type to itself, as far as they are not the graph's output."""
    onnx = require("onnx", "export")
    model = cleaned(model)
    typed = onnx.shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*typed.value_info, *typed.input, *typed.output)}
    outputs = {value.name for value in model.graph.output}
    inner = {value.name for value in model.graph.input} | outputs
    same: dict[str, str] = {}
    kept: list[Any] = []
    for node in model.graph.node:
        rename_values([node], same)
        idle = node.op_type == "Identity" or (
            node.op_type == "Cast" and kinds.get(node.input[0], 0) == node.attribute[0].i
        )
        if idle and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
            continue
        maker = kept[-1] if kept and idle and node.input[0] not in inner else None
        if maker is not None and list(maker.output) == [node.input[0]] and not _read_twice(model, node.input[0]):
            maker.output[:] = node.output  # the last node may give the output itself
            continue
        kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return cleaned(model)


def _read_twice(model: Model, name: str) -> bool:
    return sum(list(node.input).count(name) for node in model.graph.node) > 1
