"""Conversions broken on purpose: each is caught, and the layer that was broken is named, and no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srdeploy import checking, zoo
from srdeploy.bisect import CUT, first_parting
from srdeploy.checking import check_file
from srdeploy.cli.app import app
from srdeploy.errors import ModelError
from srdeploy.graph.channels import channels_of
from srdeploy.graph.equalize import equalized
from srdeploy.graph.files import load_model, read_spec, stamp_and_save
from srdeploy.graph.int8 import int8_from_onnx, with_activations
from srdeploy.graph.lanes import out_of_lanes
from srdeploy.graph.narrow import rows_together
from srdeploy.graph.pixels import rename_border
from srdeploy.parity import pictures_for

onnx = pytest.importorskip("onnx")

NETWORKS = {"espcn-x4": ("node_conv2d_1", "node_relu_1"), "fast-x2": ("node_conv2d_6", "node_relu_3")}
"""Of each network a convolution and an activation to break."""
NETWORKS["srcnn-rgb-x4"] = ("node_conv2d_1", "node_relu")

Break = Callable[[Any, str, str], str]


def _node(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def _weights(model: Any, name: str) -> Any:
    """The tensor that a convolution's weights are, through a DequantizeLinear where there is one."""
    weight = _node(model, name).input[1]
    made_by = {node.output[0]: node for node in model.graph.node}
    weight = made_by[weight].input[0] if weight in made_by else weight
    return next(tensor for tensor in model.graph.initializer if tensor.name == weight)


def _change(tensor: Any, change: Callable[[Any], Any]) -> None:
    values = change(onnx.numpy_helper.to_array(tensor).astype(np.float32))
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(kind), tensor.name))


def scaled_weight(model: Any, convolution: str, activation: str) -> str:
    """One channel of the weights is scaled."""

    def change(values: Any) -> Any:
        values[2] = np.rint(values[2] * 0.6) if np.abs(values).max() > 8 else values[2] * 1.2
        return values

    _change(_weights(model, convolution), change)
    return convolution


def swapped_channel(model: Any, convolution: str, activation: str) -> str:
    """Two channels change places."""
    _change(_weights(model, convolution), lambda values: values[[1, 0, *range(2, len(values))]])
    return convolution


def clipped_activation(model: Any, convolution: str, activation: str) -> str:
    """Behind an activation all that is large is cut off."""
    node = _node(model, activation)
    name, half = node.output[0], any(tensor.data_type == 10 for tensor in model.graph.initializer)
    node.output[0] = f"{name}_whole"
    ceiling = onnx.numpy_helper.from_array(np.asarray(0.02, np.float16 if half else np.float32), "ceiling")
    model.graph.initializer.append(ceiling)
    clip = onnx.helper.make_node("Clip", [node.output[0], "", "ceiling"], [name], name="cut_off")
    model.graph.node.insert(list(model.graph.node).index(node) + 1, clip)
    return "cut_off"


def int8_of(name: str) -> Any:
    """An int8 graph without a search for the best, equalised as all are."""
    from srdeploy.backends.ort_graph import run_graph

    exact = load_model(zoo.find(name, None, "fp32", "float"))
    spec = read_spec(exact, name)
    pictures = pictures_for(spec, None).values()
    planes = [pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255) for pixels in pictures]

    def seen(graph: Any) -> dict[str, Any]:
        model, names = with_activations(graph)
        data = model.SerializeToString()
        found = [run_graph(data, {"input": p}) for p in planes]
        return {name: [values[name] for values in found] for name in names}

    peaks = {tensor: np.max([np.abs(v).max((0, 2, 3)) for v in found], 0) for tensor, found in seen(exact).items()}
    even = equalized(rename_border(exact), peaks)
    ranges = {t: (min(float(v.min()) for v in f), max(float(v.max()) for v in f)) for t, f in seen(even).items()}
    return int8_from_onnx(even, ranges)


@pytest.fixture(scope="module", params=[(n, p) for n in NETWORKS for p in ("fp32", "fp16", "int8")], ids="-".join)
def right(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    """A network's name, its file of one precision, and what that was made from."""
    name, precision = request.param
    exact = zoo.find(name)
    if precision != "int8":
        return name, load_model(zoo.find(name, None, precision)), load_model(exact)
    return name, int8_of(name), load_model(exact)


def _pixels(model: Any) -> Any:
    return next(iter(pictures_for(read_spec(model, "model"), None).values()))[None, 80:144, 80:144]


def _precision(model: Any) -> Any:
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return "int8" if onnx.TensorProto.INT8 in kinds else "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def test_what_is_right_parts_nowhere(right: tuple[str, Any, Any]) -> None:
    _, model, exact = right
    assert first_parting(model, exact, _pixels(exact), _precision(model), channels_of(model)) is None


@pytest.mark.parametrize("name", ["balanced-x2.int8-trt", "espcn-x4.int8-trt", "fast-x3.int8", "srcnn-x2.int8"])
def test_what_ships_in_int8_parts_nowhere(name: str) -> None:
    """With channels in parts and layers in float; all of them on more pictures: benchmarks/reports/mutants.md."""
    model, exact = load_model(zoo.MODELS / f"{name}.onnx"), load_model(zoo.find(name.partition(".")[0]))
    assert channels_of(model)
    assert first_parting(out_of_lanes(model), exact, _pixels(exact), "int8", channels_of(model)) is None


@pytest.mark.parametrize("broken", [scaled_weight, swapped_channel, clipped_activation])
def test_the_broken_layer_is_named(right: tuple[str, Any, Any], broken: Break) -> None:
    name, model, exact = right
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    layer = broken(copy, *NETWORKS[name])
    onnx.checker.check_model(copy, full_check=True)
    found = first_parting(copy, exact, _pixels(exact), _precision(model), channels_of(model))
    assert found is not None
    assert found.layer == layer, str(found)


def test_a_range_that_is_too_small_is_named() -> None:
    name = "espcn-x4"
    model, exact = int8_of(name), load_model(zoo.find(name))
    quantized = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and "relu_1" in node.name)
    _change(next(t for t in model.graph.initializer if t.name == quantized.input[1]), lambda value: value * 0.6)
    found = first_parting(model, exact, _pixels(exact), "int8", channels_of(model))
    assert found is not None
    assert (found.layer, found.op, found.tensor) == (quantized.name, "QuantizeLinear", "relu_1")


def test_renamed_nodes_are_paired_by_their_order() -> None:
    exact = load_model(zoo.find("espcn-x4", None, "fp32", "float"))
    model = load_model(zoo.find("espcn-x4"))
    scaled_weight(model, "node_conv2d_1", "")
    names = {output: f"t{index}" for index, node in enumerate(exact.graph.node) for output in node.output[:1]}
    names["output"] = "output"
    for index, node in enumerate(exact.graph.node):
        node.name = f"theirs_{index}"
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names[value] for value in node.output]
    found = first_parting(model, exact, _pixels(exact), "fp32")
    assert found is not None
    assert found.layer == "node_conv2d_1"
    assert first_parting(load_model(zoo.find("espcn-x4")), exact, _pixels(model), "fp32") is None


def _stamped(path: Path, source: Path, layer: str) -> Path:
    model = load_model(source)
    scaled_weight(model, layer, "")
    stamp_and_save(model, read_spec(model, source.name), path)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_command_names_it_in_one_line(precision: str, tmp_path: Path) -> None:
    path = _stamped(tmp_path / "broken.onnx", zoo.find("fast-x2", None, precision), "node_conv2d_6")
    words = ["check", str(path), "--against", str(zoo.find("fast-x2")), "--bisect"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["passed"] is False
    assert document["bisect"]["layer"] == "node_conv2d_6"
    assert document["bisect"]["weights"] == ["body.12.weight", "body.12.bias"]
    assert set(document["worst"]) == {"picture", "x", "y", "channel"}
    (line,) = result.stderr.splitlines()
    assert "the first layer that parts is node_conv2d_6 (Conv of body.12.weight)" in line
    assert f"worst in {document['worst']['picture']} at x {document['worst']['x']}" in line


def test_against_the_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    path = _stamped(tmp_path / "broken.onnx", zoo.find("espcn-x2"), "node_conv2d")
    check = check_file(path, zoo.find_weights("espcn-x2"), bisect=True)
    assert check.parting is not None
    assert check.parting.layer == "node_conv2d"


def test_a_file_that_passes_has_nothing_to_bisect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "first_parting", None)
    result = CliRunner().invoke(app, ["check", "espcn-x2", "--bisect", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["bisect"] is None


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_another_activation_is_named_though_the_reference_convolves_by_rows(precision: str, tmp_path: Path) -> None:
    """The fp32 file of srcnn-rgb-x4 has many nodes for one convolution; layers are paired by name all the same."""
    model = load_model(zoo.find("srcnn-rgb-x4", None, precision))
    kind = np.float16 if precision == "fp16" else np.float32
    node = _node(model, "node_relu")
    for name, value in (("least", 0), ("most", 0.02)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, kind), name))
        node.input.append(name)
    node.op_type = "Clip"
    path = tmp_path / "broken.onnx"
    stamp_and_save(model, read_spec(model, "broken"), path)
    found = check_file(path, zoo.find("srcnn-rgb-x4"), bisect=True)
    assert found.parting is not None and found.parting.layer == "node_relu"


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[1]",
        '{"relu":{}}',
        '{"relu":{"factors":[[1]]}}',
        '{"relu":{"factors":[1],"of":[7],"count":1,"limit":null}}',
    ],
)
def test_channels_that_do_not_parse_are_one_line(said: str) -> None:
    model = load_model(zoo.find("espcn-x4", None, "int8"))
    entry = next(entry for entry in model.metadata_props if entry.key == "srdeploy.channels")
    entry.value = said
    with pytest.raises(ModelError, match="nothing that parses of its channels") as caught:
        channels_of(model)
    assert "\n" not in str(caught.value)


def test_text_in_int8_parts_nowhere_though_some_of_it_lies_outside_the_range() -> None:
    """On pictures that a file was not fitted to more is cut than on those that it was: here 0.7 % of a channel."""
    model, exact = load_model(zoo.MODELS / "srcnn-x2.int8.onnx"), load_model(zoo.find("srcnn-x2"))
    pixels = pictures_for(read_spec(model, "model"), None)["chart.png"][None, :96, :96]
    words = (
        out_of_lanes(model),
        rows_together(exact, {node.name for node in model.graph.node}),
        pixels,
        "int8",
        channels_of(model),
    )
    assert first_parting(*words, cut=CUT) is None
    assert first_parting(*words) is not None


def test_a_file_is_held_to_its_stamp_only_where_the_same_is_measured() -> None:
    """Levels of 8 bits are further apart than the floats that a float file was proved in, and a file from itself by
    nothing."""
    floats = zoo.find("espcn-x2", None, "fp16", "float")
    assert "stamped_db" in check_file(floats, zoo.find("espcn-x2", None, "fp32", "float")).parity.tolerance
    for reference in (zoo.find("espcn-x2"), floats):
        found = check_file(floats, reference)
        assert found.parity.passed and "stamped_db" not in found.parity.tolerance


def test_what_ships_in_fp16_parts_nowhere(samples: Path) -> None:
    for name in ("balanced-x2", "srcnn-x4"):
        found = check_file(zoo.find(name, None, "fp16"), None, samples)
        assert found.parity.passed, found.why()
