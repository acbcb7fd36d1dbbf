"""Channels in parts: the same function, and a file whose layers can still be compared with the network's."""

from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import ort_graph
from srdeploy.bisect import first_parting
from srdeploy.graph.channels import channels_of
from srdeploy.graph.equalize import equalized
from srdeploy.graph.files import load_model
from srdeploy.graph.int8 import int8_from_onnx, with_activations
from srdeploy.graph.lanes import in_lanes, out_of_lanes
from srdeploy.graph.split import split, splittable, with_noise
from srdeploy.parity import pictures_for

onnx = pytest.importorskip("onnx")

NAME = "espcn-x2"


@pytest.fixture(scope="module")
def network() -> Any:
    return load_model(zoo.find(NAME, None, "fp32", "float"))


def _run(model: Any, planes: Any) -> dict[str, Any]:
    return ort_graph.run_graph(with_activations(model)[0].SerializeToString(), {"input": planes})


@pytest.fixture(scope="module")
def pixels(network: Any) -> Any:
    from srdeploy.graph.files import read_spec

    return pictures_for(read_spec(network, NAME), None)["owl.png"][None, 80:120, 90:142]


@pytest.fixture(scope="module")
def parted(network: Any, pixels: Any) -> tuple[Any, dict[str, tuple[float, float]]]:
    """The network with its first channels in parts and one dropped, and ranges for it."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    found = _run(network, planes)
    same = equalized(network, {name: np.abs(value).max(axis=(0, 2, 3)) for name, value in found.items()})
    values = _run(same, planes)
    parts = {}
    for name, (count, _) in splittable(same).items():
        parts[name] = np.array([3, 2, *[1] * (count - 2)])
        quiet = np.flatnonzero(values[name].max(axis=(0, 2, 3)) == 0)
        parts[name][quiet[:1]] = 0
    peaks = {name: float(values[name].max()) for name in parts}
    ranges = {name: (float(min(value.min(), 0)), float(value.max())) for name, value in values.items()}
    assert len(parts) == 2 and any(0 in counts for counts in parts.values())
    return split(same, parts, peaks), ranges | {name: (0.0, peak) for name, peak in peaks.items()}


def test_it_computes_the_same_and_rounds_finer(network: Any, pixels: Any, parted: Any) -> None:
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    model, ranges = parted
    onnx.checker.check_model(model, full_check=True)
    exact = _run(network, planes)["output"]
    np.testing.assert_allclose(_run(model, planes)["output"], exact, atol=1e-5)
    # The picture's channel as the last convolution takes it: three parts have three times as many levels.
    shown = int8_from_onnx(model, ranges, show="relu_1")
    (value,) = (
        v for k, v in ort_graph.run_graph(shown.SerializeToString(), {"input": pixels}).items() if k != "output"
    )
    whole = channels_of(model)["relu_1"].merged(value)[:, 0]
    assert len(np.unique(whole)) > 256


def test_its_layers_are_still_comparable(pixels: Any, parted: Any) -> None:
    plain = int8_from_onnx(*parted)
    laned = in_lanes(plain)
    back = out_of_lanes(laned)
    onnx.checker.check_model(back, full_check=True)
    results = [ort_graph.run_graph(m.SerializeToString(), {"input": pixels})["output"] for m in (plain, laned, back)]
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    exact = load_model(zoo.find(NAME))
    assert first_parting(back, exact, pixels, "int8", channels_of(laned)) is None
    weights = next(t for t in back.graph.initializer if t.name == "node_conv2d_1_weight")
    levels = onnx.numpy_helper.to_array(weights).copy()
    levels[5] = np.rint(levels[5] * 0.6)
    weights.CopyFrom(onnx.numpy_helper.from_array(levels, weights.name))
    found = first_parting(back, exact, pixels, "int8", channels_of(laned))
    assert found is not None and found.layer == "node_conv2d_1"


def test_noise_is_added_where_it_is_asked_for(network: Any) -> None:
    planes = np.random.default_rng(0).random((1, 1, 9, 8), np.float32)
    name = next(iter(splittable(network)))
    exact = _run(network, planes)
    noisy = with_noise(network, name).SerializeToString()
    silence = np.zeros_like(exact[name])
    (same,) = ort_graph.run_graph(noisy, {"input": planes, "noise": silence}).values()
    np.testing.assert_array_equal(same, exact["output"])
    (other,) = ort_graph.run_graph(noisy, {"input": planes, "noise": silence + 0.1}).values()
    assert np.abs(other - same).max() > 0.01
