"""`srdeploy bench`, as a person types it, at sizes that take no time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from srdeploy.backends.session import is_usable
from srdeploy.bench import machine, measure, sampling
from srdeploy.bench.suite import load_suite
from srdeploy.cli.app import app
from srdeploy.errors import DeviceError

FP32 = ("espcn-x4", "--precision", "fp32", "--backend", "ort")


def _invoke(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, words)])


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Short visits and short looks at the machine's peaks: what is tested is what is said, not how fast it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "_PEAK_SECONDS", 0.01)
        patch.setattr(sampling, "VISIT_SECONDS", 0.01)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two rows, as one command makes it."""
    out = tmp_path_factory.mktemp("bench") / "out"
    result = _invoke(*FP32, "--size", "48x32", "--size", "64x48", "--threads", 1, "--limit", 1, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("frames/s") == 2 and "report.html" in result.stdout
    return out


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def test_the_memory_of_who_started_it_is_not_counted() -> None:
    """Linux hands the most that a process took down to those that it starts."""
    code = (
        "import subprocess, sys\nfull = bytearray(b'x') * (600 << 20)\n"
        "look = 'from srdeploy.bench import fresh; print(fresh._peak_mb())'\n"
        "subprocess.run([sys.executable, '-c', look], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 5 < float(done.stdout) < 400


def test_the_fields_that_scripts_count_on(report: dict[str, Any]) -> None:
    assert {"environment", "rows"} <= set(report)
    assert [row["input"] for row in report["rows"]] == [[32, 48], [48, 64]]
    for row in report["rows"]:
        assert (row["model"], row["backend"], row["precision"], row["device"]) == ("espcn-x4", "ort", "fp32", "cpu")
        latency, samples = row["latency_ms"], row["samples_ms"]
        assert latency["min"] == pytest.approx(min(samples), abs=1e-4)
        assert latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"]
        assert latency["interval"][0] <= latency["p50"] <= latency["interval"][1]
        assert row["fps"] == pytest.approx(1e3 / latency["p50"])
        assert sum(row["visits"]) == len(samples)
        assert len(row["visits"]) == len(row["reference_ms"]) == len(row["cpu_ms"]) == len(row["reference_cpu_ms"])
        assert 20 < row["peak_memory_mb"] < 2000
        assert 0 < row["start_up_ms"] < row["first_frame_ms"]
        assert len(row["model_sha256"]) == 64
        assert row["multiply_adds"] == row["input"][0] * row["input"][1] * 24640
        assert row["compute_share"] > 0 and row["memory_share"] > 0
        assert (row["joules_per_frame"] is None) == (row["energy_why_not"] is not None)
    assert {"cpu", "cpu_flags", "cores", "governor", "libraries", "peaks", "gpus"} <= set(report["environment"])


def test_no_path_of_the_machine_is_in_a_report(folder: Path) -> None:
    for path in folder.iterdir():
        assert str(Path.home()) not in path.read_text() and "/src/" not in path.read_text()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=64x48:d=0.32", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path


def test_json_is_one_document_and_a_file_is_measured_too(clip: Path) -> None:
    result = _invoke("fast-x2", "--video", clip, "--limit", 1, "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["kind"], row["file"], row["input"]) == ("video", "clip.mp4", [48, 64])
    assert sum(row["visits"]) == len(row["samples_ms"]) and row["fps"] > 0


def test_against_an_earlier_report(report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took a hundredth of the time before is slower now, and the command fails; the reverse is faster."""
    monkeypatch.setattr(measure, "measure_fresh", lambda row: {})  # all of the time is for samples
    for factor, code, word in ((0.01, 1, "slower"), (100, 0, "faster")):
        old = json.loads(json.dumps(report))
        for row in old["rows"]:
            row["samples_ms"] = [value * factor for value in row["samples_ms"][:1] * 20]
            row["cpu_ms"] = [value * factor for value in row["cpu_ms"][:1] * 20]
            row |= {"visits": [1] * 20}
            row |= {key: row[key][:1] * 20 for key in ("reference_ms", "reference_cpu_ms")}
        (tmp_path / "old.json").write_text(json.dumps(old))
        words = [*FP32, "--size", "48x32", "--threads", 1, "--limit", 3, "--against", tmp_path / "old.json"]
        result = _invoke(*words, "-o", tmp_path / "new")
        assert result.exit_code == code, (result.stdout, result.stderr)
        changes = json.loads((tmp_path / "new" / "report.json").read_text())["against"]["rows"]
        assert [change["verdict"] for change in changes] == [word]
        assert word in result.stdout
    assert "1 of 1 rows" not in result.stderr


def test_what_was_measured_is_kept_when_it_cannot_be_compared(report: dict[str, Any], tmp_path: Path) -> None:
    """A report of other rows, given by mistake after minutes of measuring."""
    other = {**report, "rows": [{**row, "model": "srcnn-x2"} for row in report["rows"]]}
    (tmp_path / "old.json").write_text(json.dumps(other))
    words = [*FP32, "--size", "48x32", "--size", "64x48", "--threads", 1, "--limit", 1, "-o", tmp_path / "new"]
    result = _invoke(*words, "--against", tmp_path / "old.json")
    assert result.exit_code == 1 and "no row in common" in result.stderr
    assert len(json.loads((tmp_path / "new" / "report.json").read_text())["rows"]) == 2


def test_a_place_for_the_report_is_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "measure", lambda *_, **__: pytest.fail("it was measured"))
    (tmp_path / "file").write_text("")
    result = _invoke(*FP32, "--size", "48x32", "-o", tmp_path / "file")
    assert result.exit_code == 1 and "type another -o" in result.stderr, result.output
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    result = _invoke(*FP32, "--size", "48x32", "-o", tmp_path)
    assert result.exit_code == 1 and f"the folder {tmp_path} is not writable" in result.stderr, result.output


def test_quality_is_looked_for_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_timed", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "a.fp32.set5.json").write_text("{}")
    for folder, words in (("none", "there is no folder"), ("scores", "is no result of srdeploy eval --json")):
        suite = tmp_path / "suite.toml"
        suite.write_text(f'name = "T"\nquality = "{folder}"\n[[network]]\nmodels = ["espcn-x4"]\n')
        result = _invoke("--suite", suite)
        assert result.exit_code == 1 and words in result.stderr, result.output


def test_a_suite_tells_what_it_could_not_measure(tmp_path: Path, clip: Path) -> None:
    pytest.importorskip("torch", reason="a peer")
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "T"\nlimit_s = 1.0\n[[network]]\nmodels = ["espcn-x4", "none-x4"]\nsizes = ["48x32"]\nthreads = [1]\n'
        '[[peers]]\npeers = ["onnxruntime", "pytorch", "opencv", "ffmpeg bicubic", "ffmpeg xbr"]\n'
        f'models = ["espcn-x4"]\nsizes = ["48x32"]\nthreads = [1]\nfile = "{clip}"\n'
        '[[video]]\nfile = "none.mp4"\nmodels = ["espcn-x4"]\n'
    )
    result = _invoke("--suite", suite, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [(row["backend"], row["peer"]) for row in document["rows"]] == [
        ("ort", False),
        ("ffmpeg", True),
        ("ffmpeg", True),
        ("onnxruntime", True),
        ("pytorch", True),
        ("opencv", True),
    ]
    assert [row["file"] for row in document["rows"][1:3]] == ["clip.mp4"] * 2
    for row in document["rows"][3:]:
        assert row["agreement"]["levels"] <= 1, "a peer does the same work"
    assert [row["model"] for row in document["not_measured"]] == ["none-x4", "espcn-x4"]
    assert all(row["reason"] for row in document["not_measured"])


def test_the_suite_for_gpus_without_one_and_its_twin_on_the_cpu(clip: Path) -> None:
    """The same tables with another device take the same road. That they run on a GPU was never seen."""
    pytest.importorskip("torch", reason="a peer")
    suite = load_suite(Path(__file__).parents[2] / "benchmarks" / "gpu.toml")
    suite = replace(
        suite,
        limit_s=1.0,
        quality="",
        network=tuple(
            replace(t, models=("espcn-x4",), sizes=("48x32",), batch=t.batch[:1]) for t in suite.network[::2]
        ),
        video=tuple(replace(t, models=("espcn-x4",), file=str(clip)) for t in suite.video),
        peers=tuple(replace(t, models=("espcn-x4",), sizes=("48x32",), peers=("pytorch",)) for t in suite.peers),
    )
    if not is_usable("ort", "ort cuda"):
        with pytest.raises(
            DeviceError, match=r"nothing of the suite could be measured .*found no NVIDIA GPU"
        ) as caught:
            measure.measure(suite)
        assert "\n" not in str(caught.value)
    twin = replace(
        suite,
        network=tuple(replace(t, device="cpu", backends=("ort",)) for t in suite.network),
        video=tuple(replace(t, device="cpu", backends=("ort",), precisions=("fp32",)) for t in suite.video),
        peers=tuple(replace(t, device="cpu") for t in suite.peers),
    )
    found = {(row["kind"], row["backend"], row["precision"]) for row in measure.measure(twin)["rows"]}
    assert {("network", "ort", "fp32"), ("video", "ort", "fp32")} <= found
    assert {("network", "pytorch", "fp32"), ("network", "pytorch", "fp16")} <= found


def test_peers_that_are_not_installed_are_rows_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "T"\nlimit_s = 1.0\n[[network]]\nmodels = ["espcn-x4"]\nsizes = ["48x32"]\n'
        f'[[peers]]\npeers = ["ffmpeg bicubic"]\nfile = "{clip}"\n'
    )
    (missing,) = json.loads(_invoke("--suite", suite, "--json").stdout)["not_measured"]
    assert missing["backend"] == "ffmpeg" and "apt install ffmpeg" in missing["reason"]


def test_wrongly(tmp_path: Path, samples: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[network]]\nmodel = 1\n")
    (tmp_path / "bad.json").write_text("{}")
    for words in (
        ["nope"],
        ["espcn-x4", "--size", "huge"],
        ["espcn-x4", "--precision", "fp16"],
        ["--suite", tmp_path / "none.toml"],
        ["--suite", tmp_path / "bad.toml"],
        ["espcn-x4", "--against", tmp_path / "bad.json"],
        ["espcn-x4", "--video", samples / "owl.png"],
        ["espcn-x4", "--video", tmp_path / "none.mp4"],
        ["espcn-x4", "-o", ""],
        ["espcn-x4", "--video", ""],
        ["espcn-x4", "--against", ""],
        ["--suite", ""],
    ):
        result = _invoke(*words, "--limit", 1)
        assert result.exit_code == 1, words
        errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, result.stderr
        assert "Traceback" not in result.stderr
    assert _invoke("espcn-x4", "--suite", tmp_path / "bad.toml").exit_code == 2
    assert _invoke("espcn-x4", "--precision", "fp8").exit_code == 2
