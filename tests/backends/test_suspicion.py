"""Stamped files that are not what we write: refused in one line before an engine reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends.onnxfile import read_model
from srdeploy.errors import SrdeployError

onnx = pytest.importorskip("onnx")


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def _external_in_a_subgraph(model: Any) -> None:
    inner = onnx.GraphProto(name="inner")
    inner.initializer.add(name="x", data_type=1, dims=[1]).external_data.add(key="location", value="other.bin")
    model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(inner)


def _gigabytes(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 1 << 30


def _gigabytes_in_an_attribute(model: Any) -> None:
    model.graph.node.add(op_type="Constant", output=["c"]).attribute.add(name="value", type=4).t.CopyFrom(
        onnx.TensorProto(dims=[1 << 32], data_type=1, raw_data=b"1234")
    )


def _loop(model: Any) -> None:
    model.graph.node[0].op_type = "Loop"


def _nested(model: Any) -> None:
    graph = onnx.GraphProto(name="0")
    for _ in range(40):
        outer = onnx.GraphProto(name="0")
        outer.node.add(op_type="If").attribute.add(name="then_branch", type=5).g.CopyFrom(graph)
        graph = outer
    model.graph.node[0].attribute.add(name="body", type=5).g.CopyFrom(graph)


def _multiple(model: Any) -> None:
    facts = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**facts, "multiple": 1 << 30})


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "external": (_external, "another file"),
    "external in a subgraph": (_external_in_a_subgraph, "another file"),
    "gigabytes": (_gigabytes, "claims"),
    "gigabytes in an attribute": (_gigabytes_in_an_attribute, "claims"),
    "loop": (_loop, "Loop"),
    "nested": (_nested, "inside graphs"),
    "multiple": (_multiple, "multiple"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_stamped_files(kind: str, tmp_path: Path) -> None:
    change, message = HOSTILE[kind]
    model = onnx.load(zoo.find("espcn-x4"))
    change(model)
    path = tmp_path / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SrdeployError, match=message) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def _mutate(seeds: range, tmp_path: Path) -> None:
    """Whatever a file's bytes become, reading it ends in facts or in one line."""
    data = np.frombuffer(zoo.find("espcn-x4").read_bytes(), np.uint8)
    path = tmp_path / "mutated.onnx"
    for seed in seeds:
        rng = np.random.default_rng(seed)
        changed = data.copy()
        # Most of a file is weights; what says something stands at its ends.
        places = rng.integers(0, 600, int(rng.integers(1, 9))) * rng.choice([1, -1], 1)
        changed[places] = rng.integers(0, 256, len(places))
        cut = int(rng.integers(1, len(data))) if rng.random() < 0.2 else len(data)
        path.write_bytes(changed[:cut].tobytes())
        try:
            read_model(path)
        except SrdeployError as error:
            assert "\n" not in str(error), seed


def test_mutated_files(tmp_path: Path) -> None:
    _mutate(range(60), tmp_path)


@pytest.mark.long
def test_many_mutated_files(tmp_path: Path) -> None:
    _mutate(range(60, 6000), tmp_path)
