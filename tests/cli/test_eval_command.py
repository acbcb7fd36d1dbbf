"""`srdeploy eval`, as a person types it."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from srdeploy.cli.app import app


def _invoke(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def _json(result: Result) -> dict[str, Any]:
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_beats_bicubic(samples: Path, tmp_path: Path) -> None:
    for name in ("owl.png", "facade.png"):
        shutil.copy(samples / name, tmp_path / name)
    ours = _json(_invoke("eval", "espcn-x4", "--data", tmp_path, "--json"))
    theirs = _json(_invoke("eval", "bicubic", "--data", tmp_path, "--scale", 4, "--json"))
    assert set(ours) >= {"model", "scale", "protocol", "data", "mean", "images"}
    assert {i["name"] for i in ours["images"]} == {"owl", "facade"}
    assert ours["mean"]["psnr_y"] > theirs["mean"]["psnr_y"] + 0.3
    assert ours["mean"]["ssim_y"] > theirs["mean"]["ssim_y"]


def test_walks_folders(samples: Path, tmp_path: Path) -> None:
    for name in ("top.png", "sub/deep.png", ".hidden/none.png", "sub/.none.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(samples / "owl.png", tmp_path / name)
    document = _json(_invoke("eval", "bicubic", "--data", tmp_path, "--metrics", "psnr_y", "--json"))
    assert [i["name"] for i in document["images"]] == ["sub/deep", "top"]


def test_on_the_published_set(shared: Path) -> None:
    """The floor of the shipped default model: 30.0 dB on Set5 at x4; bicubic has 28.43."""
    result = _json(_invoke("eval", "espcn-x4", "--data", shared / "data" / "test" / "set5", "--json"))
    assert result["mean"]["psnr_y"] >= 30.45


def test_wrongly(samples: Path, tmp_path: Path) -> None:
    for words in (
        ["espcn-x4", "--data", tmp_path],
        ["espcn-x4", "--data", tmp_path / "none"],
        ["nope", "--data", samples],
        ["espcn-x4", "--data", samples, "--metrics", "beauty"],
        ["espcn-x4", "--data", samples, "--scale", "2"],
    ):
        result = _invoke("eval", *words)
        assert result.exit_code == 1, words
        assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def two(samples: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("owl.png", "facade.png"):
        shutil.copy(samples / name, folder / name)
    return folder


def test_the_gain_over_bicubic(two: Path) -> None:
    words = ("eval", "espcn-x4", "--data", two, "--baseline", "bicubic", "--metrics", "psnr_y,entropy")
    document = _json(_invoke(*words, "--json"))
    base = _json(_invoke("eval", "bicubic", "--data", two, "--metrics", "psnr_y,entropy", "--json"))
    assert document["baseline"] == {"model": "bicubic", "mean": base["mean"]}
    assert document["gain"]["psnr_y"] == pytest.approx(document["mean"]["psnr_y"] - base["mean"]["psnr_y"])
    assert document["gain"]["psnr_y"] > 0.3
    lines = _invoke(*words).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "espcn-x4.fp32.onnx,",
        "psnr_y",
        "facade",
        "owl",
        "mean",
        "bicubic",
        "gain",
    ]


def test_several_models_in_one_table(two: Path, tmp_path: Path) -> None:
    words = ("eval", "espcn-x4", "espcn-x2", "--data", two, "--metrics", "psnr_y", "--baseline", "bicubic")
    out = ("--save", tmp_path / "made", "--csv", tmp_path / "scores.csv")
    document = _json(_invoke(*words, *out, "--json"))
    assert [(m["model"], m["scale"]) for m in document["models"]] == [
        ("espcn-x4.fp32.onnx", 4),
        ("espcn-x2.fp32.onnx", 2),
    ]
    assert all(m["gain"]["psnr_y"] > 0.3 for m in document["models"])
    made = sorted(p.relative_to(tmp_path / "made").as_posix() for p in (tmp_path / "made").rglob("*.png"))
    assert made == [f"espcn-x{s}.fp32/{name}.png" for s in (2, 4) for name in ("facade", "owl")]
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert len(rows) == 2 * 4  # two models, and bicubic at the scale of each
    assert {(row["model"], row["scale"]) for row in rows} == {
        ("espcn-x4.fp32.onnx", "4"),
        ("espcn-x2.fp32.onnx", "2"),
        ("bicubic", "2"),
        ("bicubic", "4"),
    }
    again = _invoke(*words, *out)
    assert again.exit_code == 1 and "scores.csv exists already; type --overwrite" in again.stderr
    again = _invoke(*words, *out, "--overwrite")
    assert again.exit_code == 0, again.stderr
    assert "gain of espcn-x2.fp32.onnx x2" in again.stdout


def test_files_of_one_name_are_told_apart(two: Path, tmp_path: Path) -> None:
    from srdeploy import zoo

    files = []
    for name in ("espcn-x4", "fast-x4"):
        (tmp_path / name).mkdir()
        files.append(str(shutil.copy(zoo.find(name, precision="fp32"), tmp_path / name / "best.onnx")))
    words = ("--data", two, "--metrics", "psnr_y")
    result = _invoke("eval", *files, "bicubic", *words, "--csv", tmp_path / "scores.csv")
    assert all(f"{file} x4" in result.stdout for file in files), result.output
    assert {row["model"] for row in csv.DictReader((tmp_path / "scores.csv").open())} == {*files, "bicubic"}
    refused = _invoke("eval", *files, *words, "--save", tmp_path / "made")
    assert refused.exit_code == 1 and "two models are called best, and --save needs a folder" in refused.stderr


def test_bicubic_takes_the_scale_of_the_models_beside_it(two: Path) -> None:
    words = ("--data", two, "--metrics", "psnr_y")
    document = _json(_invoke("eval", "bicubic", "espcn-x2", *words, "--json"))
    assert [(m["model"], m["scale"]) for m in document["models"]] == [("bicubic", 2), ("espcn-x2.fp32.onnx", 2)]
    refused = _invoke("eval", "bicubic", "espcn-x2", "espcn-x4", *words)
    assert refused.exit_code == 1 and "bicubic beside models of x2, x4: type --scale" in refused.stderr


def test_options_wrongly(two: Path, tmp_path: Path) -> None:
    for words, said in (
        (["bicubic", "--data", ""], "--data is empty"),
        (["bicubic", "--data", two, "--save", ""], "--save is empty"),
        (["bicubic", "--data", two, "--csv", tmp_path], "is a folder"),
        (["bicubic", "--data", two, "--metrics", "is"], "is needs at least 20 pictures and there are 2"),
        (["bicubic", "--data", two, "--weights", "vgg=a.pth"], "no weights are named 'vgg'"),
        (["bicubic", "--data", two, "--weights", "niqe="], "--weights niqe= is empty"),
        (["bicubic", "--data", two, "--baseline", "espcn-x2", "--scale", "4"], "espcn-x2 enlarges by 2"),
        (["espcn-x4", "espcn-x4", "--data", two, "--save", tmp_path / "x"], "two models are called espcn-x4.fp32"),
    ):
        result = _invoke("eval", *words, "--json")
        assert result.exit_code == 1, words
        (line,) = result.stderr.splitlines()
        assert said in line
        assert set(_json(result)) == {"error"}
    assert _invoke("eval", "bicubic", "--data", two, "--weights", "vgg16").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_what_auto_chose_is_said(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srdeploy.upscale.opening.is_fast_int8", lambda: True)
    words = ("eval", "espcn-x4", "--data", two, "--metrics", "psnr_y", "--backend", "ort")
    result = _invoke(*words, "--precision", "auto", "--json")
    assert _json(result)["model"] == "espcn-x4.int8.onnx"
    assert result.stderr.startswith("note: espcn-x4.int8.onnx: --precision auto took int8 on ort: "), result.stderr
    assert _invoke(*words, "--json").stderr == "", "without it, nothing is chosen"
