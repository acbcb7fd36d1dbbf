"""The pool by itself, with actors that are threads: who gets what, and what becomes of it when they die."""

from concurrent.futures import Future
from typing import Any

import pytest

from srdeploy.cluster.pool import DEATHS, Pool
from srdeploy.cluster.run import _Alike, places
from srdeploy.cluster.worker import Hello
from srdeploy.errors import DeviceError, InputError
from srdeploy.split import AT_ONCE

exceptions = pytest.importorskip("ray.exceptions")


class Call:
    """A method of an actor, as Ray's handles have them."""

    def __init__(self, does: Any) -> None:
        self._does = does

    def options(self, **_: object) -> "Call":
        return self

    def remote(self, *arguments: Any) -> "Call":
        self._arguments = arguments
        return self

    def future(self) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            result = self._does(*self._arguments)
        except (InputError, exceptions.RayError) as error:
            future.set_exception(error)
            return future
        if result is not None:  # None stands for work that is never done
            future.set_result(result)
        return future


class Actor:
    """An actor that answers at once."""

    def __init__(self, name: str, model: str = "m") -> None:
        self.given: list[tuple[Any, ...]] = []
        self.work_ends: Exception | None = None
        self.doing = Call(lambda: None)
        self.hello = Call(lambda: Hello(name, "x2", "cpu", (("model", model),), True))

    @property
    def work(self) -> Call:
        return Call(self._work)

    def _work(self, *arguments: Any) -> Any:
        self.given.append(arguments)
        if self.work_ends is not None:
            raise self.work_ends
        return "done"


class Dying(Actor):
    """An actor that dies over all that it is given, and is started again."""

    def __init__(self, name: str, way: Exception | None = None) -> None:
        super().__init__(name)
        self.work_ends = way or exceptions.ActorDiedError()


class Busy(Actor):
    """An actor that is never done with anything."""

    def _work(self, *arguments: Any) -> Any:
        self.given.append(arguments)


def test_nobody_waits_for_a_slower_one() -> None:
    slow, quick = Busy("slow"), Actor("quick")
    pool = Pool([slow, quick], lambda hello: None)
    futures = [pool.submit("work", number) for number in range(10)]
    assert 1 <= len(slow.given) <= AT_ONCE
    assert sum(future.done() for future in futures) == 10 - len(slow.given)
    pool.close()
    assert all(future.done() for future in futures)
    assert sum(future.cancelled() for future in futures) == len(slow.given)


@pytest.mark.parametrize(
    "way",
    [
        exceptions.ActorDiedError(),
        exceptions.ActorUnavailableError("no answer", None),
        exceptions.OutOfMemoryError("the node was low on memory"),
        exceptions.ObjectLostError("00", None, ""),
    ],
    ids=lambda way: type(way).__name__,
)
def test_what_a_dead_worker_had_is_done_again_and_told_so(way: Exception) -> None:
    dying, other = Dying("dying", way), Actor("other")
    pool = Pool([dying, other], lambda hello: None)
    assert [pool.submit("work", number).result(5) for number in range(4)] == ["done"] * 4
    assert any(again for *_, again in other.given)
    assert pool.notes
    assert "a worker on dying died" in pool.notes[0]


def test_a_defect_is_raised_where_the_result_is_asked_for() -> None:
    broken = Dying("broken", exceptions.RayTaskError("make", "a traceback", ValueError("a defect")))
    with pytest.raises(exceptions.RayTaskError, match="a traceback"):
        Pool([broken], lambda hello: None).submit("work", 1).result(5)
    assert len(broken.given) == 1


def test_a_task_that_kills_its_workers_is_given_up() -> None:
    dying = Dying("dying")
    with pytest.raises(DeviceError, match=f"{DEATHS} workers died over it"):
        Pool([dying], lambda hello: None).submit("work", 1).result(5)
    assert len(dying.given) == DEATHS


def test_workers_that_would_make_something_else_are_refused() -> None:
    with pytest.raises(DeviceError, match="would not make the same: model m on a, n on b"):
        Pool([Actor("a"), Actor("b", "n")], _Alike()).begin(5, 5)


def test_what_opening_the_model_says_is_said_at_once() -> None:
    broken = Actor("a")
    broken.hello = Call(lambda: InputError("no such model"))
    with pytest.raises(InputError, match="no such model"):
        Pool([broken], lambda hello: None).begin(5, 5)


def test_a_pool_that_is_given_up_ends_what_it_gave_out_and_what_comes() -> None:
    busy = Busy("busy")
    pool = Pool([busy], lambda hello: None)
    futures = [pool.submit("work", number) for number in range(5)]
    pool.give_up(DeviceError("the head is gone"))
    for future in (*futures, pool.submit("work", 6)):
        with pytest.raises(DeviceError, match="the head is gone"):
            future.result(5)


def test_workers_keep_their_numbers_when_one_goes() -> None:
    gone, there = Actor("gone"), Actor("there")
    gone.doing = there.doing = Call(lambda: "at it")
    pool = Pool([gone, there], lambda hello: None)
    gone.hello = Call(lambda: (_ for _ in ()).throw(exceptions.ActorDiedError()))
    gone.work_ends = exceptions.ActorDiedError()
    for number in range(4):
        pool.submit("work", number).result(5)
    assert {number: hello.machine for number, (hello, _) in pool.doing().items()} == {1: "there"}


def test_a_machine_without_srdeploy_is_told_what_it_lacks() -> None:
    said = """The actor died because of an error raised in its creation task, ray::Worker.__init__() (pid=1)
      At least one of the input arguments for this task could not be computed:
    traceback: Traceback (most recent call last):
              ^^^^^^^^^
    ModuleNotFoundError: No module named 'srdeploy'"""
    bare, there = Actor("bare"), Actor("there")
    bare.hello = Call(lambda: (_ for _ in ()).throw(exceptions.RayActorError(None, said)))
    pool = Pool([bare, there], lambda hello: None)
    assert [hello.machine for hello in pool.begin(5, 5)] == ["there"]
    assert pool.notes == [
        "a worker was left out: a worker did not begin: ModuleNotFoundError: No module named 'srdeploy'; install the "
        "same srdeploy on all machines of the cluster"
    ]


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"NodeID": "n", "Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("device", "threads", "expected"),
    [
        ("auto", None, [(8, 0), (2, 1), (2, 1)]),
        ("auto", 3, [(3, 0), (3, 0), (2, 1), (2, 1)]),
        ("cpu", None, [(8, 0), (4, 0)]),
        ("cuda", None, [(2, 1), (2, 1)]),
        ("cpu", 16, [(8, 0), (4, 0)]),
    ],
)
def test_places(device: str, threads: int | None, expected: list[tuple[int, int]]) -> None:
    found = places([node(8), node(4, 2), node(0), node(64, alive=False)], device, threads)
    assert [(place.cpus, place.gpus) for place in found] == expected


def test_no_place_is_an_error() -> None:
    with pytest.raises(DeviceError, match="--device cuda was asked, but the 1 machines of the cluster offer no GPU"):
        places([node(8)], "cuda", None)
