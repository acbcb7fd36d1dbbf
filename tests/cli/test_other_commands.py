"""The other verbs, as a person types them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from srdeploy.cli.app import app

VERBS = ("run", "train", "export", "check", "eval", "bench", "info")


def _invoke(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def _json(result: Result) -> dict[str, Any]:
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = _invoke(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: srdeploy {verb} " in " ".join(result.stdout.split())


def test_info_of_the_machine() -> None:
    document = _json(_invoke("info", "--json"))
    assert {b["name"] for b in document["backends"]} >= {"ort cpu", "ort cuda", "openvino", "tensorrt"}
    for backend in document["backends"]:
        assert set(backend) == {"name", "available", "why_not", "devices"}
        assert backend["available"] == (backend["why_not"] is None) == bool(backend["devices"])
    assert "espcn-x4" in document["models"]
    assert document["environment"]["python"] == sys.version.split()[0]
    assert "ort cpu" in _invoke("info").stdout


def test_info_of_a_model() -> None:
    document = _json(_invoke("info", "espcn-x4", "--json"))
    assert document["name"] == "espcn-x4"
    assert (document["scale"], document["channels"], document["halo"], document["multiple"]) == (4, 1, 4, 1)
    assert document["precision"] == "fp32" and document["parameters"] == 24_752
    assert document["parity"]["passed"] is True
    assert "halo: 4" in _invoke("info", "espcn-x4").stdout


def test_info_of_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no")
    for model in ("nope", tmp_path / "none.onnx", tmp_path / "x.onnx"):
        result = _invoke("info", model, "--json")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert set(_json(result)) == {"error"}


def test_check_of_shipped_files() -> None:
    from srdeploy import zoo

    for precision in ("fp32", "fp16"):
        result = _invoke("check", zoo.find("espcn-x4", None, precision), "--json")
        document = _json(result)
        assert result.exit_code == 0
        assert document["passed"] is True
        assert set(document) >= {"reference", "candidate", "max_abs", "psnr_db", "levels_off", "tolerance", "passed"}
    assert "passed" in _invoke("check", "espcn-x4").stdout


def test_check_against_what_is_none(tmp_path: Path) -> None:
    result = _invoke("check", "espcn-x4", "--against", tmp_path / "none.onnx")
    assert result.exit_code == 1
    assert "type --against" in result.stderr


def test_export_with_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _invoke("export", "--fp16", "--json")
    assert result.exit_code == 0, result.stderr
    files = {Path(f["path"]).name: f for f in _json(result)["files"]}
    assert set(files) == {"espcn-x4.fp32.onnx", "espcn-x4.fp16.onnx"}
    assert set(map(str, Path().iterdir())) == set(files)
    for name, file in files.items():
        assert file["bytes"] == Path(name).stat().st_size
        assert file["parity"]["passed"] is True
    result = _invoke("export", "--fp16")
    assert result.stdout.splitlines()[-1].startswith("next: srdeploy run")
    result = _invoke("export", "--triton", "a folder")
    assert result.stdout.splitlines()[-1] == f"next: tritonserver --model-repository='{Path('a folder').resolve()}'"


def test_a_command_that_is_none() -> None:
    assert _invoke("enlarge").exit_code == 2
    assert _invoke("run").exit_code == 2
    assert "srdeploy " in _invoke("--version").stdout


def test_typed_features_are_found_from_where_they_were_typed(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training = pytest.importorskip("srdeploy.learn.training", reason="needs the extra train")
    plans: list[Any] = []

    def train(plan: object, *_: object) -> object:
        plans.append(plan)
        return SimpleNamespace(weights="w.safetensors", psnr_db=30.0, epoch=1)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.chdir(tmp_path)
    words = ("train", repository / "train" / "espcn-x4.toml", "--loss", "l1+perceptual")
    assert _invoke(*words, "--features", "vgg19.pth").exit_code == 0
    assert (plans[0].loss, plans[0].features) == ("l1+perceptual", str(tmp_path / "vgg19.pth"))
    for wrong, said in ((("--features", ""), "--features is empty"), (("--loss", "l3"), "no loss 'l3'; type one of")):
        result = _invoke(*words, *wrong)
        assert result.exit_code == 1 and said in result.stderr and len(result.stderr.splitlines()) == 1


def test_training_draws_its_bar_on_standard_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = pytest.importorskip("srdeploy.learn.training", reason="needs the extra train")

    def train(*_: object) -> object:
        sys.stdout.write("a bar\n")
        return SimpleNamespace(weights="w.safetensors", psnr_db=30.0, epoch=1)

    monkeypatch.setattr(training, "train", train)
    result = _invoke("train", repository / "train" / "espcn-x4.toml")
    assert result.exit_code == 0, result.stderr
    assert "a bar" in result.stderr
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["w.safetensors", "next"]


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("bash", {"COMP_WORDS": "srdeploy ru", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "srdeploy ru"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "srdeploy ru", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_verbs(shell: str, typed: dict[str, str]) -> None:
    command = [Path(sys.executable).with_name("srdeploy")]
    environment = {**os.environ, "_SRDEPLOY_COMPLETE": f"complete_{shell}", **typed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "run" in done.stdout, done.stderr
    assert "train" not in done.stdout


def test_completion_is_installed_where_the_page_says(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-c", "srdeploy --install-completion; true"]  # the shell stays, so that it can be told
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "completion installed in" in done.stdout, done.stderr
    assert any(path.is_file() for path in tmp_path.rglob("srdeploy*"))
