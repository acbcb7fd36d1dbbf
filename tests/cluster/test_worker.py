"""What a worker does when something is given out again because the one that had it died. No Ray is needed."""

from pathlib import Path

import pytest

from srdeploy.asked import Asked
from srdeploy.atomic import part_path
from srdeploy.cluster.worker import Worker
from srdeploy.errors import OutOfMemory
from srdeploy.jobs import Choices, Done, Failed, Job
from srdeploy.split import Segmenter


def test_what_a_dead_worker_left_is_not_in_the_way(tmp_path: Path, samples: Path) -> None:
    worker = Worker(Asked("espcn-x2", threads=1), str(Path.cwd()))
    job = Job(samples / "owl.png", tmp_path / "owl.png")
    assert isinstance(worker.do(job, Choices(), True, False), Done)
    whole = job.output.read_bytes()
    part_path(job.output).write_bytes(b"half")
    bystander = part_path(tmp_path / "owls.png")
    bystander.write_bytes(b"another's")
    job.output.write_bytes(b"the dead worker's")
    assert isinstance(worker.do(job, Choices(), True, True), Done)
    assert job.output.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == sorted([job.output, bystander])
    assert worker.doing().frames == 2


def test_what_stood_there_before_is_never_replaced(tmp_path: Path, samples: Path) -> None:
    worker = Worker(Asked("espcn-x2", threads=1), str(Path.cwd()))
    job = Job(samples / "owl.png", tmp_path / "owl.png")
    job.output.write_bytes(b"somebody's")
    for again in (False, True):
        answer = worker.do(job, Choices(), False, again)
        assert isinstance(answer, Failed)
        assert "exists already; type --overwrite" in answer.error
    assert job.output.read_bytes() == b"somebody's"


def test_too_little_memory_is_said(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Asked("espcn-x2", threads=1), str(Path.cwd()))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "make", full)
    answer = worker.make(Job(samples / "clip.mp4", tmp_path / "clip.mp4"), Choices(), {}, 0, False)
    assert isinstance(answer, OutOfMemory)
    assert "not enough memory for" in str(answer)
