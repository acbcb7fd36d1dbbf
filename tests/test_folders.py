"""Several jobs at once: Ctrl-C reaches those in other threads."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import folders
from srdeploy.jobs import Choices, Job
from srdeploy.media.pictures import write_picture
from srdeploy.picture import Picture


def test_an_interrupt_ends_those_in_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(tmp_path / f"{number}.png", tmp_path / f"{number}_x4.png") for number in range(6)]
    for job in jobs:
        write_picture(job.input, Picture("gray", (np.zeros((4, 4), np.uint8),)))
    begun: list[str] = []
    together = threading.Barrier(folders.AT_ONCE, timeout=60)

    def run_job(job: Job, fit: Any, choices: Any, on_frame: Any, interrupted: threading.Event) -> Any:
        begun.append(job.input.name)
        together.wait()
        if job is jobs[0]:
            raise KeyboardInterrupt
        assert interrupted.wait(60)
        raise KeyboardInterrupt

    class Fit:
        def guarded_by(self, lock: Any) -> Any:
            return self

    monkeypatch.setattr(folders, "run_job", run_job)
    with pytest.raises(KeyboardInterrupt):
        list(folders.run_jobs(jobs, Fit(), Choices(), lambda *_: None, lambda *_: None))  # type: ignore[arg-type]
    assert sorted(begun) == ["0.png", "1.png", "2.png"]


def test_results_that_are_being_made_are_no_sources(tmp_path: Path) -> None:
    for name in ("a.mp4", ".a_x4.mp4.part/result.mp4", ".f_%03d.png.part/f_001.png", "inner/.b.mkv.part/result.mkv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 64)
    jobs = folders.plan_jobs([tmp_path], None, "x4")
    assert [job.input for job in jobs] == [tmp_path / "a.mp4"]
