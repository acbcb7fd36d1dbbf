"""A graph cut into graphs of one node, so that every node's result takes on its own type.

ONNX Runtime's CPU provider computes a float16 graph in float32 from end to end; run node by node, each result
is rounded to half precision, as an engine with half arithmetic leaves it, and what overflows 65504 is seen as infinite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from srdeploy.errors import ParityError
from srdeploy.extras import require
from srdeploy.graph.files import Model, cleaned, outer_names

Arrays = Mapping[str, np.ndarray[Any, Any]]
Runner = Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Step:
    """One node as a model of its own. inputs, outputs: names of what it takes and gives; `last_use`: inputs that no
    later step takes."""

    node: str
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last_use: tuple[str, ...]


def steps_of(model: Model) -> list[Step]:
    """The nodes of a graph in order, each with its weights inside."""
    onnx = require("onnx", "export")
    model = cleaned(model)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*typed.value_info, *typed.input, *typed.output)}
    sides = {
        v.name: [dim.dim_value or None for dim in v.type.tensor_type.shape.dim]
        for v in (*typed.value_info, *typed.input, *typed.output)
        if v.type.tensor_type.HasField("shape")  # of some nothing is known, which is not the same as no side
    }
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = {value.name for value in model.graph.output}
    steps: list[Step] = []
    for node in reversed(model.graph.node):
        taken = [*node.input, *sorted(outer_names(node) & set(types))]
        inputs = tuple(dict.fromkeys(name for name in taken if name and name not in weights))
        last_use = tuple(name for name in inputs if name not in kept)
        kept.update(inputs)
        single = onnx.helper.make_model(
            onnx.helper.make_graph(
                [node],
                node.name,
                [_value(onnx, name, types, sides) for name in inputs],
                [_value(onnx, name, types, sides) for name in node.output if name],
                [weights[name] for name in dict.fromkeys((*node.input, *sorted(outer_names(node)))) if name in weights],
            ),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
        )
        outputs = tuple(name for name in node.output if name)
        steps.append(Step(node.name, single.SerializeToString(deterministic=True), inputs, outputs, last_use))
    return steps[::-1]


def _value(onnx: Any, name: str, types: Mapping[str, int], sides: Mapping[str, list[int | None]]) -> Any:
    shape = sides.get(name)
    # Free but for lists of sizes: ONNX Runtime takes one of unknown length for an empty one.
    free = shape if shape is None or len(shape) < 2 else [None] * len(shape)
    return onnx.helper.make_tensor_value_info(name, types[name], free)


def rounded_runner(model: Model, open_graph: Callable[[bytes], Runner]) -> Runner:
    """A function that runs `model` node by node, each by a session of its own from `open_graph`.

    It raises ParityError when a node gives a value that is not finite, naming the node: half precision ends at 65504.
    """
    steps = [(step, open_graph(step.model)) for step in steps_of(model)]
    names = [value.name for value in model.graph.output]

    def run(feeds: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        alive = dict(feeds)
        for step, session in steps:
            results = session({name: alive[name] for name in step.inputs})
            for name in step.last_use:
                del alive[name]
            if not all(_finite(value) for value in results.values()):
                raise ParityError(f"{step.node} gives values that are not finite (half precision ends at 65504)")
            alive.update(results)
        return {name: alive[name] for name in names}

    return run


def _finite(value: np.ndarray[Any, Any]) -> bool:
    if (
        value.dtype == np.float16
    ):  # an exponent of all ones is infinity or NaN; numpy's own isfinite is slower on halves
        return not bool(((value.view(np.uint16) & 0x7C00) == 0x7C00).any())
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())
