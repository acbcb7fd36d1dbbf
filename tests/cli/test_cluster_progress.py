"""The display of a cluster's workers, while they work, go and come back. No Ray is needed."""

from concurrent.futures import Future
from typing import Any

import pytest

from srdeploy.cli import progress
from srdeploy.cluster.worker import Doing, Hello


def test_each_worker_keeps_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_ASK_SECONDS", 0.01)
    one, two = (Hello(name, "x2", "cpu", (), True) for name in ("one", "two"))
    rounds = iter(
        [
            {0: (one, Doing(5, "a.mp4")), 1: (two, Doing(7, "b [1].png"))},
            {1: (two, Doing(8, ""))},  # the first one has died
            {0: (one, Doing(2, "a.mp4")), 1: (two, Doing(9, ""))},  # begun anew, it counts from nothing
        ]
    )
    seen: list[list[tuple[str, str]]] = []

    def doing() -> dict[int, tuple[Hello, "Future[Doing]"]]:
        if shown._workers:
            seen.append([(task.description, task.fields["text"]) for task in shown._bars.tasks])
        answer: dict[int, tuple[Hello, Future[Doing]]] = {}
        for number, (hello, said) in next(rounds, {}).items():
            answer[number] = (hello, Future())
            answer[number][1].set_result(said)
        if not answer:
            shown._ended.set()
        return answer

    shown: Any = progress.ClusterProgress(3, doing, quiet=False)
    shown.done()
    shown._follow()
    assert [one_look[1:] for one_look in seen] == [
        [("one cpu: a.mp4", "5 frames"), ("two cpu: b \\[1].png", "7 frames")],
        [("one cpu: gone", "5 frames"), ("two cpu: idle", "8 frames")],
        [("one cpu: a.mp4", "7 frames"), ("two cpu: idle", "9 frames")],
    ]
    assert seen[2][0][1].startswith("16 frames, ")
    assert shown._bars.tasks[0].completed == 1
