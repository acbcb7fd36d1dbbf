"""Somebody else's .onnx: what its file does not say is found out by running it; what is no such network is refused."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import adopt
from srdeploy.backends import open_session
from srdeploy.checking import check_file
from srdeploy.errors import ModelError
from srdeploy.export import export
from srdeploy.graph import forms
from srdeploy.media.pictures import write_picture
from srdeploy.parity import pictures_for
from srdeploy.picture import Picture
from srdeploy.spec import PixelForm
from srdeploy.upscale import Upscaler

onnx = pytest.importorskip("onnx")

FLOAT, HALF, UINT8 = 1, 10, 2


def _enlarger(channels: int) -> Any:
    """Weights of a 3x3 convolution that repeats each pixel 2x2, through DepthToSpace, and takes 0.3 of its contrast."""
    kernel = np.array([[0, 0.02, 0], [0.02, 0.62, 0.02], [0, 0.02, 0]], np.float32)
    weights = np.zeros((channels * 4, channels, 3, 3), np.float32)
    for channel in range(channels):
        weights[channel * 4 : channel * 4 + 4, channel] = kernel
    return weights


def theirs(
    path: Path, channels: int = 3, low: float = 0, high: float = 1, bgr: bool = False, nhwc: bool = False,
    kind: int = FLOAT, size: tuple[int, int] | None = None, stride: int = 1,
) -> Path:  # fmt: skip
    """A network at x2 that is right only for pixels of one form: it works on (pixel - low) / (high - low), clipped."""
    real = np.float16 if kind == HALF else np.float32
    make, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    nodes, last = [], "lr"

    def add(op: str, *inputs: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(node(op, [last, *inputs], [f"t{len(nodes)}"], **attributes))
        last = nodes[-1].output[0]

    # With this bias middle gray stays what it is, in the one range that the network was made for.
    weights = {
        "w": _enlarger(channels),
        "b": np.full(channels * 4, 0.15),
        "low": low,
        "spread": high - low,
        "zero": 0,
        "one": 1,
    }
    if kind == UINT8:
        add("Cast", to=FLOAT)
    if nhwc:
        add("Transpose", perm=[0, 3, 1, 2])
    add("Sub", "low")
    add("Div", "spread")
    add("Clip", "zero", "one")
    if stride > 1:
        add("SpaceToDepth", blocksize=stride)
        add("DepthToSpace", blocksize=stride)
    add("Conv", "w", "b", pads=[1] * 4)
    add("DepthToSpace", blocksize=2, mode="CRD")
    if bgr:  # gives RGB of what it takes as BGR
        weights["order"] = [2, 1, 0]
        add("Gather", "order", axis=1)
    add("Mul", "spread")
    add("Add", "low")
    if nhwc:
        add("Transpose", perm=[0, 2, 3, 1])
    if kind == UINT8:
        add("Cast", to=UINT8)
    nodes[-1].output[0] = "sr"
    sides, big = (size or ("h", "w")), ((size[0] * 2, size[1] * 2) if size else ("H", "W"))
    shapes = [["n", *s, channels] if nhwc else ["n", channels, *s] for s in (sides, big)]
    initializers = [
        onnx.numpy_helper.from_array(np.asarray(v, np.int64 if name == "order" else real), name)
        for name, v in weights.items()
    ]
    graph = onnx.helper.make_graph(
        nodes, "theirs", [make("lr", kind, shapes[0])], [make("sr", kind, shapes[1])], initializers
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:40, :56]
    pixels = np.stack([(x * 4 + y) % 256, (x * y) % 256, 255 - y * 5], axis=2).astype(np.uint8)
    write_picture(folder / "pattern.png", Picture("rgb", (pixels,)))
    return folder


FORMS: dict[str, tuple[dict[str, Any], PixelForm | None]] = {
    "ours": ({}, None),
    "luma": ({"channels": 1}, None),
    "levels": ({"high": 255}, PixelForm(high=255, high_out=255)),
    "luma levels": ({"channels": 1, "high": 255}, PixelForm(high=255, high_out=255)),
    "signed": ({"low": -1}, PixelForm(low=-1, low_out=-1)),
    "order": ({"bgr": True}, PixelForm(bgr_out=True)),
    "last": ({"nhwc": True}, PixelForm(layout="NHWC")),
    "half": ({"kind": HALF}, None),
    "half, levels, last": ({"kind": HALF, "high": 255, "nhwc": True},
                           PixelForm(high=255, high_out=255, layout="NHWC")),
    "bytes": ({"kind": UINT8, "high": 255, "nhwc": True}, PixelForm(high=255, high_out=255, layout="NHWC")),
    "fixed": ({"size": (40, 56)}, None),
    "strided": ({"stride": 4}, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMS)
def test_form_scale_and_multiple_are_found(kind: str, data: Path, tmp_path: Path) -> None:
    options, form = FORMS[kind]
    path = theirs(tmp_path / "theirs.onnx", **options)
    made = export(str(path), ("fp32",), False, tmp_path / "out", data)
    session = open_session(made.files[0].path)
    spec = session.spec
    assert (spec.scale, spec.channels, spec.reference_pixels) == (2, options.get("channels", 3), form)
    assert (spec.multiple, spec.size) == (options.get("stride", 1), options.get("size"))
    ranges = form is not None and form != PixelForm(layout="NHWC")
    assert ranges == any("found by running" in note for note in made.notes)
    assert spec.halo is not None and 1 <= spec.halo <= 4
    # It is the right picture, in the right colours.
    rgb = np.zeros((40, 56, 3), np.uint8)
    rgb[:] = (200, 100, 30)
    big = Upscaler(session)(Picture("rgb", (rgb,))).planes[0][4:-4, 4:-4].astype(int)
    assert np.abs(big - (np.array((200, 100, 30)) * 0.7 + 0.15 * 255)).max() <= 2 or spec.channels == 1
    assert check_file(made.files[0].path, path, data).parity.passed


def test_half_of_a_foreign_form(data: Path, tmp_path: Path) -> None:
    made = export(str(theirs(tmp_path / "t.onnx", high=255)), ("fp32", "fp16"), True, tmp_path / "out", data)
    assert len(made.files) == 4 and all(file.parity.passed for file in made.files)
    # Layer by layer too: theirs takes levels, and ours levels / 255.
    found = check_file(
        made.files[2].path, tmp_path / "t.onnx", pictures={"owl": pictures_for(made.files[2].spec, None)["owl.png"]}
    )
    assert found.parity.passed, found.why()


def _changed(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = onnx.load(theirs(path))
        change(model)
        onnx.save(model, path)

    return write


def _pooled(model: Any) -> None:
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", ["before"], ["sr"]))


def _bomb(model: Any) -> None:
    """32 GiB of zeros, of which the largest is added."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 33]), "many"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["many"], ["zeros"]))
    model.graph.node.append(onnx.helper.make_node("ReduceMax", ["zeros"], ["largest"], keepdims=0))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "largest"], ["sr"]))


def _smaller(model: Any) -> None:
    model.graph.node[-1].output[0] = "big"
    model.graph.node.append(onnx.helper.make_node("AveragePool", ["big"], ["sr"], kernel_shape=[4, 4], strides=[4, 4]))


def _video(model: Any) -> None:
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Identity", ["lr"], ["sr"]))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim.insert(2, onnx.TensorShapeProto.Dimension(dim_value=5))


def _loop(model: Any) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go"], ["again"]), onnx.helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [onnx.helper.make_tensor_value_info(n, k, s) for n, k, s in (("i", 7, []), ("go", 9, []), ("x", 1, None))],
        [onnx.helper.make_tensor_value_info(n, k, s) for n, k, s in (("again", 9, []), ("y", 1, None))],
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1 << 60), "trips"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "on"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Loop", ["trips", "on", "before"], ["sr"], body=body))


def _loop_in_a_branch(model: Any) -> None:
    """The same, where only a condition leads to it."""
    _loop(model)
    loop = model.graph.node.pop()
    loop.output[0] = "looped"
    kept = onnx.helper.make_node("Identity", ["before"], ["kept"])
    value = onnx.helper.make_tensor_value_info
    branches = [
        onnx.helper.make_graph([node], name, [], [value(node.output[0], FLOAT, None)])
        for node, name in ((loop, "then"), (kept, "else"))
    ]
    words = dict(zip(("then_branch", "else_branch"), branches, strict=True))
    model.graph.node.append(onnx.helper.make_node("If", ["on"], ["sr"], **words))


def _padded(model: Any) -> None:
    """A million rows of padding: a picture takes seconds, and is none."""
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    pads = next(attribute for attribute in convolution.attribute if attribute.name == "pads")
    pads.ints[0] = 1 << 20


UNSUITABLE: dict[str, tuple[Callable[[Any], None], str]] = {
    "classifier": (_pooled, "enlarge by a whole number"),
    "bomb": (_bomb, "alloc|GiB"),
    "two inputs": (lambda m: m.graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("extra", FLOAT, [1])),
                   "2 inputs"),
    "video": (_video, "video"),
    "loop": (_loop, "Loop"),
    "loop in a branch": (_loop_in_a_branch, "Loop"),
    "endless padding": (_padded, "enlarge by 64 at most|more than 4 GiB"),
    "four at once": (lambda m: m.graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 4), "at once"),
    "smaller": (_smaller, "whole number"),
    "custom operator": (lambda m: (m.opset_import.append(onnx.helper.make_opsetid("their.own", 1)),
                                   m.graph.node[0].__setattr__("domain", "their.own")), "their.own"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_what_is_no_such_network_is_refused(kind: str, data: Path, tmp_path: Path) -> None:
    change, message = UNSUITABLE[kind]
    path = tmp_path / "theirs.onnx"
    _changed(change)(path)
    with pytest.raises(ModelError, match=message) as caught:
        export(str(path), ("fp32",), False, tmp_path / "out", data)
    assert "\n" not in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["theirs.onnx"]


def test_a_branch_that_takes_the_picture_from_around_it(data: Path, tmp_path: Path) -> None:
    def branched(model: Any) -> None:
        first = model.graph.node[0]
        value = onnx.helper.make_tensor_value_info
        words = {}
        for which, op in (("then_branch", "Identity"), ("else_branch", "Neg")):
            node = onnx.helper.make_node(op, [first.input[0]], [which])
            words[which] = onnx.helper.make_graph([node], which, [], [value(which, FLOAT, None)])
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "on"))
        model.graph.node.insert(0, onnx.helper.make_node("If", ["on"], ["same"], **words))
        first.input[0] = "same"

    _changed(branched)(tmp_path / "theirs.onnx")
    (file,) = export(str(tmp_path / "theirs.onnx"), out=tmp_path / "out", data=data).files
    theirs(tmp_path / "plain.onnx")
    (plain,) = export(str(tmp_path / "plain.onnx"), out=tmp_path / "out", data=data).files
    picture = np.random.default_rng(0).integers(0, 256, (1, 24, 40, 3), np.uint8)
    assert np.array_equal(*(open_session(made.path, "ort", "cpu").run(picture) for made in (file, plain)))


@pytest.mark.parametrize("change", [_loop, _loop_in_a_branch])
def test_what_does_not_end_is_ended(
    change: Callable[[Any], None], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were loops let pass, or did another operator run as long: once, and no other size is tried."""
    monkeypatch.setattr(forms, "_BLOCKED", frozenset())
    monkeypatch.setattr(adopt, "_SECONDS", 1.0)
    path = tmp_path / "theirs.onnx"
    _changed(change)(path)
    start = time.monotonic()
    with pytest.raises(ModelError, match="ran for more than 1 seconds and was ended"):
        export(str(path), ("fp32",), False, tmp_path / "out", data)
    assert time.monotonic() - start < 30
