"""Nodes and constants that are added to a graph, each under a name that nothing in it has."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model


def names_of(model: Model) -> set[str]:
    """Names of all values that the nodes of a graph take and give."""
    return {name for node in model.graph.node for name in (*node.input, *node.output)}


class Additions:
    """taken: the names there are. nodes, constants: what is appended to, lists or a graph's own fields. prefix: of the
    names of nodes."""

    def __init__(self, taken: Iterable[str], nodes: Any, constants: Any, prefix: str = "") -> None:
        self.onnx = require("onnx", "export")
        self._taken = set(taken)
        self._nodes, self._constants = nodes, constants
        self._prefix = prefix

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; give the name of its result, which is `output` or like it."""
        return self.last(op, inputs, self.fresh(output), **attributes)

    def last(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node whose result is called exactly `output`."""
        name = f"{self._prefix}{output}"
        self._nodes.append(self.onnx.helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Append a constant; give its name, which is `name` or like it."""
        name = self.fresh(name)
        self._constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def fresh(self, name: str) -> str:
        """`name` or one like it that is not taken, and is from now on."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
