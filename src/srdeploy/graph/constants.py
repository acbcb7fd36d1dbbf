"""What a graph computes from its weights alone, computed once."""

from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model, cleaned
from srdeploy.graph.runs import Run

_LARGEST = 1 << 24
"""Elements of the largest tensor that is stored in place of its making; a larger one would swell the file."""

_RANDOM = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
)


def with_constants_folded(model: Model, run: Run) -> Model:
    """A copy in which nodes that take only weights and constants are replaced by what they give."""
    onnx = require("onnx", "export")
    model = cleaned(model)
    known = {tensor.name for tensor in model.graph.initializer}
    fixed = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        subgraph = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if node.op_type not in _RANDOM and not subgraph and all(name in known for name in inputs):
            known.update(name for name in node.output if name)
            fixed.append(node)
    made = {name for node in fixed for name in node.output if name}
    outputs = {value.name for value in model.graph.output}
    used = {name for node in model.graph.node if not made.issuperset(node.output) for name in node.input} - outputs
    wanted = [name for node in fixed for name in node.output if name in used]
    if not wanted:
        return model
    found = run(_alone(model, fixed, wanted, onnx), {})
    small = {name: value for name, value in found.items() if value.size <= _LARGEST}
    kept = [node for node in model.graph.node if not all(name in small for name in node.output if name)]
    nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in small.items()
    )
    return cleaned(model)


def _alone(model: Model, nodes: list[Any], outputs: list[str], onnx: Any) -> bytes:
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    data: bytes = alone.SerializeToString()
    return data
