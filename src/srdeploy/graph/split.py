"""Channels that carry the picture are carried in parts, so that 8 bits of each add up to more.

In a super-resolution network without skips one hidden channel holds the picture itself, and practically all that int8
loses is lost by rounding it. A channel behind a Relu is split by level: part j holds what lies between j and j + 1
k-ths of its range, and the next convolution adds the parts up. Each part has all 256 levels, so k parts round k times
finer. (R. Zhao et al., "Improving neural network quantization without retraining using outlier channel splitting",
ICML 2019, halve values instead; taking slices lets the quantiser's own saturation cut them.)
"""

from collections.abc import Mapping

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.channels import Channels, channels_of, stamp_channels
from srdeploy.graph.equalize import between
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Array, consumers
from srdeploy.graph.pixels import rename_border


def splittable(model: Model) -> dict[str, tuple[int, int]]:
    """Tensors whose channels can be split: by name, how many there are, and how many products one more costs a pixel.

    model: a float network from `equalized`. They are what a Relu gives to one convolution alone.
    """
    model = rename_border(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    found = {}
    for name, before, after in between(model):
        if made_by[name] == "Relu":
            first, second = shapes[before.input[1]], shapes[after.input[1]]
            found[name] = first[0], int(np.prod(first[1:]) + second[0] * np.prod(second[2:]))
    return found


def split(model: Model, parts: Mapping[str, Array], peaks: Mapping[str, float]) -> Model:
    """A copy that computes the same up to the peaks, in which channel c of a tensor is parts[c] channels.

    parts: int (C,) by tensor of `splittable`; 0 drops a channel. peaks: the largest value of each tensor, up to which
    it is split evenly; the Relu becomes a Clip there.
    """
    onnx = require("onnx", "export")
    stands = channels_of(model)
    model = rename_border(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: onnx.numpy_helper.to_array(tensor).astype(np.float64) for name, tensor in tensors.items()}
    for name, before, after in between(model):
        if name not in parts:
            continue
        counts, peak = parts[name], peaks[name]
        channel = np.repeat(np.arange(len(counts)), counts)
        many = counts[channel].astype(np.float64)
        part = np.concatenate([np.arange(count) for count in counts])
        weight, bias = (arrays[key] for key in before.input[1:3])
        arrays[before.input[1]] = weight[channel] * many.reshape(-1, *[1] * (weight.ndim - 1))
        arrays[before.input[2]] = bias[channel] * many - part * peak
        arrays[after.input[1]] = arrays[after.input[1]][:, channel] / many.reshape(1, -1, 1, 1)
        factors, count = stands[name].factors[channel] / many, len(counts)
        stands[name] = Channels(factors, channel, count, peak)
        stands[before.output[0]] = Channels(np.where(part == 0, factors, 0), channel, count)
        (relu,) = consumers(model, before.output[0])
        for what, value in (("least", 0), ("most", peak)):
            relu.input.append(f"{name}_{what}")
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), f"{name}_{what}"))
        relu.op_type = "Clip"
    for name, tensor in tensors.items():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[name].astype(np.float32), name))
    stamp_channels(model, stands)
    return model


def with_noise(model: Model, name: str) -> Model:
    """A copy of a float network with one more input, "noise" (N, C, h, w), that is added to a tensor."""
    onnx = require("onnx", "export")
    model = rename_border(model)
    nodes = list(model.graph.node)
    at = next(i for i, node in enumerate(nodes) if name in node.output)
    for node in nodes[at + 1 :]:
        node.input[:] = [f"{name}_noisy" if taken == name else taken for taken in node.input]
    nodes.insert(at + 1, onnx.helper.make_node("Add", [name, "noise"], [f"{name}_noisy"], name="noise"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    shape = ["batch", "channels", "noise_height", "noise_width"]
    model.graph.input.append(onnx.helper.make_tensor_value_info("noise", onnx.TensorProto.FLOAT, shape))
    return model
