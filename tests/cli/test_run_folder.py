"""`srdeploy run` on folders, with --resume, --to and --max-pixels, and over what file systems hold beside files."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from srdeploy.cli.app import app

Run = Callable[..., tuple[int, dict[str, Any]]]


def _invoke(*words: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, words)])


@pytest.fixture
def run() -> Run:
    """The exit status and the JSON answer; nothing but lines of errors and notes may stand on standard error."""

    def invoke(*words: object) -> tuple[int, dict[str, Any]]:
        result = _invoke(*words, "--json")
        assert all(line.startswith(("error: ", "note: ")) for line in result.stderr.splitlines()), result.stderr
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        return result.exit_code, document

    return invoke


@pytest.fixture
def small(samples: Path) -> Any:
    with Image.open(samples / "owl.png") as picture:
        return picture.crop((40, 40, 76, 70)).convert("RGB")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def test_two_with_one_result_keep_both_names(run: Run, small: Any, folder: Path) -> None:
    for name in ("a.gif", "a.png", "a.ppm", "b.gif"):
        small.save(folder / name)
    code, document = run(folder)
    assert code == 0
    made = {Path(o["input"]).name: Path(o["output"]).name for o in document["outputs"]}
    assert made == {"a.gif": "a.gif.png", "a.png": "a.png", "a.ppm": "a.ppm.png", "b.gif": "b.png"}


def test_outcomes_come_in_order_and_equal_those_of_one_at_a_time(run: Run, small: Any, folder: Path) -> None:
    names = []
    for number in range(9):
        names.append(f"{number}.png")
        small.rotate(40 * number).resize((20 + 9 * (number * 5 % 7), 30)).save(folder / names[-1])
    (folder / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    code, document = run(folder)
    assert code == 1
    assert [Path(o["input"]).name for o in document["outputs"]] == [n for n in names if n != "3.png"]
    assert [Path(f["input"]).name for f in document["failed"]] == ["3.png"]
    for name in ("0.png", "7.png"):
        assert run(folder / name, "-o", folder.parent / "alone.png", "--overwrite")[0] == 0
        assert (folder.parent / "alone.png").read_bytes() == (folder.parent / "in_x4" / name).read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_resume_makes_again_what_was_cut_off(run: Run, small: Any, folder: Path, suffix: str) -> None:
    small.save(folder / f"a{suffix}")
    small.save(folder / f"b{suffix}")
    assert run(folder)[0] == 0
    results = folder.parent / "in_x4"
    whole = (results / f"a{suffix}").read_bytes()
    (results / f"a{suffix}").write_bytes(whole[: len(whole) // 2])
    code, document = run(folder, "--resume")
    assert code == 0
    assert [Path(o["input"]).name for o in document["outputs"]] == [f"a{suffix}"]
    assert [Path(s["input"]).name for s in document["skipped"]] == [f"b{suffix}"]
    assert (results / f"a{suffix}").read_bytes() == whole


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names and no pipes in folders")
def test_what_stands_in_folders(run: Run, small: Any, folder: Path) -> None:
    odd = ["a b.png", "ünï 中.png", "new\nline.png", "[bold]x.png", "-o.png"]
    for name in odd:
        small.save(folder / name)
    (folder / "deep").mkdir()
    (folder / "deep" / "linked.png").symlink_to(folder / "a b.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "dir.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / ".a.0123abcd.part.png").write_bytes(b"half a result")
    (folder / "notes.txt").write_text("no media")
    code, document = run(folder, "-o", folder.parent / "out")
    assert code == 1
    assert {Path(o["input"]).name for o in document["outputs"]} == {*odd, "linked.png"}
    reasons = {Path(f["input"]).name: f["error"] for f in document["failed"]}
    assert set(reasons) == {"gone.png", "pipe.png"}
    assert "no file" in reasons["gone.png"]
    assert "not a regular file" in reasons["pipe.png"]
    assert (folder.parent / "out" / "new\nline.png").is_file()


def test_a_folder_that_may_not_be_read_is_said(
    run: Run, small: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "closed").mkdir()
    small.save(folder / "a.png")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, document = run(folder)
    assert code == 1
    assert len(document["outputs"]) == 1
    assert "closed" in document["failed"][0]["error"]
    assert "permissions" in document["failed"][0]["error"]


def test_a_result_never_replaces_a_source(run: Run, small: Any, folder: Path) -> None:
    small.save(folder / "a.png")
    small.save(folder / "a_x4.png")
    before = (folder / "a_x4.png").read_bytes()
    code, document = run(folder / "a.png", folder / "a_x4.png", "--overwrite")
    assert code == 1
    assert "would replace the source" in document["failed"][0]["error"]
    assert (folder / "a_x4.png").read_bytes() == before
    os.link(folder / "a.png", folder / "hard.png")
    code, document = run(folder / "a.png", "-o", folder / "hard.png", "--overwrite")
    assert code == 1
    assert "source itself" in document["error"]


def test_one_that_vanishes_is_said(run: Run, small: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srdeploy import folders

    for name in ("a.png", "b.png"):
        small.save(folder / name)
    planned = folders.plan_jobs

    def vanish(*words: Any) -> Any:
        jobs = planned(*words)
        (folder / "a.png").unlink()
        return jobs

    monkeypatch.setattr(folders, "plan_jobs", vanish)
    code, document = run(folder)
    assert code == 1
    assert "there is no file" in document["failed"][0]["error"]
    assert len(document["outputs"]) == 1


def test_max_pixels(run: Run, small: Any, folder: Path) -> None:
    small.save(folder / "a.png")
    code, document = run(folder / "a.png", "--max-pixels", "500")
    assert code == 1
    assert "type: --max-pixels 1080" in document["error"]
    assert run(folder / "a.png", "--max-pixels", "1080")[0] == 0


def test_every_page_and_every_frame(run: Run, small: Any, folder: Path) -> None:
    small.save(folder / "pages.tif", save_all=True, append_images=[small.resize((21, 25)), small.convert("L")])
    for name in ("moving.png", "moving.webp"):
        small.save(
            folder / name, save_all=True, append_images=[small.rotate(90), small.rotate(180)], duration=[40, 90, 60]
        )
    code, document = run(folder)
    assert code == 0
    assert {Path(o["output"]).name: o["frames"] for o in document["outputs"]} == {
        "pages.tif": 3,
        "moving.png": 3,
        "moving.webp": 3,
    }
    with Image.open(folder.parent / "in_x4" / "pages.tif") as image:
        sizes = []
        for page in range(3):
            image.seek(page)
            sizes.append((image.size, image.mode))
    assert sizes == [((144, 120), "RGB"), ((84, 100), "RGB"), ((144, 120), "L")]


@pytest.mark.parametrize(
    ("to", "size", "scale"),
    [("60p", (72, 60), 2), ("80p", (96, 80), 3), ("100x111", (100, 111), 4), ("120p", (144, 120), 4)],
)
def test_to_a_size(run: Run, small: Any, folder: Path, to: str, size: tuple[int, int], scale: int) -> None:
    small.save(folder / "a.png")
    code, document = run(folder / "a.png", "--to", to)
    assert code == 0, document
    (made,) = document["outputs"]
    assert (made["width"], made["height"], made["scale"], made["model"]) == (*size, scale, f"espcn-x{scale}")
    assert made["output"] == str(folder / f"a_{to}.png")
    with Image.open(made["output"]) as big:
        assert big.size == size
        back = np.asarray(big.resize(small.size, Image.Resampling.BOX), float)
    assert np.abs(back - np.asarray(small, float)).mean() < 6


def test_to_a_size_that_cannot_be_had(run: Run, small: Any, folder: Path) -> None:
    small.save(folder / "a.png")
    for to, said in (("1080p", "type --to 120p or less"), ("20p", "already"), ("huge", "1920x1080")):
        code, document = run(folder / "a.png", "--to", to)
        assert code == 1
        assert said in document["error"]
    code, document = run(folder / "a.png", "--to", "110p", "-m", "espcn-x2")
    assert code == 1 and "--to 60p or less" in document["error"]
    code, document = run(folder / "a.png", "--to", "55p", "--scale", "3")
    assert code == 0 and document["outputs"][0]["model"] == "espcn-x3"
    assert [p.name for p in sorted(folder.iterdir())] == ["a.png", "a_55p.png"]


def test_a_video_to_a_size(run: Run, samples: Path, tmp_path: Path) -> None:
    code, document = run(samples / "clip.mp4", "--to", "500p", "-o", tmp_path / "big.mp4", "--preset", "ultrafast")
    assert code == 0, document
    (made,) = document["outputs"]
    assert made["height"] == 500 and made["width"] % 2 == 0
    import av

    with av.open(str(tmp_path / "big.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (made["width"], made["height"])
        assert len(container.streams.audio) == 1


def test_everything_in_the_odd_folder(run: Run, shared: Path, tmp_path: Path) -> None:
    """The kinds of trouble there are; the large ones are left out to keep the time of the tests."""
    source = tmp_path / "odd"
    for path in sorted((shared / "data" / "odd").rglob("*")):
        if path.is_file() and path.stat().st_size < 60_000:
            (source / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / path.parent.name / path.name)
    count = sum(path.is_file() for path in source.rglob("*"))
    code, document = run(source, "-o", tmp_path / "out")
    assert code == 1
    assert len(document["outputs"]) + len(document["failed"]) == count
    assert all("\n" not in f["error"] and f["error"] for f in document["failed"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(before) == len(document["outputs"])
    code, again = run(source, "-o", tmp_path / "out", "--resume")
    assert code == 1
    assert again["outputs"] == []
    assert len(again["skipped"]) == len(before)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_result_larger_than_sources_may_be_is_whole(run: Run, small: Any, tmp_path: Path) -> None:
    small.save(tmp_path / "a.png")
    result = tmp_path / "big.png"
    cv2.imwrite(str(result), np.zeros((16400, 16400), np.uint8))
    code, answer = run(tmp_path / "a.png", "-o", result, "--resume")
    assert (code, answer["outputs"], len(answer["skipped"])) == (0, [], 1)
