"""The int8 graph that TensorRT takes: symmetric signed levels with zero point 0, floats at the borders.

TensorRT's parser refuses uint8 levels and zero points other than 0, and int32 constants behind a DequantizeLinear. So
activations are int8 (behind a Relu 127 levels are used), biases stay float, and pixels, which 127 levels would halve,
stay float up to behind the first convolution and from the last one on: each is a small part of the whole.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Int8, convolution_nodes, on_grid
from srdeploy.graph.pixels import rename_border
from srdeploy.ranges import Range
from srdeploy.rounding import Rounded


def signed_from_onnx(
    model: Model,
    ranges: Mapping[str, Range],
    keep: Collection[str] = (),
    weights: Mapping[str, Rounded] | None = None,
    show: str = "",
) -> Model:
    """A copy of a float network, float in and out as it was, that convolves in symmetric signed integers.

    ranges, keep, weights and show are those of int8_from_onnx; convolutions that take pixels stay float too.
    """
    floats = frozenset((*keep, *at_pixels(model)))
    result = _Signed(rename_border(model), ranges, floats, weights or {}).convert(show)
    result.metadata_props.extend(model.metadata_props)  # how channels stand for the network's
    return result


def at_pixels(model: Model) -> list[str]:
    """Names of the convolutions that take the input: those stay float."""
    model = rename_border(model)
    return [name for name, node in convolution_nodes(model).items() if node.input[0] == "input"]


class _Signed(Int8):
    def step(self, name: str, span: Range) -> tuple[np.float32, Any]:
        """Scale of 127 levels either side, zero point 0."""
        reach = max(abs(span[0]), abs(span[1]))
        return np.float32(reach / 127 or 1.0), np.int8(0)

    def tensors(self, names: list[str]) -> list[str]:
        """All but pixels."""
        grid = on_grid(self.model)
        return [name for name in names if name not in grid]

    def borders(self) -> None:
        """Left as they are."""

    def bias(self, node: Any, bias: Any, products: Any) -> str:
        """A float constant."""
        return self.new.constant(f"{node.name}_bias", bias.astype(np.float32))
