"""Hidden channels brought to one range, so that 256 levels serve all of them."""

import json
from collections.abc import Mapping

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Array, behind, consumers, convolution_nodes, grouped
from srdeploy.graph.pixels import rename_border
from srdeploy.spec import METADATA_KEY

DIVISORS_KEY = f"{METADATA_KEY}.divisors"
"""The key of a file's metadata under which the divisors of its channels stand, for whoever compares its layers."""


def equalized(model: Model, peaks: Mapping[str, Array], least: float = 1 / 64) -> Model:
    """A copy that computes the same, with hidden channels scaled so that one range fits them all.

    Between two convolutions with a Relu or nothing in between, a channel may be divided by any positive number as
    long as its weights in the next are multiplied by it. peaks: largest magnitude of each channel (C,) by the names of
    with_activations; channels below `least` of the largest are scaled as if they reached it. The divisors stand in
    the copy's metadata, see divisors_of.
    """
    onnx = require("onnx", "export")
    model = rename_border(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    found = convolution_nodes(model)
    made_by = {behind(model, node): node for node in found.values()}
    divisors: dict[str, list[float]] = {}
    for after in found.values():
        name, before = after.input[0], made_by.get(after.input[0])
        if before is None or len(consumers(model, name)) > 1 or grouped(before) or grouped(after):
            continue
        peak = peaks[name].astype(np.float64)
        factor = np.maximum(peak / (float(peak.max()) or 1.0), least)
        divisors |= {tensor: [float(f"{f:.6g}") for f in factor] for tensor in {name, str(before.output[0])}}
        for part in before.input[1:]:
            if part:
                shape = (-1, *[1] * (arrays[part].ndim - 1))
                arrays[part] = arrays[part] / factor.reshape(shape)
        arrays[after.input[1]] = arrays[after.input[1]] * factor.reshape(1, -1, 1, 1)
    for name, tensor in tensors.items():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[name].astype(np.float32), name))
    model.metadata_props.add(key=DIVISORS_KEY, value=json.dumps(divisors, sort_keys=True, separators=(",", ":")))
    return model


def divisors_of(model: Model) -> dict[str, Array]:
    """What each channel (C,) of a tensor was divided by, by the tensor's name in the float network; empty if none."""
    found = next((entry.value for entry in model.metadata_props if entry.key == DIVISORS_KEY), "{}")
    return {str(name): np.asarray(values, np.float32) for name, values in json.loads(found).items()}
