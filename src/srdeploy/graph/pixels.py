"""Pixels in and out inside the graph: uint8 NHWC around a float NCHW network."""

from typing import Any

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.additions import Additions, names_of
from srdeploy.graph.files import Model, border, cleaned, rename_values, shape_of


def wrap_pixels(model: Model, quantize: bool = True) -> Model:
    """A copy of a float network (N, C, H, W), 0..1, that takes and gives uint8 (N, H, W, C), all sizes free.

    In: cast, divide by 255 (a division, so that each value is the float nearest to level / 255). Out: times 255, then
    clip to 0..255, round half to even and cast. quantize True says the last three as one QuantizeLinear of scale
    1, which saturates and rounds in the same way and costs a CPU one pass over memory where they cost three; False
    says them one by one, for engines that take no uint8 quantisation (TensorRT).

    Scaling is not folded into the network's own weights: rounding those anew doubles the number of samples that are
    one level off.
    """
    model = rename_border(model)
    value_in, value_out = border(model, "the network")
    channels = _float_planes(value_out)
    if _float_planes(value_in) != channels:
        raise ModelError(f"the network takes {shape_of(value_in)[1]} channels and gives {channels}")
    build = _Border(model, channels)
    names = {"input": build.new.fresh("planes"), "output": build.new.fresh("enlarged")}
    rename_values(model.graph.node, names)
    network = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    build.entry(names["input"])
    model.graph.node.extend(network)
    (build.exit_quantized if quantize else build.exit_cast)(names["output"])
    return model


def cast_at_the_end(model: Model) -> Model:
    """A copy of a file's graph whose last step is a cast, as wrap_pixels says it with quantize False: TensorRT takes
    uint8 at the borders of a graph and nowhere in it."""
    onnx = require("onnx", "export")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    found = [i for i, node in enumerate(graph.node) if node.op_type == "QuantizeLinear" and node.name in _EXITS]
    if not found:
        return result
    (index,) = found
    quantize, rest = graph.node[index], list(graph.node[index + 1 :])
    levels, bytes_, last = quantize.input[0], quantize.output[0], graph.output[0].name
    zero, peak = (onnx.numpy_helper.from_array(np.float32(v), n) for v, n in ((0, "lowest_level"), (255, "top_level")))
    make = onnx.helper.make_node
    nodes = [
        make("Clip", [levels, zero.name, peak.name], ["levels_clipped"], name="pixels_clipped"),
        make("Round", ["levels_clipped"], ["levels_rounded" if bytes_ == last else bytes_], name="pixels_rounded"),
        *rest,  # moves of the channels, of floats now
    ]
    nodes[-1].output[0] = "levels_moved"
    nodes.append(make("Cast", ["levels_moved"], [last], name="pixels_cast", to=onnx.TensorProto.UINT8))
    kept = [*graph.node[:index], *nodes]
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend((zero, peak))
    return cleaned(result)


_EXITS = ("pixels_output", "pixels_bytes")


def rename_border(model: Model) -> Model:
    """A copy whose input is called "input", its output "output", with batch, height and width free where they were."""
    model = cleaned(model)
    value_in, value_out = border(model, "the network")
    names = {value_in.name: "input", value_out.name: "output"}
    others = {name for node in model.graph.node for name in node.output} - set(names)
    for clash in others & {"input", "output"}:
        names[clash] = f"{clash}_inner"
    rename_values(model.graph.node, names)
    for value, sides in ((value_in, ("height", "width")), (value_out, ("out_height", "out_width"))):
        value.name = names[value.name]
        for dim, name in zip(value.type.tensor_type.shape.dim, ("batch", "", *sides), strict=True):
            if not dim.HasField("dim_value"):
                dim.dim_param = name
    return model


def _float_planes(value: Any) -> int:
    onnx = require("onnx", "export")
    shape = shape_of(value)
    if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4 or shape[1] not in (1, 3):
        raise ModelError(
            f"{value.name} has shape {shape}; a network to wrap takes and gives float (N, C, H, W) with 1 or 3 channels"
        )
    return int(shape[1])


class _Border:
    """Appends the nodes before and after the network."""

    def __init__(self, model: Model, channels: int) -> None:
        self.onnx = require("onnx", "export")
        self.graph, self.channels = model.graph, channels
        taken = {*names_of(model), "input", "output"}
        self.new = Additions(taken, self.graph.node, self.graph.initializer, "pixels_")
        self.uint8, self.float32 = self.onnx.TensorProto.UINT8, self.onnx.TensorProto.FLOAT
        self.peak = self.new.constant("peak", np.float32(255))
        # One channel is in its place in either layout: two nodes rename the sides, and cost nothing.
        self.channel_axis = self.new.constant("channel_axis", np.array([1])) if channels == 1 else ""
        self.last_axis = self.new.constant("last_axis", np.array([3])) if channels == 1 else ""

    def entry(self, planes: str) -> None:
        self.graph.input.append(self._value("input", "height", "width"))
        levels = self.new.node("Cast", ["input"], "levels", to=self.float32)
        if self.channels == 1:
            levels = self._renamed(levels, self.last_axis, self.channel_axis)
        else:
            levels = self.new.node("Transpose", [levels], "levels_nchw", perm=[0, 3, 1, 2])
        self.new.last("Div", [levels, self.peak], planes)

    def exit_quantized(self, planes: str) -> None:
        levels = self.new.node("Mul", [planes, self.peak], "levels_out")
        scale = [self.new.constant("one", np.float32(1)), self.new.constant("zero", np.uint8(0))]
        if self.channels == 1:
            levels = self._renamed(levels, self.channel_axis, self.last_axis)
            self.new.last("QuantizeLinear", [levels, *scale], "output")
        else:  # moved as bytes, a quarter of the memory
            levels = self.new.node("QuantizeLinear", [levels, *scale], "bytes")
            self.new.last("Transpose", [levels], "output", perm=[0, 2, 3, 1])
        self.graph.output.append(self._value("output", "out_height", "out_width"))

    def exit_cast(self, planes: str) -> None:
        levels = self.new.node("Mul", [planes, self.peak], "levels_out")
        levels = self.new.node(
            "Clip", [levels, self.new.constant("lowest", np.float32(0)), self.peak], "levels_clipped"
        )
        levels = self.new.node("Round", [levels], "levels_rounded")
        if self.channels == 1:
            levels = self._renamed(levels, self.channel_axis, self.last_axis)
        else:
            levels = self.new.node("Transpose", [levels], "levels_nhwc", perm=[0, 2, 3, 1])
        self.new.last("Cast", [levels], "output", to=self.uint8)  # the only uint8 tensors are the graph's own borders
        self.graph.output.append(self._value("output", "out_height", "out_width"))

    def _renamed(self, name: str, drop: str, insert: str) -> str:
        flat = self.new.node("Squeeze", [name, drop], "flat")
        return self.new.node("Unsqueeze", [flat, insert], "sides")

    def _value(self, name: str, height: str, width: str) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self.uint8, ["batch", height, width, self.channels])
