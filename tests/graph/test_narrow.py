"""Rewritten convolutions compute the same; others are left alone."""

from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import run_graph
from srdeploy.graph.facts import facts_of
from srdeploy.graph.files import check
from srdeploy.graph.narrow import rows_apart, rows_together

pytest.importorskip("onnx")


def _weights(*shape: int) -> Any:
    return np.random.default_rng(3).normal(0, 0.1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("outputs", "kernel", "pads"), [(3, (5, 5), [2] * 4), (1, (7, 3), [3, 1, 3, 1]), (2, (5, 5), [0, 2, 2, 1])]
)
def test_a_convolution_to_few_channels(network: Any, outputs: int, kernel: tuple[int, int], pads: list[int]) -> None:
    nodes = [("Conv", ["x", "w0"], {}), ("Conv", ["x", "w1", "b1"], {"pads": pads}), ("Conv", ["x", "w2"], {})]
    weights = {"w0": _weights(32, 1, 1, 1), "w1": _weights(outputs, 32, *kernel), "b1": _weights(outputs)}
    model = network(nodes, {**weights, "w2": _weights(1, outputs, 1, 1)})
    made = rows_apart(model)
    check(made, "made")
    assert [node.op_type for node in made.graph.node].count("Slice") == kernel[0]
    picture = np.random.default_rng(0).random((2, 1, 13, 17), np.float32)
    a, b = (run_graph(m.SerializeToString(), {"input": picture})["output"] for m in (model, made))
    assert a.shape == b.shape
    assert 0 < np.abs(a - b).max() < 1e-5 or np.array_equal(a, b)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((16, 32, 3, 3), {}),
        ((4, 32, 3, 3), {}),
        ((3, 32, 1, 5), {}),
        ((3, 8, 5, 5), {}),
        ((3, 32, 5, 5), {"strides": [2, 2]}),
        ((3, 32, 5, 5), {"dilations": [2, 2]}),
        ((2, 16, 5, 5), {"group": 2}),
    ],
)
def test_what_gains_nothing_stays(network: Any, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    group = attributes.get("group", 1)
    nodes = [("Conv", ["x", "w0"], {}), ("Conv", ["x", "w1"], attributes), ("Conv", ["x", "w2"], {})]
    weights = {"w0": _weights(shape[1] * group, 1, 1, 1), "w1": _weights(*shape), "w2": _weights(1, shape[0], 1, 1)}
    assert [node.op_type for node in rows_apart(network(nodes, weights)).graph.node] == ["Conv"] * 3


def test_the_halo_stays(network: Any) -> None:
    nodes = [("Conv", ["x", "w0"], {}), ("Conv", ["x", "w1"], {"pads": [2] * 4})]
    model = network(nodes, {"w0": _weights(32, 1, 1, 1), "w1": _weights(1, 32, 5, 5)})
    assert facts_of(model).halo == 2
    assert "Slice" in {node.op_type for node in rows_apart(model).graph.node}


@pytest.mark.parametrize("biased", [True, False])
def test_rows_come_together_again(network: Any, biased: bool) -> None:
    inputs = ["x", "w1", "b1"] if biased else ["x", "w1"]
    nodes = [("Conv", ["x", "w0"], {}), ("Conv", inputs, {"pads": [1, 2, 3, 0]}), ("Conv", ["x", "w2"], {})]
    weights = {"w0": _weights(32, 1, 1, 1), "w1": _weights(3, 32, 5, 5), "b1": _weights(3), "w2": _weights(1, 3, 1, 1)}
    model = network(nodes, weights)
    apart, (first, second, last) = rows_apart(model), (node.name for node in model.graph.node)
    assert rows_together(apart, {first}).SerializeToString() == apart.SerializeToString()
    made = rows_together(apart, {second})
    check(made, "made")
    assert [(node.op_type, node.name) for node in made.graph.node] == [("Conv", name) for name in (first, second, last)]
    picture = np.random.default_rng(0).random((2, 1, 13, 17), np.float32)
    a, b = (run_graph(m.SerializeToString(), {"input": picture})["output"] for m in (model, made))
    assert np.array_equal(a, b)


def test_other_sums_stay(network: Any) -> None:
    nodes = [("Conv", ["x", "w0"], {}), ("Sum", ["x", "x"], {})]
    model = network(nodes, {"w0": _weights(1, 1, 1, 1)})
    model.graph.node[1].name = "node_sum"
    assert [node.op_type for node in rows_together(model, {"node"}).graph.node] == ["Conv", "Sum"]
