"""Segments of a video made apart and joined: the bytes, the answer and the errors of a run in one piece."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from functools import partial
from pathlib import Path
from queue import LifoQueue
from threading import Timer
from typing import Any

import pytest

from srdeploy.asked import Asked
from srdeploy.errors import DeviceError, InputError, SrdeployError
from srdeploy.fit import Fit
from srdeploy.jobs import Choices, Done, Job, run_job
from srdeploy.media import EncodeOptions
from srdeploy.media.segment_encoder import SEGMENT_FRAMES
from srdeploy.split import Made, Segmenter, join
from srdeploy.upscale import Upscaler

CHOICES = Choices(encode=EncodeOptions(threads=1))


@pytest.fixture(scope="module")
def fit() -> Fit[Upscaler]:
    return Asked("espcn-x2", backend="ort", precision="fp32", threads=1).open()


def clip(path: Path, frames: int, ffmpeg: Callable[..., None]) -> Path:
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25 -f lavfi -i sine -frames:v", frames, "-t", frames / 25, path)
    return path


class Backwards:
    """Makes segments in a thread, of those that are asked for the last one first."""

    def __init__(self, segmenter: Segmenter, job: Job, choices: Choices) -> None:
        self._make = partial(segmenter.make, job, choices)
        self._waiting: LifoQueue[tuple[Future[Made], Mapping[str, Any], int]] = LifoQueue()
        self.asked: list[int] = []

    def __call__(self, settings: Mapping[str, Any], number: int) -> "Future[Made]":
        future: Future[Made] = Future()
        self._waiting.put((future, settings, number))
        self.asked.append(number)
        Timer(0.1, self._do_one).start()
        return future

    def _do_one(self) -> None:
        future, settings, number = self._waiting.get()
        try:
            future.set_result(self._make(settings, number, lambda *_: None))
        except SrdeployError as error:
            future.set_exception(error)
        except InvalidStateError:
            pass  # cancelled: the source ends before


def joined(fit: Fit[Upscaler], job: Job, choices: Choices = CHOICES) -> tuple[Done, list[int]]:
    segmenter = Segmenter(fit)
    split = segmenter.look(job, choices)
    assert split is not None
    ask = Backwards(segmenter, job, choices)
    return join(job, split, choices, ask), ask.asked


@pytest.mark.parametrize("frames", [1, 2 * SEGMENT_FRAMES, 4 * SEGMENT_FRAMES + 7])
def test_the_bytes_and_the_answer_of_one_run(
    tmp_path: Path, ffmpeg: Callable[..., None], fit: Fit[Upscaler], frames: int
) -> None:
    source = clip(tmp_path / "in.mkv", frames, ffmpeg)
    whole = run_job(Job(source, tmp_path / "whole.mkv"), fit, CHOICES, lambda *_: None)
    apart, asked = joined(fit, Job(source, tmp_path / "apart.mkv"))
    assert (tmp_path / "apart.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert isinstance(whole, Done)
    own = {"output": "", "seconds": 0, "fps": 0}
    assert {**apart.as_dict(), **own} == {**whole.as_dict(), **own}
    assert asked == list(range(-(-frames // SEGMENT_FRAMES)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["apart.mkv", "in.mkv", "whole.mkv"]


def test_a_run_that_was_stopped_is_gone_on_with_by_either(
    tmp_path: Path, ffmpeg: Callable[..., None], fit: Fit[Upscaler]
) -> None:
    """Segments 0 and 2 are there, 1 is not: apart only that is made; one machine alone makes all after 0."""
    source, out = clip(tmp_path / "in.mkv", 3 * SEGMENT_FRAMES + 50, ffmpeg), tmp_path / "out.mkv"
    run_job(Job(source, tmp_path / "whole.mkv"), fit, CHOICES, lambda *_: None)
    whole = (tmp_path / "whole.mkv").read_bytes()
    job, segmenter = Job(source, out), Segmenter(fit)
    split = segmenter.look(job, CHOICES)
    assert split is not None

    def stop_after(settings: Mapping[str, Any], number: int) -> "Future[Made]":
        future: Future[Made] = Future()
        if number in (0, 2):
            future.set_result(segmenter.make(job, CHOICES, settings, number, lambda *_: None))
        elif number == 3:
            future.set_exception(DeviceError("the cluster has no worker left"))
        return future

    def stopped() -> None:
        with pytest.raises(DeviceError, match="200 frames are done and kept: to go on type the same again"):
            join(job, split, CHOICES, stop_after)
        lines = (tmp_path / ".out.mkv.part" / "manifest.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["file"] for line in lines[1:]) == ["000000", "000002"]

    stopped()
    _, asked = joined(fit, job)
    assert (asked, out.read_bytes() == whole) == ([1, 3], True)
    out.unlink()
    stopped()
    run_job(job, fit, CHOICES, lambda *_: None)
    assert out.read_bytes() == whole


def test_of_a_damaged_source_the_same_part_is_kept_and_the_same_said(
    tmp_path: Path, ffmpeg: Callable[..., None], fit: Fit[Upscaler]
) -> None:
    source = clip(tmp_path / "in.mkv", 5 * SEGMENT_FRAMES, ffmpeg)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 3 // 5])
    keeping = Choices(keep_partial=True, encode=CHOICES.encode)
    with pytest.raises(InputError) as whole:
        run_job(Job(source, tmp_path / "whole.mkv"), fit, keeping, lambda *_: None)
    with pytest.raises(InputError) as apart:
        joined(fit, Job(source, tmp_path / "apart.mkv"), keeping)
    assert str(apart.value) == str(whole.value).replace("whole", "apart")
    assert (tmp_path / "apart.partial.mkv").read_bytes() == (tmp_path / "whole.partial.mkv").read_bytes()
    assert not (tmp_path / "apart.mkv").exists()


def test_a_worker_that_sees_another_file_is_refused(
    tmp_path: Path, ffmpeg: Callable[..., None], fit: Fit[Upscaler]
) -> None:
    source, other = (clip(tmp_path / name, frames, ffmpeg) for name, frames in (("in.mkv", 10), ("other.mkv", 11)))
    split = Segmenter(fit).look(Job(source, tmp_path / "out.mkv"), CHOICES)
    assert split is not None
    elsewhere = Backwards(Segmenter(fit), Job(other, tmp_path / "out.mkv"), CHOICES)
    with pytest.raises(DeviceError, match="this worker would make segments unlike those of the others \\(source: "):
        join(Job(source, tmp_path / "out.mkv"), split, CHOICES, elsewhere)
    assert not (tmp_path / ".out.mkv.part").exists()
