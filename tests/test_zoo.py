"""How names, families and paths become files, on a folder of empty files."""

from pathlib import Path

import pytest

from srdeploy import zoo
from srdeploy.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("espcn-x4", "srcnn-rgb-x4", "srcnn-x2", "srcnn-x4"):
        for kind in ("fp32", "fp32.float"):
            (folder / f"{name}.{kind}.onnx").touch()
    for kind in ("fp16.onnx", "fp16.float.onnx", "safetensors"):
        (folder / f"espcn-x4.{kind}").touch()
    return folder


def test_names_are_the_files(folder: Path) -> None:
    assert zoo.names(folder) == ["espcn-x4", "srcnn-rgb-x4", "srcnn-x2", "srcnn-x4"]


@pytest.mark.parametrize(
    ("model", "scale", "precision", "pixels", "expected"),
    [
        (None, None, "fp32", "uint8", "espcn-x4.fp32.onnx"),
        (None, 4, "fp32", "uint8", "espcn-x4.fp32.onnx"),
        ("espcn-x4", None, "fp16", "uint8", "espcn-x4.fp16.onnx"),
        ("espcn-x4", 4, "fp16", "float", "espcn-x4.fp16.float.onnx"),
        ("espcn", None, "fp32", "float", "espcn-x4.fp32.float.onnx"),
        ("srcnn", 2, "fp32", "uint8", "srcnn-x2.fp32.onnx"),
        ("srcnn-rgb", None, "fp32", "uint8", "srcnn-rgb-x4.fp32.onnx"),
    ],
)
def test_find(folder: Path, model: str, scale: int, precision: str, pixels: str, expected: str) -> None:
    assert zoo.find(model, scale, precision, pixels, folder) == folder / expected


@pytest.mark.parametrize(
    ("model", "scale", "precision", "words"),
    [
        ("espcn-x4", 2, "fp32", ["espcn-x4 enlarges by 4, not by 2", "espcn-x4, srcnn-rgb-x4, srcnn-x2, srcnn-x4"]),
        ("srcnn-x4", 2, "fp32", ["type srcnn-x2 for it"]),
        ("espcn-x3", None, "fp32", ["no model is named 'espcn-x3'", "espcn-x4, srcnn-rgb-x4"]),
        ("edsr", None, "fp32", ["no model is named 'edsr'", "espcn-x4, srcnn-rgb-x4"]),
        ("", None, "fp32", ["no model is named ''"]),
        ("srcnn", None, "fp32", ["several scales: srcnn-x2, srcnn-x4; type one of them"]),
        ("srcnn", 3, "fp32", ["srcnn does not ship at scale 3", "srcnn-x2"]),
        (None, 3, "fp32", ["espcn does not ship at scale 3", "espcn-x4"]),
        ("espcn-x4", None, "int8", ["does not ship as int8", "fp32, fp16;", "srdeploy export espcn-x4 --int8"]),
        ("srcnn-x2", None, "fp16", ["does not ship as fp16", "as fp32;"]),
    ],
)
def test_refused_in_one_line(folder: Path, model: str, scale: int, precision: str, words: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        zoo.find(model, scale, precision, folder=folder)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bare_word_is_never_a_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("espcn-x4").mkdir()
    assert zoo.find("espcn-x4", folder=folder).parent == folder


def test_paths(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.fp32.onnx"
    path.touch()
    assert zoo.find(str(path), 2, "fp16", folder=folder) == path  # whoever opens it compares the facts
    with pytest.raises(ModelError, match=r"mine\.fp32\.float\.onnx, which is not there; type: srdeploy export"):
        zoo.find(str(path), pixels="float", folder=folder)
    beside = tmp_path / "mine.fp32.float.onnx"
    beside.touch()
    assert zoo.find(str(path), pixels="float", folder=folder) == beside
    assert zoo.find(str(beside), pixels="float", folder=folder) == beside
    monkeypatch.chdir(tmp_path)
    assert zoo.find("mine.fp32.onnx", folder=folder) == Path("mine.fp32.onnx")


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [
        ("missing.onnx", False, "no such file: .*missing.onnx; shipped models: espcn-x4"),
        ("net.pth", True, "net.pth is a checkpoint, not a model file; type: srdeploy export .*net.pth"),
        ("net.safetensors", True, "type: srdeploy export .*net.safetensors"),
        ("net.pth", False, "no such file"),
        ("net.txt", True, "not an .onnx file"),
        ("", True, "is a folder"),
    ],
)
def test_refused_paths(folder: Path, tmp_path: Path, name: str, there: bool, words: str) -> None:
    path = tmp_path / name
    if there and name:
        path.touch()
    with pytest.raises(ModelError, match=words):
        zoo.find(str(path), folder=folder)


def test_find_weights(folder: Path) -> None:
    assert zoo.find_weights(None, folder=folder) == folder / "espcn-x4.safetensors"
    assert zoo.find_weights("espcn", 4, folder=folder) == folder / "espcn-x4.safetensors"
    with pytest.raises(ModelError, match="install srdeploy again"):
        zoo.find_weights("srcnn-x2", folder=folder)


def test_an_empty_installation_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="install srdeploy again"):
        zoo.find(folder=tmp_path)
    assert zoo.parity_pictures(tmp_path) == []


def test_parity_pictures_ship() -> None:
    paths = zoo.parity_pictures()
    assert [path.name for path in paths] == ["chart.png", "facade.png", "owl.png"]
    assert sum(path.stat().st_size for path in paths) < 120_000
