"""Half precision where it is safe, and fp32 where it is not: found, said, and no more than is needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.errors import ParityError
from srdeploy.export import export
from srdeploy.graph.files import check, load_model
from srdeploy.mixed import mixed_from_onnx
from srdeploy.picture import Pixels

onnx = pytest.importorskip("onnx")

Node = tuple[str, list[str], dict[str, Any]]
PADS = {"pads": [1, 1, 1, 1]}
SHUFFLE: Node = ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"})


def _pictures() -> dict[str, Pixels]:
    y, x = np.mgrid[:40, :48]
    return {"slopes": np.clip(x * 5 + 9 * np.sin(y), 0, 255).astype(np.uint8)[:, :, None]}


def _chain(nodes: list[Node], weights: dict[str, Any]) -> Any:
    """A network of nodes in a chain, each named after its operator and place."""
    protos, last = [], "input"
    for index, (op, inputs, attributes) in enumerate(nodes):
        output = "output" if index == len(nodes) - 1 else f"n{index}"
        inputs = [last if name == "x" else name for name in inputs]
        protos.append(onnx.helper.make_node(op, inputs, [output], name=f"{op}_{index}", **attributes))
        last = output
    make, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        protos,
        "test",
        [make("input", float32, ["batch", 1, "height", "width"])],
        [make("output", float32, ["batch", 1, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


def _weights(up: float = 1.0) -> dict[str, Any]:
    """Four convolutions; what the second makes is `up` times as large, and the third takes that back."""
    rng = np.random.default_rng(2)
    w = {f"w{i}": np.abs(rng.normal(0, 0.1, (8, 8, 3, 3))) for i in range(4)}
    w["w0"], w["w3"] = w["w0"][:, :1], w["w3"][:4] / 40
    w["w1"], w["w2"] = w["w1"] * up, w["w2"] / up / 6
    return w


def _network(up: float = 1.0) -> Any:
    conv: list[Node] = [("Conv", ["x", f"w{i}"], PADS) for i in range(4)]
    relu: Node = ("Relu", ["x"], {})
    return _chain([conv[0], relu, conv[1], relu, conv[2], relu, conv[3], SHUFFLE], _weights(up))


def _mixed(model: Any) -> Any:
    mixed = mixed_from_onnx(model, "net", _pictures(), 55.0)
    check(mixed.model, "mixed")
    return mixed


def test_what_half_can_hold_stays_half() -> None:
    assert not _mixed(_network()).kept
    shipped = load_model(zoo.find("espcn-x2", None, "fp32", "float"))
    assert not _mixed(shipped).kept


def test_large_values_stay_fp32() -> None:
    """Weights that half can hold and sums that it cannot: those who make them and those who take them."""
    kept = _mixed(_network(20000.0)).kept
    assert list(kept) == ["Conv_2", "Relu_3", "Conv_4"]
    assert "half precision ends at 65504" in kept["Relu_3"]


def test_small_values_stay_fp32() -> None:
    kept = _mixed(_network(1e-6)).kept
    assert list(kept) == ["Conv_2", "Relu_3", "Conv_4"]
    assert "half precision has few bits" in kept["Relu_3"]


def test_what_cancels_is_found_by_halving() -> None:
    """(x + 600) - 600 is all in range, and of x half keeps nothing below a half."""
    shift: list[Node] = [("Add", ["x", "much"], {}), ("Sub", ["x", "much"], {})]
    conv: list[Node] = [("Conv", ["x", f"w{i}"], PADS) for i in range(4)]
    nodes = [conv[0], conv[1], *shift, conv[2], conv[3], SHUFFLE]
    kept = _mixed(_chain(nodes, {**_weights(), "much": 600.0})).kept
    assert list(kept) == ["Add_2", "Sub_3"]
    assert kept["Add_2"] == "rounding it costs more than parity allows"


def test_sums_over_the_picture_stay_fp32() -> None:
    conv: list[Node] = [("Conv", ["x", f"w{i}"], PADS) for i in range(4)]
    nodes = [*conv[:2], ("ReduceMean", ["x"], {"keepdims": 1}), ("Add", ["x", "n1"], {}), *conv[2:], SHUFFLE]
    assert list(_mixed(_chain(nodes, _weights())).kept) == ["ReduceMean_2"]


def test_what_would_stay_fp32_for_the_most_part_is_refused() -> None:
    model = _chain([("Conv", ["x", "w"], PADS), SHUFFLE], {"w": np.full((4, 1, 3, 3), 7e4)})
    with pytest.raises(ParityError, match=r"net in fp16 would need 1 of its 1 .*w reaches 7e\+04.*without --fp16"):
        _mixed(model)


def test_the_file_says_what_stayed(tmp_path: Path) -> None:
    onnx.save(_network(20000.0), tmp_path / "net.onnx")
    made = export(str(tmp_path / "net.onnx"), ("fp16",), True, tmp_path)
    for file in made.files[2:]:
        spec = open_session(file.path).spec
        assert spec.float_layers == ("Conv_2", "Relu_3", "Conv_4")
        assert file.parity.passed and file.parity.arithmetic == "fp16, rounded after each node; 3 nodes in fp32"
    assert [note.split(",")[0] for note in made.notes if "fp32" in note][1] == "fp16: Relu_3 stays in fp32"


def test_an_export_that_cannot_be_half_leaves_nothing(tmp_path: Path, foreign_rgb: Callable[..., Any]) -> None:
    onnx.save(foreign_rgb(18, 8, 3e5), tmp_path / "net.onnx")
    with pytest.raises(ParityError, match="without --fp16"):
        export(str(tmp_path / "net.onnx"), ("fp16",), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
