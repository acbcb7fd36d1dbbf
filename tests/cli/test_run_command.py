"""`srdeploy run` as a person types it: where results go, what is said, and what is refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from srdeploy.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, ["run", *map(str, words)])


@pytest.fixture
def owl(samples: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(samples / "owl.png", tmp_path / "owl.png"))


def _error(result: Result) -> str:
    """The one line of an expected error; nothing else may stand on standard error."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def _json(result: Result) -> dict[str, Any]:
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_a_picture_beside_itself(run: Run, owl: Path) -> None:
    result = run(owl, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    with Image.open(owl) as small, Image.open(owl.with_name("owl_x4.png")) as big:
        assert big.size == (small.width * 4, small.height * 4)
        assert big.mode == small.mode == "RGB"
        back = np.asarray(big.resize(small.size, Image.Resampling.BOX), float)
        assert np.abs(back - np.asarray(small, float)).mean() < 6  # it shows the same picture
    (line,) = result.stdout.splitlines()
    for word in ("owl_x4.png", "1 picture", "espcn-x4", "fp32", "ort", "cpu", "tile none", "frames/s"):
        assert word in line


def test_json_has_the_contracts_fields(run: Run, owl: Path, tmp_path: Path) -> None:
    document = _json(run(owl, "-o", tmp_path / "big.png", "--precision", "fp32", "--json"))
    (output,) = document["outputs"]
    for key, value in {
        "input": str(owl),
        "output": str(tmp_path / "big.png"),
        "frames": 1,
        "model": "espcn-x4",
        "precision": "fp32",
        "backend": "ort",
        "device": "cpu",
        "tile": "none",
    }.items():
        assert output[key] == value
    assert output["seconds"] > 0 and output["fps"] > 0
    assert document["failed"] == []


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tiff", ".png"])
def test_every_kind_of_picture(run: Run, owl: Path, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    with Image.open(owl) as picture:
        picture.crop((0, 0, 80, 61)).save(source)
    assert run(source).exit_code == 0
    with Image.open(tmp_path / f"in_x4{suffix}") as big:
        assert big.size == (320, 244)


def test_tiled_is_whole(run: Run, samples: Path, tmp_path: Path) -> None:
    source = samples / "facade.png"  # odd sides
    results = []
    for tile in ("none", 64, 100, 256):
        assert run(source, "-o", tmp_path / f"{tile}.png", "--tile", tile).exit_code == 0
        with Image.open(tmp_path / f"{tile}.png") as picture:
            results.append(np.asarray(picture))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_folder_is_mirrored_and_one_bad_file_stops_nothing(run: Run, owl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep er").mkdir(parents=True)
    shutil.copy(owl, folder / "a.png")
    shutil.copy(owl, folder / "deep er" / "ü.png")
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("not media")
    result = run(folder, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    document = _json(result)
    assert {Path(o["output"]).relative_to(tmp_path / "out") for o in document["outputs"]} == {
        Path("a.png"),
        Path("deep er/ü.png"),
    }
    (failed,) = document["failed"]
    assert failed["input"] == str(folder / "bad.png")
    assert (tmp_path / "out" / "deep er" / "ü.png").is_file()
    assert not (tmp_path / "out" / "bad.png").exists()


def test_a_folder_without_out_goes_beside_itself_and_resume_skips(run: Run, owl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(owl, folder / "a.png")
    assert run(folder).exit_code == 0
    made = tmp_path / "in_x4" / "a.png"
    before = made.stat().st_mtime_ns
    assert "already" in _error(run(folder))
    document = _json(run(folder, "--resume", "--json"))
    assert document["skipped"] == [{"input": str(folder / "a.png"), "output": str(made)}]
    assert made.stat().st_mtime_ns == before
    assert run(folder, "--overwrite").exit_code == 0
    assert made.stat().st_mtime_ns != before


def test_nothing_existing_is_overwritten(run: Run, owl: Path, tmp_path: Path) -> None:
    target = tmp_path / "owl_x4.png"
    target.write_bytes(b"precious")
    assert "--overwrite" in _error(run(owl))
    assert target.read_bytes() == b"precious"
    assert "replace" in _error(run(owl, "-o", owl, "--overwrite"))


def test_two_inputs_with_one_output_are_refused(run: Run, owl: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = shutil.copy(owl, tmp_path / "b" / "owl.png")
    assert "would both become" in _error(run(owl, other, "-o", tmp_path / "out", "--precision", "fp32"))


WRONG = {
    "missing": "missing",
    "empty.png": "empty",
    "text.png": "text",
    "cut.png": "cut.png",
    "cut.jpg": "cut.jpg",
    "cut.mp4": "cut.mp4",
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_inputs_leave_nothing(run: Run, owl: Path, samples: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("a picture is worth a thousand words\n" * 30)
    (tmp_path / "cut.png").write_bytes(owl.read_bytes()[:3000])
    with Image.open(owl) as picture:
        picture.save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2500])
    # An MP4 whose index would stand at its end: what comes before it is not enough.
    data = (samples / "clip.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:32] + data[200_000:300_000])
    before = set(tmp_path.rglob("*"))
    line = _error(run(tmp_path / name))
    assert WRONG[name] in line
    assert set(tmp_path.rglob("*")) == before
    result = run(tmp_path / name, "--json")
    assert set(_json(result)) >= {"error"}


def test_what_the_file_system_refuses_is_one_line(run: Run, owl: Path, tmp_path: Path) -> None:
    long = tmp_path / f"{'a' * 251}.png"
    shutil.copy(owl, long)
    assert "too long" in _error(run(long))
    assert "too long" in _error(run(owl, "-o", tmp_path / ("b" * 300)))


def test_a_stream_that_nobody_knows_is_said(run: Run, shared: Path, tmp_path: Path) -> None:
    _error(run(shared / "data" / "odd" / "video" / "sample_missing_stsd.mp4", "-o", tmp_path / "o.mp4"))
    assert not list(tmp_path.iterdir())


def test_a_missing_file_does_not_stop_the_others(run: Run, owl: Path, tmp_path: Path) -> None:
    document = _json(run(tmp_path / "none.png", owl, "--json"))
    assert [o["input"] for o in document["outputs"]] == [str(owl)]
    assert [f["input"] for f in document["failed"]] == [str(tmp_path / "none.png")]


def test_what_cannot_be_had_is_an_error(run: Run, owl: Path) -> None:
    before = set(owl.parent.iterdir())
    assert "cuda" in _error(run(owl, "--device", "cuda"))
    assert "fp32 arithmetic" in _error(run(owl, "--precision", "fp16"))
    assert "bf16" in _error(run(owl, "--precision", "bf16", "--backend", "ort"))
    assert "espcn-x4" in _error(run(owl, "-m", "no-such-model"))
    checkpoint = owl.with_name("net.safetensors")
    checkpoint.touch()
    assert "srdeploy export" in _error(run(owl, "-m", checkpoint))
    checkpoint.unlink()
    assert "tensorrt" in _error(run(owl, "--backend", "tensorrt"))
    assert set(owl.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--codec", "nope"], "libx264"),
        (["--preset", "nope"], "veryfast"),
        (["--crf", "99"], "0 to 51"),
        (["-o", "clip.webm"], "aac"),
        (["-o", "clip.png"], ".mp4"),
    ],
)
def test_how_a_video_cannot_be_written(
    run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = shutil.copy(samples / "clip.mp4", tmp_path / "c.mp4")
    assert said in _error(run(clip, *words))
    assert list(tmp_path.iterdir()) == [Path(clip)]


def test_an_fp16_file_by_its_path_says_what_computes(run: Run, owl: Path, tmp_path: Path) -> None:
    from srdeploy import zoo

    path = zoo.find("espcn-x4", None, "fp16")
    document = _json(run(owl, "-m", path, "-o", tmp_path / "b.png", "--json"))
    assert document["outputs"][0]["precision"] == "fp16 weights, fp32 arithmetic"


@pytest.mark.parametrize(
    "words",
    [
        ["--tile", "0"],
        ["--tile", "big"],
        ["--tile", "65537"],
        ["--tile", "9" * 5000],
        ["--overlap", "4097"],
        ["--threads", "0"],
        ["--threads", "257"],
        ["--precision", "fp8"],
        ["--json", "-o", "-"],
    ],
)
def test_wrong_usage(run: Run, owl: Path, words: list[str]) -> None:
    assert run(owl, *words).exit_code == 2


def test_gray_stays_gray_alpha_and_depth_stay(run: Run, owl: Path, tmp_path: Path) -> None:
    with Image.open(owl) as picture:
        small = picture.crop((40, 40, 100, 90))
    small.convert("L").save(tmp_path / "gray.png")
    with_alpha = small.convert("RGBA")
    with_alpha.putalpha(255)
    with_alpha.save(tmp_path / "alpha.png")
    deep = (np.asarray(small.convert("L")).astype(np.uint16) * 257) ^ 21
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert run(tmp_path / "gray.png", tmp_path / "alpha.png", tmp_path / "deep.png").exit_code == 0
    with Image.open(tmp_path / "gray_x4.png") as picture:
        assert picture.mode == "L"
    with Image.open(tmp_path / "alpha_x4.png") as picture:
        assert picture.mode == "RGBA"
        assert picture.getchannel("A").getextrema() == (255, 255)
    with Image.open(tmp_path / "deep_x4.png") as picture:
        values = np.asarray(picture)
        assert picture.mode.startswith("I")
        assert len(np.unique(values)) > 1000  # not 8 bits in a 16-bit coat


def test_keep_partial_keeps_the_good_part(run: Run, samples: Path, tmp_path: Path) -> None:
    data = (samples / "clip.mp4").read_bytes()
    source = tmp_path / "clip.mp4"
    source.write_bytes(data[: len(data) * 6 // 10])
    line = _error(run(source))
    assert not (tmp_path / "clip_x4.mp4").exists()
    assert set(tmp_path.iterdir()) == {source}, line
    line = _error(run(source, "--keep-partial"))
    assert (tmp_path / "clip_x4.partial.mp4").is_file()
    assert "clip_x4.partial.mp4" in line


def test_an_empty_path_is_not_the_present_folder(
    run: Run, owl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "INPUT is empty" in _error(run(""))
    assert "-o is empty" in _error(run(owl, "-o", ""))
    assert list(tmp_path.iterdir()) == [owl]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("words", [[], ["--overwrite"], ["--resume"]])
def test_a_pipe_is_not_replaced(run: Run, owl: Path, tmp_path: Path, words: list[str]) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert "it is a pipe or a device" in _error(run(owl, "-o", pipe, *words))
    assert pipe.is_fifo()
    assert set(tmp_path.iterdir()) == {owl, pipe}


def test_failures_leave_no_empty_folders(run: Run, owl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "bad").mkdir(parents=True)
    (folder / "good").mkdir()
    (folder / "bad" / "cut.png").write_bytes(owl.read_bytes()[:3000])
    with Image.open(owl) as picture:
        picture.crop((0, 0, 40, 40)).save(folder / "good" / "a.png")
    out = tmp_path / "new" / "out"
    assert run(folder, "-o", out).exit_code == 1
    assert {p.relative_to(out) for p in out.rglob("*")} == {Path("good"), Path("good/a.png")}
    alpha = tmp_path / "alpha.png"
    Image.new("RGBA", (20, 20)).save(alpha)
    assert "alpha" in _error(run(alpha, "-o", tmp_path / "x" / "y" / "a.jpg"))
    assert not (tmp_path / "x").exists()
    (tmp_path / "mine").mkdir()  # was there before, and stays
    _error(run(alpha, "-o", tmp_path / "mine" / "deeper" / "a.jpg"))
    assert not list((tmp_path / "mine").iterdir())


def test_a_folder_is_not_mirrored_onto_itself(run: Run, owl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tree" / "sub"
    folder.mkdir(parents=True)
    shutil.copy(owl, folder / "a.png")
    assert "would go into itself" in _error(run(tmp_path / "tree", "-o", tmp_path / "tree"))
    assert run(folder, "-o", tmp_path / "tree").exit_code == 0  # the folder above it is another one
    assert (tmp_path / "tree" / "a.png").is_file()


@pytest.mark.parametrize("words", [[], ["--keep-partial"]])
def test_a_kept_part_is_not_overwritten(run: Run, samples: Path, tmp_path: Path, words: list[str]) -> None:
    source, part = tmp_path / "clip.mp4", tmp_path / "clip_x4.partial.mp4"
    source.write_bytes((samples / "clip.mp4").read_bytes()[:300_000])
    part.write_bytes(b"precious")
    line = _error(run(source, *words))
    assert ("exists already" in line) == bool(words)
    assert part.read_bytes() == b"precious"


def test_a_model_that_is_none_says_what_to_type(
    run: Run, owl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    assert "type: srdeploy info" in _error(run(owl, "-m", "garbage.onnx"))
    assert "espcn-x4" in _error(run(owl, "-m", "none.onnx"))
    for folder in (".", "./", f"{tmp_path}/"):
        line = _error(run(owl, "-m", folder))
        assert "is a folder" in line and "garbage.onnx" in line


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_line_break_in_a_name_is_escaped(run: Run, owl: Path, tmp_path: Path) -> None:
    shutil.copy(owl, tmp_path / "a\nb.png")
    (line,) = run(tmp_path / "a\nb.png").stdout.splitlines()
    assert "a\\nb_x4.png" in line
