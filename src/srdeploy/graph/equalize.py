"""Hidden channels brought to one range, so that 256 levels serve all of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.channels import Channels, stamp_channels
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Array, behind, consumers, convolution_nodes, grouped
from srdeploy.graph.pixels import rename_border


def between(model: Model) -> Iterator[tuple[str, Any, Any]]:
    """Tensors whose channels are free to be scaled, and the convolutions that make and take each.

    model: from rename_border. Between the two there is a Relu or nothing; nobody else takes the tensor or the weights.
    """
    found = convolution_nodes(model)
    made_by = {behind(model, node): node for node in found.values()}
    for after in found.values():
        name, before = after.input[0], made_by.get(after.input[0])
        if before is None or grouped(before) or grouped(after):
            continue
        if all(len(consumers(model, key)) == 1 for key in (name, *before.input[1:], *after.input[1:]) if key):
            yield name, before, after


def equalized(model: Model, peaks: Mapping[str, Array], least: float = 1 / 64) -> Model:
    """A copy that computes the same, with hidden channels scaled so that one range fits them all.

    Between two convolutions with a Relu or nothing in between, a channel may be divided by any positive number as
    long as its weights in the next are multiplied by it. peaks: largest magnitude of each channel (C,) by the names of
    with_activations; channels below `least` of the largest are scaled as if they reached it. What they were divided by
    stands in the copy's metadata, see channels_of.
    """
    onnx = require("onnx", "export")
    model = with_biases(rename_border(model))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    divided: dict[str, Channels] = {}
    for name, before, after in between(model):
        peak = peaks[name].astype(np.float64)
        factor = np.maximum(peak / (float(peak.max()) or 1.0), least)
        divided |= {tensor: Channels(factor) for tensor in {name, str(before.output[0])}}
        for part in before.input[1:]:
            shape = (-1, *[1] * (arrays[part].ndim - 1))
            arrays[part] = arrays[part] / factor.reshape(shape)
        arrays[after.input[1]] = arrays[after.input[1]] * factor.reshape(1, -1, 1, 1)
    for name, tensor in tensors.items():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[name].astype(np.float32), name))
    stamp_channels(model, divided)
    return model


def with_biases(model: Model) -> Model:
    """The same model, each convolution with weights of its own having a bias, if only of zeros."""
    onnx = require("onnx", "export")
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    for name, node in convolution_nodes(model).items():
        if len(node.input) < 3 or not node.input[2]:
            zeros = np.zeros(sizes[node.input[1]], np.float32)
            del node.input[2:]
            node.input.append(f"{name}_no_bias")
            model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, f"{name}_no_bias"))
    return model
