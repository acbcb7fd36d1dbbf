"""The same network in half precision, with every type said in the graph.

Written here rather than taken: ONNX Runtime's converter sits behind another door and keeps a list of operators in
fp32, which puts casts into the middle of a graph; onnxconverter-common (Polygraphy's too) is no longer released.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.graph.files import Model, cleaned

_STAYS_FLOAT = {("Resize", 1), ("Resize", 2)}
"""Inputs (operator, position) that the standard types as float whatever the data is: regions and scales."""


def fp16_from_onnx(model: Model, keep: Collection[str] = ()) -> Model:
    """A copy of a float graph that computes in float16: weights and all that lies between, fp32 at the borders.

    Input and output stay float32 behind a Cast each, so that other tools can feed the file. keep: names of nodes
    that stay fp32, with Casts around them. The result is strongly typed: an engine needs no precision flag.
    Raises ModelError when a weight does not fit into half precision.
    """
    return _Half(cleaned(model), frozenset(keep)).convert()


class _Half:
    """One pass over the nodes in order, remembering the type that each float tensor now has."""

    def __init__(self, model: Model, keep: frozenset[str]) -> None:
        self.onnx = require("onnx", "export")
        self.model, self.keep = model, keep
        self.float, self.half = self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.FLOAT16
        typed = self.onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        values = (*typed.value_info, *typed.input, *typed.output)
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == self.float}
        self.weights = {t.name: t for t in model.graph.initializer if t.data_type == self.float}
        self.now = dict.fromkeys((*self.weights, *(v.name for v in model.graph.input)), self.float)
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []
        self.initializers = [t for t in model.graph.initializer if t.name not in self.weights]

    def convert(self) -> Model:
        outputs = {value.name for value in self.model.graph.output}
        for node in self.model.graph.node:
            self._node(node, outputs)
        for name in sorted(outputs & self.floats):
            self._cast_to_border(name)
        graph = self.model.graph
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.initializers)
        return self.model

    def _node(self, node: Any, outputs: set[str]) -> None:
        wanted = self.float if node.name in self.keep else self.half
        for position, name in enumerate(node.input):
            if name in self.floats or name in self.weights:
                fixed = (node.op_type, position) in _STAYS_FLOAT
                node.input[position] = self._need(name, self.float if fixed else wanted)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == self.float:
                attribute.i = wanted
            if attribute.HasField("t") and attribute.t.data_type == self.float and wanted == self.half:
                attribute.t.CopyFrom(self._rounded(attribute.t, attribute.t.name))
        for position, name in enumerate(node.output):
            if name in self.floats:
                inner = f"{name}_half" if name in outputs else name
                node.output[position] = inner
                self.now[name] = wanted
        self.nodes.append(node)

    def _need(self, name: str, wanted: int) -> str:
        """The name under which `name` can be had in the wanted type, making it when it is not there yet."""
        if name in self.weights:
            made = name if wanted == self.half else f"{name}_float"
            if (name, wanted) not in self.casts:
                tensor = self.onnx.TensorProto()
                tensor.CopyFrom(self.weights[name])
                tensor.name = made
                self.initializers.append(tensor if wanted == self.float else self._rounded(tensor, made))
                self.casts[name, wanted] = made
            return made
        inner = f"{name}_half" if name in {v.name for v in self.model.graph.output} else name
        if self.now[name] == wanted:
            return inner
        if (name, wanted) not in self.casts:
            made = f"{name}_as_{'half' if wanted == self.half else 'float'}"
            self.nodes.append(self.onnx.helper.make_node("Cast", [inner], [made], name=f"Cast_{made}", to=wanted))
            self.casts[name, wanted] = made
        return self.casts[name, wanted]

    def _cast_to_border(self, name: str) -> None:
        self.nodes.append(
            self.onnx.helper.make_node("Cast", [f"{name}_half"], [name], name=f"Cast_{name}", to=self.float)
        )

    def _rounded(self, tensor: Any, name: str) -> Any:
        values = self.onnx.numpy_helper.to_array(tensor)
        largest = float(np.abs(values).max(initial=0.0))
        if not largest <= float(np.finfo(np.float16).max):
            raise ModelError(
                f"the weights {name} reach {largest:g}, half precision ends at 65504; export without --fp16"
            )
        return self.onnx.numpy_helper.from_array(values.astype(np.float16), name)
