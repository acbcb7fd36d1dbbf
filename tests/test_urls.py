"""Sources and results behind URLs: the bytes of a run on files, whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srdeploy import urls
from srdeploy.asked import Asked
from srdeploy.errors import InputError, OutputError
from srdeploy.fit import Fit
from srdeploy.folders import plan_jobs, run_jobs
from srdeploy.jobs import Choices, Done, Failed, Job, Skipped, run_job
from srdeploy.upscale import Upscaler

pytest.importorskip("upath")


@pytest.fixture(scope="module")
def fit() -> Fit[Upscaler]:
    return Asked("espcn-x2", backend="ort", precision="fp32", threads=1).open()


def do(fit: Fit[Upscaler], source: str, out: str, **choices: Any) -> list[Done | Skipped | Failed]:
    jobs = plan_jobs([urls.path_of(source)], urls.path_of(out), "x2")
    return list(run_jobs(jobs, fit, Choices(**choices), lambda *_: None, lambda *_: None))


def test_a_folder_of_objects(tmp_path: Path, samples: Path, s3: Any, fit: Fit[Upscaler]) -> None:
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    for name, source in (("owl.png", "owl.png"), ("more/facade.jpg", "facade.png")):
        (folder / name).write_bytes((samples / source).read_bytes())
        s3.upload_file(str(folder / name), "bucket", f"pictures/{name}")
    do(fit, str(folder), str(tmp_path / "out"))
    results = do(fit, "s3://bucket/pictures", "s3://bucket/larger")
    expected = {"s3://bucket/larger/more/facade.png", "s3://bucket/larger/owl.png"}
    assert {r.output for r in results if isinstance(r, Done)} == expected
    for path in expected:
        name = path.removeprefix("s3://bucket/larger/")
        made = s3.get_object(Bucket="bucket", Key=f"larger/{name}")["Body"].read()
        assert made == (tmp_path / "out" / name).read_bytes()
    assert all(isinstance(r, Skipped) for r in do(fit, "s3://bucket/pictures", "s3://bucket/larger", resume=True))
    again = do(fit, "s3://bucket/pictures", "s3://bucket/larger")
    assert all(isinstance(r, Failed) and "exists already; type --overwrite" in r.error for r in again)
    back = do(fit, "s3://bucket/pictures/owl.png", f"file://{tmp_path}/back.png")
    assert isinstance(back[0], Done)
    assert (tmp_path / "back.png").read_bytes() == (tmp_path / "out" / "owl.png").read_bytes()
    assert list(Path(os.environ["SRDEPLOY_CACHE"], "urls").iterdir()) == []


def test_a_video_that_was_stopped_is_gone_on_with(
    tmp_path: Path, s3: Any, fit: Fit[Upscaler], ffmpeg: Callable[..., None]
) -> None:
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25 -frames:v 250", tmp_path / "in.mkv")
    s3.upload_file(str(tmp_path / "in.mkv"), "bucket", "in.mkv")
    run_job(Job(tmp_path / "in.mkv", tmp_path / "out.mkv"), fit, Choices(), lambda *_: None)
    job = Job(urls.path_of("s3://bucket/in.mkv"), urls.path_of("s3://bucket/out.mkv"))

    def stop(done: int, expected: int | None, size: int) -> None:
        if done > 120:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"100 frames of s3://bucket/out\.mkv are done and kept"):
        run_job(job, fit, Choices(), stop)
    assert not urls.exists(job.output)
    done = run_job(job, fit, Choices(resume=True), lambda *_: None)
    assert isinstance(done, Done)
    assert "100 frames were there already" in " ".join(done.notes)
    made = s3.get_object(Bucket="bucket", Key="out.mkv")["Body"].read()
    assert made == (tmp_path / "out.mkv").read_bytes()
    assert list(Path(os.environ["SRDEPLOY_CACHE"], "urls").iterdir()) == []


def test_what_is_not_there(s3: Any, samples: Path, fit: Fit[Upscaler]) -> None:
    [failed] = do(fit, "s3://bucket/nothing.png", "s3://bucket/out.png")
    assert isinstance(failed, Failed)
    assert failed.error.startswith("there is no file s3://bucket/nothing.png; type ")
    [failed] = do(fit, str(samples / "owl.png"), "s3://no-such-bucket/owl.png")
    assert isinstance(failed, Failed)
    assert "cannot reach s3://no-such-bucket/owl.png: " in failed.error
    kept = Path(failed.error.rpartition("what was made is kept as ")[2])
    assert kept.is_file()
    kept.unlink()
    kept.parent.rmdir()
    for url, said in (("nowhere://a/b.png", "cannot read nowhere://a/b.png: "), ("gs://a/b", "needs a library")):
        with pytest.raises(InputError, match=said):
            urls.path_of(url)
    with pytest.raises(InputError, match="numbered pictures, which are not fetched"):
        run_job(Job(urls.path_of("s3://bucket/%d.png"), Path("out.mp4")), fit, Choices(), lambda *_: None)


def test_an_object_that_cannot_be_sent_is_kept(tmp_path: Path, s3: Any) -> None:
    local = tmp_path / "a.png"
    local.write_bytes(b"1")
    with pytest.raises(OutputError, match=f"what was made is kept as {local}"):
        urls.send(local, urls.path_of("s3://no-such-bucket/a.png"))
    assert local.read_bytes() == b"1"
