"""Numbered pictures in and out."""

from collections.abc import Callable
from pathlib import Path

import pytest

import srdeploy
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.folders import plan_jobs
from srdeploy.jobs import Choices, Done, Skipped, run_job
from srdeploy.media.encode import encode

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


@pytest.mark.parametrize("moment", ["enlarging", "naming"])
def test_stopped_and_gone_on_with(moment: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enlarge(pictures, tmp_path / "whole_%03d.png")
    out = tmp_path / "big_%03d.png"
    left = [3]

    def stopped(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    if moment == "enlarging":
        monkeypatch.setattr("srdeploy.media.sequence.encode", lambda *a: (stopped(), encode(*a))[1])
    else:
        replace = Path.replace
        monkeypatch.setattr(Path, "replace", lambda *a: (stopped(), replace(*a))[1])
    (job,) = plan_jobs([pictures], out, "x2")
    upscaler = srdeploy.open("espcn-x2", threads=1)
    with pytest.raises(
        KeyboardInterrupt, match="2 frames of .* are done and kept" if moment == "enlarging" else "kept"
    ):
        run_job(job, upscaler, Choices(), lambda *_: None)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("big_*"))) == (0 if moment == "enlarging" else 2)
    with pytest.raises(OutputError, match=r"made otherwise.*model"):
        run_job(job, srdeploy.open("fast-x2", threads=1), Choices(resume=True), lambda *_: None)
    done = run_job(job, upscaler, Choices(resume=True), lambda *_: None)
    assert isinstance(done, Done)
    assert any("pictures were there already" in note for note in done.notes)
    for number in range(8, 13):
        whole = (tmp_path / f"whole_{number:03}.png").read_bytes()
        assert (tmp_path / f"big_{number:03}.png").read_bytes() == whole
    assert not list(tmp_path.glob(".*"))
    assert isinstance(run_job(job, upscaler, Choices(resume=True), lambda *_: None), Skipped)
    with pytest.raises(OutputError, match="exists already"):
        run_job(job, upscaler, Choices(), lambda *_: None)
