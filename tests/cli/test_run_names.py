"""Names and paths as people, other programs and file systems make them: one true line, or the result."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from srdeploy.cli.app import app
from srdeploy.errors import OutputError
from srdeploy.folders import plan_jobs
from srdeploy.jobs import Choices, write_whole
from srdeploy.media import open_reader, open_writer

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names, pipes and sockets")

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run() -> Run:
    """The JSON answer of `srdeploy run`."""

    def invoke(*words: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["run", *map(str, words), "--json"], catch_exceptions=False)
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        assert result.exit_code == (1 if "error" in document or document["failed"] else 0)
        return document

    return invoke


@pytest.fixture
def place(tmp_path: Path, samples: Path) -> Path:
    """A folder with a small picture, s.png, and what is none under a picture's name."""
    folder = tmp_path / "place"
    folder.mkdir()
    with Image.open(samples / "owl.png") as picture:
        picture.crop((40, 40, 60, 56)).save(folder / "s.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    before = Path.cwd()
    os.chdir(folder)  # a socket's path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket.png")
    finally:
        os.chdir(before)
    return folder


def _all(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("loop.png", "Too many levels of symbolic links"),
        ("loop.png/a.png", "Too many levels of symbolic links"),
        ("dangling.png", "there is no file"),
        ("fifo.png", "not a regular file"),
        ("socket.png", "not a regular file"),
        ("folder.png", "holds no picture or video"),
        ("s.png/a.png", "Not a directory"),
        ("/dev/zero", "not a regular file"),
        ("/dev/null", "not a regular file"),
        ("n" * 252 + ".png", "File name too long"),
    ],
)
def test_what_is_no_source(run: Run, place: Path, name: str, said: str) -> None:
    before = _all(place)
    assert said in run(place / name, "-o", place / "new" / "big.png")["error"]
    assert _all(place) == before


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("loop.png", [], "exists already"),
        ("dangling.png", [], "exists already"),
        ("loop.png/a.png", [], "Too many levels of symbolic links"),
        ("fifo.png", ["--overwrite"], "is a pipe or a device"),
        ("socket.png", ["--overwrite"], "is a pipe or a device"),
        ("/dev/null", ["--overwrite"], "is a pipe or a device"),
        ("s.png/a.png", [], "s.png is no folder"),
        ("s.png/a/b.png", [], "s.png is no folder"),
        ("n" * 252 + ".png", [], "File name too long"),
        ("n" * 245 + ".png", ["--keep-partial"], "File name too long; type a shorter name"),
    ],
)
def test_what_is_no_place_for_a_result(run: Run, place: Path, name: str, words: list[str], said: str) -> None:
    before = _all(place)
    assert said in run(place / "s.png", "-o", place / name, *words)["error"]
    assert _all(place) == before


def test_a_link_to_nothing_gives_way_when_told(run: Run, place: Path) -> None:
    assert "error" not in run(place / "s.png", "-o", place / "dangling.png", "--overwrite")
    assert not (place / "dangling.png").is_symlink()
    assert not (place / "nowhere.png").exists()


def test_links_and_circles_in_a_folder(run: Run, place: Path) -> None:
    (place / "self").symlink_to(".")
    (place / "link.png").symlink_to("s.png")
    answer = run(place, "-o", place / "out")
    assert [Path(o["output"]).name for o in answer["outputs"]] == ["link.png", "s.png"]
    assert len(answer["failed"]) == 4
    again = run(place, "-o", place / "out", "--resume")
    assert (len(again["outputs"]), len(again["skipped"])) == (0, 2)


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ü中" * 50 + ".png", "n" * 250 + ".webp"])
def test_a_name_of_255_bytes_is_read_and_written(run: Run, place: Path, name: str) -> None:
    assert len(os.fsencode(name)) >= 254
    (place / "out").mkdir()
    assert "error" not in run(place / "s.png", "-o", place / "out" / name)
    assert [path.name for path in (place / "out").iterdir()] == [name]
    assert "error" not in run(place / "out" / name, "-o", place / "again.png")
    assert "_x4.png: File name too long" in run(place / "out" / name)["error"].replace(".webp", ".png")


@pytest.mark.parametrize("name", ["v%d.mp4", "v\n[a],b:c'.mp4", "-v.mp4", "v" * 251 + ".mp4"])
def test_a_video_of_any_name(run: Run, samples: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(samples / "clip.mp4", tmp_path / name)
    out = tmp_path / "out"
    fast = ["--end", "0.08", "-m", "espcn-x2", "--preset", "ultrafast"]
    if len(name) < 250:
        assert "error" not in run(tmp_path / name, "-o", out, *fast)
        assert [path.suffix for path in out.iterdir()] == [".mp4"]
    assert "error" not in run(tmp_path / name, "-o", out / name, *fast)
    assert (out / name).is_file()


def test_what_was_made_by_another_meanwhile_is_kept(place: Path) -> None:
    (job,) = plan_jobs([place / "s.png"], place / "big.png", "x4")
    reader = open_reader(job.input)

    def write(choices: Choices) -> int:
        writer = open_writer(job.output, reader, reader.width, reader.height)

        def fill() -> int:
            writer.write(next(iter(open_reader(job.input))))
            job.output.write_bytes(b"another's")
            return 1

        return write_whole(writer, fill, choices)

    with pytest.raises(OutputError, match="made by another meanwhile"):
        write(Choices())
    assert job.output.read_bytes() == b"another's"
    assert not list(place.glob(".*"))
    assert write(Choices(overwrite=True)) == 1
    assert job.output.read_bytes() != b"another's"


def test_a_result_that_its_format_cannot_hold_is_refused_before_it_is_made(run: Run, tmp_path: Path) -> None:
    for size, name, side in (((4096, 2), "big.webp", 16383), ((16384, 1), "big.jpg", 65535)):
        Image.new("L", size).save(tmp_path / "wide.png")
        error = run(tmp_path / "wide.png", "-o", tmp_path / "new" / name)["error"]
        assert f"ends at {side} pixels a side" in error and "type: -o big.png" in error
    assert _all(tmp_path) == [str(tmp_path / "wide.png")]
