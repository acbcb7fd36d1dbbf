"""Every shipped file on every engine of the CPU against PyTorch: proved on our samples, and found in the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srdeploy import parity, zoo
from srdeploy.backends.session import is_usable
from srdeploy.bench import proof
from srdeploy.bench.suite import Parity, load_suite
from srdeploy.cli.app import app
from srdeploy.difference import Enlarge
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.parity import file_hash
from srdeploy.picture import Picture, Pixels

pytest.importorskip("torch", reason="PyTorch is the reference")

REPOSITORY = Path(__file__).resolve().parents[2]
ENGINES = [name for name in ("ort", "openvino") if is_usable(name)]


def _shipped() -> list[Path]:
    others = (
        ".float.onnx",
        ".int8-trt.onnx",
    )  # the latter is TensorRT's; what it carries is proved in tests/test_quantize
    return sorted(path for path in zoo.MODELS.glob("*.onnx") if not path.name.endswith(others))


@pytest.fixture(scope="module")
def pictures(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The middle of one picture of ours, as a set: every model runs on it many times."""
    folder = tmp_path_factory.mktemp("data") / "ours"
    folder.mkdir()
    whole = read_picture(samples / "owl.png").planes[0]
    top, left = (side // 2 - 96 for side in whole.shape[:2])
    write_picture(folder / "owl.png", Picture("rgb", (whole[top : top + 192, left : left + 192],)))
    return folder


def test_everything_that_ships_is_what_was_trained(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "SIDE", 96)
    rows, missing = proof.prove(Parity((str(pictures),), "none"), Path(), lambda line: None)
    wrong = [
        f"{r['file']} on {r['backend']}: {r['psnr_db']} dB, loses {r['loss_db']} dB" for r in rows if not r["passed"]
    ]
    assert not wrong
    proved = {(row["file"], row["backend"]) for row in rows}
    assert proved >= {(path.name, engine) for path in _shipped() for engine in ENGINES}
    assert {row["backend"] for row in missing} <= {"openvino"}
    for row in rows:
        assert set(row["sets"]) == {"ours"} and row["sets"]["ours"]["psnr_y"] > 20
    halves = [row for row in rows if row["backend"] == "node by node"]
    assert halves and all("fp16, rounded" in row["precision"] for row in halves)


def test_a_file_that_differs_fails(pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: Callable[..., tuple[Enlarge, str]] = proof._on_engine

    def wrong(*words: Any) -> tuple[Enlarge, str]:
        enlarge, arithmetic = opened(*words)

        def darker(pixels: Pixels) -> Pixels:
            return np.maximum(enlarge(pixels), 3) - np.uint8(3)

        return darker, arithmetic

    monkeypatch.setattr(proof, "_on_engine", wrong)
    suite = tmp_path / "suite.toml"
    suite.write_text(f'name = "P"\n[parity]\nsets = ["{pictures}"]\ninstead = "x"\nmodels = ["espcn-x4"]\n')
    result = CliRunner().invoke(app, ["bench", "--suite", str(suite), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "differ from PyTorch by more than allowed: espcn-x4.fp32.onnx on ort" in result.stderr
    assert "| FAIL |" in (tmp_path / "out" / "report.md").read_text()


def test_without_the_published_sets_our_samples_are_used(tmp_path: Path) -> None:
    table = load_suite(REPOSITORY / "benchmarks" / "parity.toml").parity
    assert table is not None
    (tmp_path / "benchmarks").mkdir()
    assert proof._sets(table, tmp_path / "benchmarks") == {"samples": tmp_path / "benchmarks" / "../samples"}


def test_the_committed_report_is_complete_and_of_what_ships() -> None:
    path = REPOSITORY / "benchmarks" / "reports" / "parity" / "report.json"
    if not path.is_file():
        pytest.skip("the parity report is not drawn yet")
    report = json.loads(path.read_text())
    # bf16 lives in no file: where it loses too much its row says so, and `auto` does not take it.
    found = {(row["file"], row["backend"]): row for row in report["parity"] if row["precision"] != "bf16"}
    for path in _shipped():
        for engine in ("ort", "openvino"):
            row = found[path.name, engine]
            again = "type: srdeploy bench --suite benchmarks/parity.toml -o benchmarks/reports/parity"
            assert row["sha256"] == file_hash(path), f"{path.name} is not the file that was proved; {again}"
            assert row["passed"] and set(row["sets"]) == {"set5", "set14", "b100"}


def test_on_a_gpu_every_engine_of_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through stand-ins: no GPU was at hand. The suite without one says so before PyTorch is at work."""
    asked = [(c.path.name, c.backend, c.open.keywords["device"]) for c in proof._on_gpu("espcn-x4", "cuda")]  # type: ignore[attr-defined]
    backends = ("ort", "ort-tensorrt", "tensorrt")
    assert asked[:3] == [("espcn-x4.fp32.onnx", backend, "cuda") for backend in backends]
    assert len(asked) == 3 * len(list(zoo.MODELS.glob("espcn-x4.*[0-9].onnx")))
    if is_usable("ort", "ort cuda"):
        pytest.skip("there is a GPU")
    monkeypatch.setattr(proof, "_sets", lambda *words: pytest.fail("PyTorch is at work already"))
    result = CliRunner().invoke(app, ["bench", "--suite", str(REPOSITORY / "benchmarks" / "parity-gpu.toml")])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: device cuda was asked, and no engine has one: found no NVIDIA GPU")
    assert len(result.stderr.splitlines()) == 1
