"""Declared facts are probed: one pixel is changed, and what changes is exactly what the halo says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import run_graph
from srdeploy.errors import ModelError
from srdeploy.graph.facts import Facts, facts_of
from srdeploy.graph.files import parse_model

onnx = pytest.importorskip("onnx")


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


SAME3 = {"pads": [1, 1, 1, 1]}
SHUFFLE = ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"})
WIDE = {"w": ones(4, 1, 3, 3)}

# name -> nodes, weights, (scale, halo, multiple) worked out by hand
CASES: dict[str, tuple[list[Any], dict[str, Any], tuple[int, int, int]]] = {
    "one 5x5": ([("Conv", ["x", "w"], {"pads": [2] * 4})], {"w": ones(1, 1, 5, 5)}, (1, 2, 1)),
    "dilated 3x3": ([("Conv", ["x", "w"], {"pads": [3] * 4, "dilations": [3, 3]})], {"w": ones(1, 1, 3, 3)}, (1, 3, 1)),
    "5x1, auto pad": ([("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER"})], {"w": ones(1, 1, 5, 1)}, (1, 2, 1)),
    "even kernel": ([("Conv", ["x", "w"], {"pads": [0, 0, 3, 3]})], {"w": ones(1, 1, 4, 4)}, (1, 3, 1)),
    "shuffled": ([("Conv", ["x", "w"], SAME3), SHUFFLE], WIDE, (2, 1, 1)),
    "edge padding": ([("Pad", ["x", "p"], {"mode": "edge"}), ("Conv", ["x", "w"], {})],
                     {"p": ints(0, 0, 2, 2, 0, 0, 2, 2), "w": ones(1, 1, 5, 5)}, (1, 2, 1)),
    "convolution after the shuffle": ([("Conv", ["x", "w"], SAME3), SHUFFLE, ("Conv", ["x", "v"], SAME3)],
                                      WIDE | {"v": ones(1, 1, 3, 3)}, (2, 2, 1)),
    "strided down, transposed up": (
        [("Conv", ["x", "w"], {"strides": [2, 2], "pads": [1, 1, 0, 0]}),
         ("ConvTranspose", ["x", "v"], {"strides": [4, 4]})],
        {"w": ones(4, 1, 3, 3), "v": ones(4, 1, 4, 4)}, (2, 2, 2)),
    "pooled and resized": (
        [("MaxPool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Conv", ["x", "w"], SAME3),
         ("Resize", ["x", "", "s"], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                                     "nearest_mode": "floor"})],
        {"w": ones(1, 1, 3, 3), "s": ones(4) * np.float32([1, 1, 4, 4])}, (2, 3, 2)),
    "space to depth": ([("SpaceToDepth", ["x"], {"blocksize": 2}), ("Conv", ["x", "w"], SAME3),
                        ("DepthToSpace", ["x"], {"blocksize": 4, "mode": "CRD"})],
                       {"w": ones(16, 4, 3, 3)}, (2, 3, 2)),
    "bilinear": ([("Resize", ["x", "", "s"], {"mode": "linear"})], {"s": np.float32([1, 1, 2, 2])}, (2, 1, 1)),
    "bicubic": ([("Resize", ["x", "", "s"], {"mode": "cubic"})], {"s": np.float32([1, 1, 4, 4])}, (4, 2, 1)),
    "skip connection": ([("Conv", ["x", "w"], {"pads": [3] * 4}), ("Add", ["x", "input"], {})],
                        {"w": ones(1, 1, 7, 7)}, (1, 3, 1)),
    "channels last and back": (
        [("Conv", ["x", "w"], SAME3), ("Transpose", ["x"], {"perm": [0, 2, 3, 1]}), ("MatMul", ["x", "m"], {}),
         ("Transpose", ["x"], {"perm": [0, 3, 1, 2]}), SHUFFLE],
        WIDE | {"m": ones(4, 4)}, (2, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_facts_are_those_worked_out_by_hand(case: str, network: Callable[..., Any]) -> None:
    nodes, weights, expected = CASES[case]
    facts = facts_of(network(nodes, weights))
    assert (facts.scale, facts.halo, facts.multiple, facts.why_not) == (*expected, None)


@pytest.mark.parametrize("case", CASES)
def test_one_pixel_reaches_as_far_as_the_halo(case: str, network: Callable[..., Any]) -> None:
    nodes, weights, _ = CASES[case]
    model = network(nodes, weights)
    # A bicubic kernel has its zeros and signs by definition; every weight that is free is small and positive.
    assert_halo_is_exact(model, facts_of(model))


def table() -> list[str]:
    try:
        from srdeploy.learn.nets import NETWORKS
    except ImportError:
        return []
    return list(NETWORKS)


BY_HAND = {
    "srresnet": 4 + 16 * 2 + 1 + 1 + 2,  # 9x9, blocks, 3x3, 3x3 before the shuffle, 9x9 after it (4 of 3 pixels each)
    "attention-48x6": 1 + 6 * 3 + 2,
    "attention-64x6": 1 + 6 * 3 + 2,
}
"""Networks so deep, with skips, that a far pixel's share is lost to the rounding of float32 and cannot be seen."""


@pytest.mark.parametrize("name", table())
def test_networks_reach_as_far_as_their_halo(name: str) -> None:
    pytest.importorskip("onnxscript")
    from srdeploy.learn.convert import onnx_from_net
    from srdeploy.learn.nets import NETWORKS

    scale = 2 if name.startswith("srcnn") else 3
    model = parse_model(onnx_from_net(NETWORKS[name].build(scale)), name)
    facts = facts_of(model)
    assert (facts.scale, facts.channels) == (scale, NETWORKS[name].channels)
    if name in BY_HAND:
        assert facts.halo == BY_HAND[name]
    else:
        assert_halo_is_exact(model, facts)


def assert_halo_is_exact(model: Any, facts: Facts) -> None:
    """Change one pixel at a time, far from the border, and look which output pixels change."""
    positive(model)
    assert facts.halo is not None
    side = 4 * facts.halo + 8 * facts.multiple + 8
    side -= side % facts.multiple
    rng = np.random.default_rng(0)
    picture = rng.random((1, facts.channels, side, side), dtype=np.float32)
    data = model.SerializeToString()
    before = run_graph(data, {"input": picture})["output"]
    reach = 0
    middle = side // 2 - side // 2 % facts.multiple
    for shift in range(facts.multiple):
        y = x = middle + shift
        changed = picture.copy()
        changed[:, :, y, x] += 0.5
        after = run_graph(data, {"input": changed})["output"]
        rows, columns = np.nonzero((before != after).any(axis=(0, 1)))
        for found, at in ((rows // facts.scale, y), (columns // facts.scale, x)):
            reach = max(reach, int(at - found.min()), int(found.max() - at))
    assert reach == facts.halo


def positive(model: Any) -> None:
    rng = np.random.default_rng(3)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            made = rng.uniform(0.5, 1.0, values.shape).astype(np.float32) / max(1, values[0].size)
            tensor.CopyFrom(onnx.numpy_helper.from_array(made, tensor.name))


@pytest.mark.parametrize(
    ("nodes", "weights", "reason"),
    [
        ([("GlobalAveragePool", ["x"], {}), ("Mul", ["x", "input"], {})], {}, "GlobalAveragePool"),
        ([("InstanceNormalization", ["x", "g", "g"], {})], {"g": ones(1)}, "InstanceNormalization"),
        ([("Softmax", ["x"], {"axis": 3})], {}, "Softmax along height or width"),
        ([("MatMul", ["x", "m"], {})], {"m": ones(9, 9)}, "attention"),
        ([("Add", ["x", "map"], {})], {"map": ones(1, 1, 9, 9)}, "sides of its own"),
        ([("Pad", ["x", "p"], {"mode": "wrap"}), ("Conv", ["x", "w"], {})],
         {"p": ints(0, 0, 1, 1, 0, 0, 1, 1), "w": ones(1, 1, 3, 3)}, "wraps"),
    ],
)  # fmt: skip
def test_what_reads_the_whole_picture_is_not_tileable(
    nodes: list[Any], weights: dict[str, Any], reason: str, network: Callable[..., Any]
) -> None:
    model = network(nodes, weights)
    if reason in ("attention", "sides of its own"):  # they hold for one size only
        for value in (*model.graph.input, *model.graph.output):
            for dim in list(value.type.tensor_type.shape.dim)[2:]:
                dim.dim_value = 9
    if reason == "wraps":
        model.opset_import[0].version = 19
    facts = facts_of(model)
    assert facts.halo is None
    assert facts.why_not is not None and reason in facts.why_not


def test_memory_is_what_lives_at_one_time(small: Any) -> None:
    # The most: 8 channels before and after ReLU, 4 bytes each.
    facts = facts_of(small)
    assert facts.activation_bytes == 4 * (8 + 8)
    assert facts.parameters == 8 * 9 + 8 + 4 * 8 * 9 + 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 4), "4 channels"),
        (lambda m: m.graph.input.add().CopyFrom(m.graph.input[0]), "2 inputs"),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 2), "float picture"),
    ],
)
def test_no_super_resolution_network(change: Callable[[Any], Any], message: str, small: Any) -> None:
    change(small)
    with pytest.raises(ModelError, match=message):
        facts_of(small)


def test_a_classifier_is_refused(network: Callable[..., Any]) -> None:
    model = network([("Conv", ["x", "w"], {}), ("GlobalAveragePool", ["x"], {})], {"w": ones(1, 1, 3, 3)})
    with pytest.raises(ModelError, match="enlarge"):
        facts_of(model)
