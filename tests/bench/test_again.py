"""An earlier report's network, of another file than today's, takes its turns beside it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from srdeploy import zoo
from srdeploy.bench import again, machine, measure, sampling
from srdeploy.cli.app import app
from srdeploy.parity import file_hash

onnx = pytest.importorskip("onnx", reason="makes a network slower")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(machine, "_PEAK_SECONDS", 0.01)
    monkeypatch.setattr(sampling, "VISIT_SECONDS", 0.01)
    monkeypatch.setattr(measure, "measure_fresh", lambda row: {})
    yield


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network with its first convolution's work done several times over."""
    model = onnx.load(zoo.find("espcn-x4"))
    graph = model.graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    channels = next(tensor for tensor in graph.initializer if tensor.name == first.input[1]).dims[0]
    kernel = np.zeros((channels, channels, 3, 3), np.float32)
    kernel[range(channels), range(channels), 1, 1] = 1
    graph.initializer.append(onnx.numpy_helper.from_array(kernel, "middle"))
    name, first.output[0] = first.output[0], "more 0"
    place = list(graph.node).index(first) + 1
    for step in range(8):
        inputs, outputs = [f"more {step}", "middle"], [f"more {step + 1}" if step < 7 else name]
        graph.node.insert(place + step, onnx.helper.make_node("Conv", inputs, outputs, pads=[1] * 4))
    path = tmp_path_factory.mktemp("slower") / "espcn-x4.onnx"
    onnx.save(model, path)
    return path


def _bench(*words: object) -> Result:
    fixed = ("--backend", "ort", "--size", "96x64", "--threads", 1, "--limit", 4)
    return CliRunner().invoke(app, ["bench", *map(str, (*words, *fixed))])


def _report(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def test_a_file_that_was_written_over_is_measured_as_it_was(slower: Path, tmp_path: Path) -> None:
    """As in a repository: the same path, another network."""
    path, before, after = tmp_path / "mine.onnx", tmp_path / "before", tmp_path / "after"
    shutil.copy(zoo.find("espcn-x4"), path)
    assert _bench(path, "-o", before).exit_code == 0
    kept = before / "networks" / f"{file_hash(path)}.onnx"
    assert kept.read_bytes() == path.read_bytes()
    shutil.copy(slower, path)
    result = _bench(path, "--against", before / "report.json", "-o", after)
    assert result.exit_code == 1 and "slower: espcn-x4" in result.stdout, result.output
    report = _report(after)
    (change,), (before_it,), (row,) = report["against"]["rows"], report["again"], report["rows"]
    assert (change["by"], change["verdict"]) == ("clock, in one run", "slower")
    assert before_it["model_sha256"] == kept.stem != row["model_sha256"]
    assert abs(len(before_it["visits"]) - len(row["visits"])) <= 1, "in turns"
    assert change["old_ms"] == pytest.approx(before_it["latency_ms"]["p50"], abs=1e-4), "samples are rounded"
    kept.unlink()
    result = _bench(path, "--against", before)
    assert "cannot be measured again, so times are compared: espcn-x4.fp32.onnx" not in result.stderr
    assert "again" in result.stderr, "what ships is the same file as the one that was kept"


def test_a_network_that_is_gone_is_said_to_be(slower: Path, tmp_path: Path) -> None:
    path, before = tmp_path / "mine.onnx", tmp_path / "before"
    shutil.copy(slower, path)
    assert _bench(path, "-o", before).exit_code == 0
    shutil.rmtree(before / "networks")
    result = _bench(zoo.find("espcn-x4"), "--against", before, "--json")
    assert "cannot be measured again, so times are compared: espcn-x4.fp32.onnx is another file" in result.stderr
    report = json.loads(result.stdout)
    assert "again" not in report and report["against"]["rows"][0]["by"] != "clock, in one run"


def test_what_ships_is_not_copied_and_not_measured_twice(tmp_path: Path) -> None:
    assert _bench("espcn-x4", "--precision", "fp32", "-o", tmp_path / "before").exit_code == 0
    assert not (tmp_path / "before" / "networks").exists()
    _bench("espcn-x4", "--precision", "fp32", "--against", tmp_path / "before", "-o", tmp_path / "after")
    assert "again" not in _report(tmp_path / "after")


def test_a_network_that_cannot_be_kept_costs_no_report(
    slower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(again.shutil, "copyfile", full)
    result = _bench(slower, "-o", tmp_path / "before")
    assert result.exit_code == 0 and "cannot keep" in result.stderr and "No space left" in result.stderr
    assert _report(tmp_path / "before")["rows"]
