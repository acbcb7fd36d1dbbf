"""What must be caught is caught, and what is equal passes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import parity
from srdeploy.checking import check_file
from srdeploy.difference import compare, levels
from srdeploy.errors import InputError, ModelError, ParityError
from srdeploy.graph.convert import fp16_from_onnx
from srdeploy.graph.facts import facts_of
from srdeploy.graph.files import cleaned, stamp_and_save
from srdeploy.graph.pixels import wrap_pixels
from srdeploy.parity import TOLERANCE
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec, PixelKind, Precision

onnx = pytest.importorskip("onnx")


def waves(channels: int, side: int = 48) -> Pixels:
    """A picture with slopes, edges and texture, different in each channel."""
    y, x = np.mgrid[:side, :side]
    planes = [110 + 60 * np.sin(x / (3 + c)) * np.cos(y / 5) + 50 * ((x + 2 * y) % 17 > 8) for c in range(channels)]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def rgb_network(change: Callable[[dict[str, Any]], None] = lambda weights: None) -> Any:
    """Two 3x3 convolutions and a shuffle, RGB x2, near to nearest-neighbour enlargement; `change` breaks it."""
    rng = np.random.default_rng(0)
    first = rng.normal(0, 0.05, (8, 3, 3, 3))
    first[range(3), range(3), 1, 1] += 1
    last = rng.normal(0, 0.02, (12, 8, 3, 3))
    last[range(12), np.arange(12) // 4, 1, 1] += 0.9
    weights: dict[str, Any] = {"first": first.astype(np.float32), "last": last.astype(np.float32)}
    weights["ceiling"] = np.float32(1000)
    change(weights)
    node, make, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["input", "first"], ["a"], name="first_conv", pads=[1] * 4),
            node("Clip", ["a", "", "ceiling"], ["b"], name="activation"),
            node("Conv", ["b", "last"], ["c"], name="last_conv", pads=[1] * 4),
            node("DepthToSpace", ["c"], ["output"], name="shuffle", blocksize=2, mode="CRD"),
        ],
        "test",
        [make("input", float32, ["batch", 3, "height", "width"])],
        [make("output", float32, ["batch", 3, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


def saved(
    model: Any, path: Path, precision: Precision = "fp32", pixels: PixelKind = "uint8", reference: str | None = None
) -> Path:
    facts = facts_of(model)
    spec = ModelSpec(
        "test-x2", facts.scale, facts.channels, facts.halo, facts.multiple, precision, pixels,
        facts.parameters, facts.activation_bytes, "1" * 64, reference,
    )  # fmt: skip
    graph = fp16_from_onnx(model) if precision == "fp16" else cleaned(model)
    stamp_and_save(wrap_pixels(graph, precision == "fp32") if pixels == "uint8" else graph, spec, path)
    return path


PICTURES = {"waves": waves(3), "more": waves(3)[::-1]}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """The float network as anybody's .onnx."""
    path = tmp_path / "reference.onnx"
    path.write_bytes(rgb_network().SerializeToString())
    return path


@pytest.mark.parametrize("pixels", ["uint8", "float"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_right_files_pass(precision: Precision, pixels: PixelKind, reference: Path, tmp_path: Path) -> None:
    path = saved(rgb_network(), tmp_path / "file.onnx", precision, pixels)
    check = check_file(path, reference, pictures=PICTURES)
    assert check.parity.passed
    assert check.parity.arithmetic == ("fp32" if precision == "fp32" else "fp16, rounded after each node")
    if precision == "fp16":
        assert check.parity.psnr_db is not None and 55 < check.parity.psnr_db < 100
    else:
        assert check.parity.levels_off == {"0": 1.0, "1": 0.0, ">1": 0.0}


def scaled_weight(weights: dict[str, Any]) -> None:
    weights["last"][5, 1, 1, 1] *= 1.05


def swapped_channel(weights: dict[str, Any]) -> None:
    weights["first"][[0, 1]] = weights["first"][[1, 0]]


def clipped_activation(weights: dict[str, Any]) -> None:
    weights["ceiling"] = np.float32(0.8)


def slightly_scaled(weights: dict[str, Any]) -> None:
    weights["last"] = weights["last"] * np.float32(1.0002)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pixels", ["uint8", "float"])
@pytest.mark.parametrize("broken", [scaled_weight, swapped_channel, clipped_activation])
def test_broken_conversions_are_caught(
    broken: Callable[[dict[str, Any]], None], precision: Precision, pixels: PixelKind, reference: Path, tmp_path: Path
) -> None:
    check = check_file(saved(rgb_network(broken), tmp_path / "f.onnx", precision, pixels), reference, pictures=PICTURES)
    assert not check.parity.passed
    assert "waves at x " in check.why() or "more at x " in check.why()
    assert "\n" not in check.why()


@pytest.mark.parametrize("pixels", ["uint8", "float"])
def test_fp32_is_held_to_its_last_digits(pixels: PixelKind, reference: Path, tmp_path: Path) -> None:
    path = saved(rgb_network(slightly_scaled), tmp_path / "file.onnx", "fp32", pixels)
    assert not check_file(path, reference, pictures=PICTURES).parity.passed


def test_an_overflow_in_half_precision_is_caught(reference: Path, tmp_path: Path) -> None:
    def large(weights: dict[str, Any]) -> None:  # weights that half can hold, sums that it cannot
        weights["first"] = np.abs(weights["first"])
        weights["first"] *= np.float32(6e4) / weights["first"].max()

    path = saved(rgb_network(large), tmp_path / "file.onnx", "fp16")
    with pytest.raises(ParityError, match="first_conv gives values that are not finite"):
        check_file(path, reference, pictures={"bright": np.full((16, 16, 3), 255, np.uint8)})


def test_the_reference_is_found_beside_the_file(tmp_path: Path) -> None:
    saved(rgb_network(), tmp_path / "test.fp32.onnx")
    path = saved(rgb_network(), tmp_path / "test.fp16.onnx", "fp16", reference="test.fp32.onnx")
    assert check_file(path, pictures=PICTURES).parity.passed
    (tmp_path / "test.fp32.onnx").unlink()
    with pytest.raises(ModelError, match=r"proved against test.fp32.onnx.*--against"):
        check_file(path, pictures=PICTURES)


def test_a_reference_of_other_weights_is_not_taken(tmp_path: Path) -> None:
    path = saved(rgb_network(), tmp_path / "test.fp32.onnx", reference="net.onnx")
    (tmp_path / "net.onnx").write_bytes(rgb_network(scaled_weight).SerializeToString())
    with pytest.raises(ModelError, match="hold other weights"):
        check_file(path, pictures=PICTURES)


def test_a_file_is_not_its_own_reference(tmp_path: Path) -> None:
    path = saved(rgb_network(), tmp_path / "test.fp32.onnx", reference="test.fp32.onnx")
    with pytest.raises(ModelError, match="--against"):
        check_file(path, pictures=PICTURES)


def test_files_of_the_wrong_kind(reference: Path, tmp_path: Path) -> None:
    path = saved(rgb_network(), tmp_path / "file.onnx")
    (tmp_path / "net.pth").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="not an exported"):
        check_file(tmp_path / "net.pth", reference, pictures=PICTURES)
    with pytest.raises(ModelError, match="no checkpoint"):
        check_file(path, tmp_path / "net.pth", pictures=PICTURES)
    with pytest.raises(ModelError, match="srdeploy export"):
        check_file(reference, path, pictures=PICTURES)
    with pytest.raises(ModelError, match="names no reference"):
        check_file(path, pictures=PICTURES)


def test_json_is_the_contract(reference: Path, tmp_path: Path) -> None:
    path = saved(rgb_network(), tmp_path / "file.onnx", "fp16")
    document = json.loads(json.dumps(check_file(path, reference, pictures=PICTURES).to_dict()))
    wanted = {"reference", "candidate", "max_abs", "psnr_db", "levels_off", "tolerance", "passed"}
    assert wanted <= set(document)
    assert set(document["levels_off"]) == {"0", "1", ">1"}
    assert sum(document["levels_off"].values()) == pytest.approx(1)


def test_the_worst_place_is_named() -> None:
    def enlarge(pixels: Pixels) -> Pixels:
        return pixels.astype(np.float32) / np.float32(255)

    def wrong(pixels: Pixels) -> Pixels:
        result = enlarge(pixels)
        if pixels[0, 0, 0, 0] == 7:
            result[0, 11, 23, 0] += 0.01
        return result

    pictures = {"first": np.zeros((20, 30, 1), np.uint8), "second": np.full((20, 30, 1), 7, np.uint8)}
    found = compare(enlarge, wrong, pictures, {"max_abs": 1e-5}, "reference")
    assert found.worst == ("second", 23, 11, 0)
    assert not found.parity.passed
    assert found.parity.max_abs == pytest.approx(0.01, rel=1e-5)
    assert found.parity.psnr_db == pytest.approx(10 * np.log10(1200 / 0.01**2), abs=1e-3)


def test_levels_are_counted() -> None:
    expected = np.full((1, 100, 100, 1), 100, np.uint8)
    found = expected.copy()
    found[0, 0, :30, 0] += 1
    found[0, 1, :5, 0] -= 3
    result = compare(lambda _: expected, lambda _: found, {"flat": expected[0]}, TOLERANCE["fp32", "uint8"], "r")
    assert result.parity.levels_off == {"0": 0.9965, "1": 0.003, ">1": 0.0005}
    assert result.parity.max_abs == pytest.approx(3 / 255)
    assert not result.parity.passed


def test_ties_are_told_from_differences() -> None:
    """A reference on the boundary of two levels may round either way; one that is off it may not."""
    tolerance = TOLERANCE["fp32", "uint8"]
    picture = {"p": np.zeros((100, 100, 1), np.uint8)}
    for above, passed in ((1e-6, True), (3e-5, False)):
        reference = np.full((1, 100, 100, 1), 100.5 / 255 + above, np.float32)
        found = np.full((1, 100, 100, 1), 100, np.uint8)
        result = compare(lambda _, r=reference: r, lambda _, f=found: f, picture, tolerance, "r")
        assert result.parity.levels_off["1"] == 1
        assert result.parity.passed is passed
        assert result.ties == float(passed)


def test_not_finite_and_other_shapes() -> None:
    picture = {"p": np.zeros((4, 4, 1), np.uint8)}
    good = np.zeros((1, 8, 8, 1), np.float32)
    bad, bytes_ = good + np.float32(np.nan), good.astype(np.uint8)
    for reference, found, whose in ((good, bad, "the result"), (bad, bad, "the reference"), (bad, bytes_, "the ref")):
        with pytest.raises(ParityError, match=f"on p {whose}.* not finite"):
            compare(lambda _, r=reference: r, lambda _, f=found: f, picture, {"max_abs": 1.0}, "r")
    with pytest.raises(ParityError, match="shape"):
        compare(lambda _: good, lambda _: good[:, :4], picture, {"max_abs": 1.0}, "r")
    with pytest.raises(ValueError, match="no pictures"):
        compare(lambda _: good, lambda _: good, {}, {"max_abs": 1.0}, "r")


def test_floats_round_half_to_even() -> None:
    values = np.float32([0.5 / 255, 1.5 / 255, 2.5 / 255, -1, 2])
    assert levels(values).tolist() == [0, 2, 2, 0, 255]


@pytest.mark.filterwarnings("error")
def test_values_far_outside_are_levels_too() -> None:
    assert levels(np.array([3e38, -3e38, np.inf], np.float32)).tolist() == [255, 0, 255]


def test_the_shipped_pictures_and_a_folder(tmp_path: Path) -> None:
    spec = ModelSpec("n", 2, 1, 1, 4, "fp32", "uint8", 1, 1, "0")
    shipped = parity.pictures_for(spec, None)
    assert len(shipped) >= 3
    assert all(p.shape[2] == 1 and p.shape[0] % 4 == p.shape[1] % 4 == 0 and p.std() > 10 for p in shipped.values())
    assert all(p.shape[2] == 3 for p in parity.pictures_for(replace(spec, channels=3), None).values())
    with pytest.raises(InputError, match="no pictures"):
        parity.pictures_for(spec, tmp_path)
    with pytest.raises(InputError, match="no folder"):
        parity.pictures_for(spec, tmp_path / "none")
