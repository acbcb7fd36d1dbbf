"""Random networks of the operators that networks use: their halo is never too small, and exact for plain chains."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srdeploy.backends.ort_graph import open_graph, run_graph
from srdeploy.graph.facts import facts_of
from srdeploy.graph.sizes import with_constant_sizes

onnx = pytest.importorskip("onnx")

Rng = np.random.Generator


class _Net:
    """A network that grows node by node; it keeps 4 channels between blocks."""

    def __init__(self, rng: Rng) -> None:
        self.rng, self.nodes, self.weights, self.last = rng, [], {}, "input"

    def weight(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"n{len(self.nodes)}"
        names = [self.last if name == "x" else name for name in inputs]
        self.nodes.append(onnx.helper.make_node(op, names, [output], name=f"{op}_{output}", **attributes))
        self.last = output
        return output

    def kernel(self, outputs: int, inputs: int, *size: int) -> str:
        # Small and positive, so that no tap is lost and no two cancel.
        return self.weight(self.rng.uniform(0.5, 1, (outputs, inputs, *size)).astype(np.float32) / (inputs * size[0]))

    def conv(self, size: int, dilation: int = 1, channels: int = 4, inputs: int = 4) -> None:
        pads = [size // 2 * dilation] * 4
        self.add("Conv", "x", self.kernel(channels, inputs, size, size), pads=pads, dilations=[dilation] * 2)

    def model(self) -> Any:
        self.nodes[-1].output[0] = "output"
        make = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes,
            "random",
            [make("input", 1, ["n", 1, "h", "w"])],
            [make("output", 1, ["n", 1, "H", "W"])],
            [onnx.numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


def _plain(net: _Net) -> None:
    net.conv(int(net.rng.choice([1, 3, 5])), int(net.rng.integers(1, 4)))


def _padded(net: _Net) -> None:
    mode = str(net.rng.choice(["reflect", "edge", "constant"]))
    net.add("Pad", "x", net.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode=mode)
    net.add("Conv", "x", net.kernel(4, 4, 3, 3))


def _down_and_up(net: _Net) -> None:
    down = str(net.rng.choice(["stride", "MaxPool", "AveragePool", "SpaceToDepth"]))
    if down == "stride":
        net.add("Conv", "x", net.kernel(4, 4, 3, 3), strides=[2, 2], pads=[1, 1, 0, 0])
    elif down == "SpaceToDepth":
        net.add("SpaceToDepth", "x", blocksize=2)
        net.conv(1, inputs=16)
    else:
        net.add(down, "x", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(3)
    up = str(net.rng.choice(["ConvTranspose", "nearest", "linear", "cubic", "DepthToSpace"]))
    if up == "ConvTranspose":
        net.add("ConvTranspose", "x", net.kernel(4, 4, 4, 4), strides=[2, 2], pads=[1] * 4)
    elif up == "DepthToSpace":
        net.conv(1, channels=16)
        net.add("DepthToSpace", "x", blocksize=2, mode="CRD")
    else:
        place = "asymmetric" if up == "nearest" else "half_pixel"
        scales = net.weight(np.array([1, 1, 2, 2], np.float32))
        nearest = {"nearest_mode": "floor"} if up == "nearest" else {}
        net.add("Resize", "x", "", scales, mode=up, coordinate_transformation_mode=place, **nearest)


def _skip(net: _Net) -> None:
    before = net.last
    _plain(net)
    net.add(str(net.rng.choice(["Add", "Mul"])), "x", before)


def _split(net: _Net) -> None:
    before = net.last
    net.add("Slice", before, *(net.weight(np.array([value])) for value in (0, 2, 1)))
    net.conv(3, channels=2, inputs=2)
    first = net.last
    net.add("Gather", before, net.weight(np.array([3, 2])), axis=1)
    net.add("Concat", first, "x", axis=1)


def _normalised(net: _Net) -> None:
    before = net.last
    net.add("ReduceMean", before, net.weight(np.array([1])), keepdims=1)
    mean = net.last
    net.add("Add", before, mean)
    net.add("Transpose", "x", perm=[0, 2, 3, 1])
    net.add("MatMul", "x", net.weight(net.rng.uniform(0.5, 1, (4, 4)).astype(np.float32)))
    net.add("Transpose", "x", perm=[0, 3, 1, 2])


def _cut(net: _Net) -> None:
    net.add("Conv", "x", net.kernel(4, 4, 3, 3), pads=[2] * 4)
    net.add("Slice", "x", *(net.weight(np.array(value)) for value in ([1, 1], [-1, -1], [2, 3])))


BLOCKS: tuple[Callable[[_Net], None], ...] = (_plain, _padded, _down_and_up, _skip, _split, _normalised, _cut)


def _random(seed: int, blocks: tuple[Callable[[_Net], None], ...]) -> Any:
    net = _Net(np.random.default_rng(seed))
    net.conv(3, inputs=1)
    for _ in range(int(net.rng.integers(1, 4))):
        blocks[int(net.rng.integers(len(blocks)))](net)
    net.add("DepthToSpace", "x", blocksize=2, mode="CRD")
    return net.model()


def _reach(model: Any, halo: int, multiple: int) -> int:
    """How far from a changed pixel, in input pixels, results change; one pixel at a time, for every phase."""
    side = 4 * halo + 8 * multiple + 8
    side -= side % multiple
    run = open_graph(model.SerializeToString())
    picture = np.random.default_rng(0).random((1, 1, side, side), dtype=np.float32)
    before = run({"input": picture})["output"]
    reach, middle = 0, side // 2 - side // 2 % multiple
    for shift in range(multiple):
        changed = picture.copy()
        changed[:, :, middle + shift, middle + shift] += 4
        rows, columns = np.nonzero((before != run({"input": changed})["output"]).any(axis=(0, 1)))
        for found in (rows // 2, columns // 2):
            reach = max(reach, middle + shift - int(found.min()), int(found.max()) - middle - shift)
    return reach


def _prove(seed: int) -> None:
    model = _random(seed, BLOCKS)
    facts = facts_of(model)
    assert facts.halo is not None, (seed, facts.why_not)
    assert facts.scale == 2
    assert _reach(model, facts.halo, facts.multiple) <= facts.halo, seed
    plain = _random(seed, (_plain,))
    halo = facts_of(plain).halo
    assert halo is not None and _reach(plain, halo, 1) == halo, seed


def test_no_halo_is_too_small() -> None:
    for seed in range(25):
        _prove(seed)


@pytest.mark.long
def test_no_halo_is_too_small_in_many() -> None:
    for seed in range(25, 1500):
        _prove(seed)


def _shuffle(form: str) -> Any:
    """Four channels to twice the size, or back, written out as exporters do."""
    net = _Net(np.random.default_rng(5))
    net.conv(3, channels=16, inputs=1)
    shapes = {
        "CRD": ([0, 4, 2, 2, 8, 12], [0, 1, 4, 2, 5, 3], [0, 4, 16, 24]),
        "DCR": ([0, 2, 2, 4, 8, 12], [0, 3, 4, 1, 5, 2], [0, 4, 16, 24]),
        "order": ([0, 4, 4, 8, 12], [0, 2, 1, 3, 4], [0, 16, 8, 12]),
        "down": ([0, 16, 4, 2, 6, 2], [0, 1, 3, 5, 2, 4], [0, 64, 4, 6]),
    }
    first, order, last = shapes[form]
    net.add("Reshape", "x", net.weight(np.array(first)))
    net.add("Transpose", "x", perm=order)
    net.add("Reshape", "x", net.weight(np.array(last)))
    outputs = {"order": 4, "down": 16}.get(form, 1)
    net.conv(3, channels=outputs, inputs={"order": 16, "down": 64}.get(form, 4))
    if form in ("order", "down"):
        net.add("DepthToSpace", "x", blocksize=2 if form == "order" else 4, mode="CRD")
    model = net.model()
    for value, sides in ((model.graph.input[0], (8, 12)), (model.graph.output[0], (16, 24))):
        for dim, side in zip(value.type.tensor_type.shape.dim[2:], sides, strict=True):
            dim.dim_value = side
    return model


@pytest.mark.parametrize(("form", "halo"), [("CRD", 2), ("DCR", 2), ("order", 2), ("down", 4)])
def test_shuffles_written_out_are_known(form: str, halo: int) -> None:
    model = _shuffle(form)
    assert facts_of(model).halo is None
    feed = {"input": np.random.default_rng(0).random((1, 1, 8, 12), dtype=np.float32)}
    folded = with_constant_sizes(model, run_graph, [feed])
    assert facts_of(folded).halo == halo
    before, after = (run_graph(m.SerializeToString(), feed)["output"] for m in (model, folded))
    assert np.array_equal(before, after)
