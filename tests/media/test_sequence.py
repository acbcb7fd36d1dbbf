"""Numbered pictures in and out."""

from collections.abc import Callable
from pathlib import Path

import pytest

import srdeploy
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.folders import plan_jobs
from srdeploy.jobs import Choices, Done, run_job

FFmpeg = Callable[..., None]


@pytest.fixture
def pictures(tmp_path: Path, ffmpeg: FFmpeg) -> Path:
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25 -frames:v 5 -start_number 8", tmp_path / "f_%03d.png")
    return tmp_path / "f_%03d.png"


def enlarge(source: Path, out: Path | None, overwrite: bool = False) -> Done:
    (job,) = plan_jobs([source], out, "x2")
    done = run_job(job, srdeploy.open("espcn-x2", threads=1), Choices(overwrite=overwrite), lambda *_: None)
    assert isinstance(done, Done)
    return done


def test_numbers_are_kept(pictures: Path) -> None:
    assert enlarge(pictures, None).frames == 5
    made = sorted(p.name for p in pictures.parent.glob("*_x2*"))
    assert made == [f"f_{number:03}_x2.png" for number in range(8, 13)]
    one = srdeploy.open("espcn-x2", threads=1)(srdeploy.read_picture(pictures.parent / "f_010.png"))
    assert (srdeploy.read_picture(pictures.parent / "f_010_x2.png").planes[0] == one.planes[0]).all()
    with pytest.raises(OutputError, match="f_008_x2"):
        enlarge(pictures, None)
    assert enlarge(pictures, None, overwrite=True).frames == 5
    assert len(list(pictures.parent.iterdir())) == 10


def test_to_a_video_and_back(pictures: Path, tmp_path: Path) -> None:
    video = tmp_path / "v.mkv"
    assert enlarge(pictures, video).frames == 5
    enlarge(video, tmp_path / "back_%d.jpg")
    sizes = {srdeploy.read_picture(tmp_path / f"back_{n}.jpg").planes[0].shape for n in range(1, 6)}
    assert sizes == {(192, 256, 3)}


@pytest.mark.parametrize("wrong", ["gap", "none", "damaged"])
def test_wrong_sequences_leave_nothing(wrong: str, pictures: Path, tmp_path: Path) -> None:
    source = pictures if wrong != "none" else tmp_path / "g_%03d.png"
    if wrong == "gap":
        (tmp_path / "f_010.png").unlink()
    if wrong == "damaged":
        data = (tmp_path / "f_010.png").read_bytes()
        (tmp_path / "f_010.png").write_bytes(data[: len(data) // 2])
    before = sorted(tmp_path.iterdir())
    for out in (None, tmp_path / "v.mp4"):
        with pytest.raises(SrdeployError if wrong == "damaged" else InputError):
            enlarge(source, out)
    assert sorted(tmp_path.iterdir()) == before
