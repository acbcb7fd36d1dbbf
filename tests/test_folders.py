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
