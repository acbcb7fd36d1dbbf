"""One node at a time: each result is rounded to half, and what overflows is seen."""

from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import open_graph, run_graph
from srdeploy.errors import ParityError
from srdeploy.graph.convert import fp16_from_onnx
from srdeploy.graph.pixels import wrap_pixels
from srdeploy.graph.steps import rounded_runner, steps_of

pytest.importorskip("onnx")


def test_one_node_is_correctly_rounded_to_half(network: Any) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (1, 1, 1, 1)).astype(np.float16)
    model = fp16_from_onnx(network([("Conv", ["x", "w"], {})], {"w": weights.astype(np.float32)}))
    conv = next(step for step in steps_of(model) if step.node == "Conv_0")
    halves = rng.normal(0, 1, (1, 1, 64, 64)).astype(np.float16)
    result = run_graph(conv.model, {conv.inputs[0]: halves})[conv.outputs[0]]
    assert result.dtype == np.float16
    exact = halves.astype(np.float64) * float(weights.reshape(-1)[0])  # of one product, exact in double
    assert np.array_equal(result, exact.astype(np.float16))


def test_every_result_is_rounded(network: Any) -> None:
    # (x + 1) - 1 in half loses all of x below 2**-11; widened to fp32, it loses nothing of it.
    model = fp16_from_onnx(network([("Add", ["x", "one"], {}), ("Sub", ["x", "one"], {})], {"one": np.float32(1)}))
    picture = np.full((1, 1, 4, 4), 2.0**-13, np.float32)
    assert rounded_runner(model, open_graph)({"input": picture})["output"].max() == 0


def test_an_overflow_in_the_middle_is_seen(network: Any) -> None:
    model = fp16_from_onnx(
        network(
            [("Mul", ["x", "big"], {}), ("Mul", ["x", "big"], {}), ("Mul", ["x", "small"], {})],
            {"big": np.float32(300), "small": np.float32(1 / 90000)},
        )
    )
    picture = np.ones((1, 1, 4, 4), np.float32)
    # The CPU provider widens: there the overflow cannot be seen.
    assert np.isfinite(run_graph(model.SerializeToString(), {"input": picture})["output"]).all()
    with pytest.raises(ParityError, match="Mul_1 gives values that are not finite"):
        rounded_runner(model, open_graph)({"input": picture})


def test_float_graphs_give_the_same_result_in_steps(small: Any) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (1, 40, 30, 1), np.uint8)
    wrapped = wrap_pixels(small)
    whole = run_graph(wrapped.SerializeToString(), {"input": pixels})["output"]
    stepped = rounded_runner(wrapped, open_graph)({"input": pixels})["output"]
    assert np.array_equal(whole, stepped)


def test_skip_connections_live_long_enough(network: Any) -> None:
    model = network(
        [("Relu", ["x"], {}), ("Neg", ["x"], {}), ("Add", ["x", "n0"], {}), ("Add", ["x", "input"], {})], {}
    )
    picture = np.random.default_rng(0).random((1, 1, 5, 5), dtype=np.float32)
    assert np.array_equal(rounded_runner(model, open_graph)({"input": picture})["output"], picture)
