"""A sample of scripts/measure_mutants.py: what ships, broken in one layer, is caught, and the layer is named."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def mutants(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("measure_mutants", repository / "scripts" / "measure_mutants.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8", "int8-trt"])
@pytest.mark.parametrize(
    ("layer", "change"), [("node_conv2d_1", "weights x1.05"), ("node_conv2d_2", "two channels swapped")]
)
def test_a_broken_layer_is_caught_and_named(mutants: Any, kind: str, layer: str, change: str, tmp_path: Path) -> None:
    found = mutants.outcome("espcn-x4", kind, layer, change, tmp_path)
    assert found.caught and not found.harmless
    assert found.named == layer


@pytest.mark.parametrize("layer", ["node_relu", "node_relu_1"])
def test_an_activation_cut_within_the_tolerance_of_fp16_is_caught(mutants: Any, layer: str, tmp_path: Path) -> None:
    found = mutants.outcome("srcnn-rgb-x4", "fp16", layer, "activation cut", tmp_path)
    assert found.db > 58  # 55 are asked for
    assert found.caught and found.named == "cut_off"


@pytest.mark.parametrize("kind", ["fp16", "int8", "int8-trt"])
@pytest.mark.parametrize("change", ["weights x1.05", "a channel at 0"])
def test_a_layer_is_named_that_the_fp32_file_computes_in_rows(
    mutants: Any, kind: str, change: str, tmp_path: Path
) -> None:
    found = mutants.outcome("srcnn-rgb-x4", kind, "node_conv2d_2", change, tmp_path)
    assert found.caught and found.named == "node_conv2d_2"


def test_a_break_in_fp16_is_caught_where_no_stamp_says_what_is_right(
    mutants: Any, samples: Path, tmp_path: Path
) -> None:
    found = mutants.outcome("srcnn-rgb-x4", "fp16", "node_conv2d_1", "weights x1.05", tmp_path, samples)
    assert found.caught_elsewhere
