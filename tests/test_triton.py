"""The model repository parses with Triton's own definition, and versions are added and never changed."""

from pathlib import Path
from typing import Any

import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.triton import add_to_repository


def _parsed(config: Path) -> Any:
    """Read by the protobuf definition that Triton's client wheel carries."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    definition = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse(config.read_text(encoding="utf-8"), definition.ModelConfig())


@pytest.mark.parametrize("pixels", ["uint8", "float"])
def test_the_configuration_says_what_the_file_takes(tmp_path: Path, pixels: str) -> None:
    file = zoo.find("srcnn-rgb-x4", pixels=pixels)
    session = open_session(file, "ort", "cpu")
    made = add_to_repository(file, session.spec, tmp_path)
    assert made == tmp_path / file.stem / "1" / "model.onnx" and made.read_bytes() == file.read_bytes()
    config = _parsed(tmp_path / file.stem / "config.pbtxt")
    assert config.name == file.stem and config.backend == "onnxruntime" and config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    kind, dims = ("TYPE_UINT8", [-1, -1, 3]) if pixels == "uint8" else ("TYPE_FP32", [3, -1, -1])
    for border, name in ((config.input[0], "input"), (config.output[0], "output")):
        assert border.name == name and list(border.dims) == dims
        assert border.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[border.data_type].name == kind


def test_versions_are_added_and_a_tuned_configuration_is_kept(tmp_path: Path) -> None:
    file = zoo.find("espcn-x4")
    spec = open_session(file, "ort", "cpu").spec
    first = add_to_repository(file, spec, tmp_path)
    config = tmp_path / file.stem / "config.pbtxt"
    config.write_text(config.read_text() + "instance_group [ { count: 2 } ]\n")
    assert add_to_repository(file, spec, tmp_path) == first
    changed = tmp_path / "other" / file.name
    changed.parent.mkdir()
    changed.write_bytes(file.read_bytes() + b"\0")
    second = add_to_repository(changed, spec, tmp_path)
    assert second.parent.name == "2" and first.read_bytes() == file.read_bytes()
    assert "count: 2" in config.read_text() and _parsed(config).instance_group[0].count == 2
    assert sorted(path.name for path in (tmp_path / file.stem).iterdir()) == ["1", "2", "config.pbtxt"]


def test_an_engine_is_a_plan(tmp_path: Path) -> None:
    engine = tmp_path / "espcn-x4.fp16.a-gpu.engine"
    engine.write_bytes(b"plan")
    made = add_to_repository(engine, open_session(zoo.find("espcn-x4"), "ort", "cpu").spec, tmp_path / "models")
    assert made.name == "model.plan" and 'backend: "tensorrt"' in (made.parents[1] / "config.pbtxt").read_text()
