"""Ray's actors as a pool: whoever has time gets what waits, and what a dead worker had is done again by another."""

import re
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from srdeploy.cluster.worker import Doing, Hello
from srdeploy.errors import DeviceError, SrdeployError
from srdeploy.extras import require
from srdeploy.split import AT_ONCE

DEATHS = 3
"""Workers that may die over one task before it is given up: it may be what kills them."""

RESTARTS = 3
"""How often Ray starts a worker anew that died, on its machine or on another with room for it."""

PATIENCE_SECONDS = 120.0
"""How long a cluster may be without any worker before what waits is given up."""


@dataclass(eq=False)
class _Task:
    method: str
    arguments: tuple[Any, ...]
    future: "Future[Any]" = field(default_factory=Future)
    died: "list[_Member]" = field(default_factory=list)


@dataclass(eq=False)
class _Member:
    """One actor. hello: what it said of itself since it was last started; None while it is not there."""

    number: int
    actor: Any
    hello: Hello | None = None
    tasks: set[_Task] = field(default_factory=set)


class Pool:
    """Workers that are given tasks, AT_ONCE to each, in the order in which they came.

    actors: handles of Worker. check: is given each worker's Hello, also when it was started anew, and raises
    SrdeployError for one that cannot be used. No worker waits for a slower one.
    """

    def __init__(self, actors: list[Any], check: Callable[[Hello], None]) -> None:
        self.notes: list[str] = []
        """What a person is to be told of workers, a sentence each."""
        self._errors = require("ray.exceptions", "ray")
        self._check = check
        self._lock = threading.RLock()
        self._waiting: deque[_Task] = deque()
        self._members = [_Member(number, actor) for number, actor in enumerate(actors)]
        self._closed = self._began = False
        self._refused: SrdeployError | None = None
        self._changed = threading.Condition(self._lock)
        self._timer: threading.Timer | None = None
        for member in list(self._members):
            self._greet(member)

    def begin(self, seconds: float, more: float) -> list[Hello]:
        """What the workers say of themselves, of those that are there in time; others join when they come.

        seconds: how long the first may take. more: how long it waits for the others.
        Raises SrdeployError when there is none, or one that cannot be used.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._refused is not None or any(m.hello for m in self._members), seconds)
            self._changed.wait_for(lambda: self._refused is not None or all(m.hello for m in self._members), more)
            if self._refused is not None:
                raise self._refused
            self._began = True
            there = [member.hello for member in self._members if member.hello is not None]
            if not there:
                raise DeviceError(
                    f"no worker of the cluster began within {seconds:.0f} s; see by: ray status, whether something "
                    "else has taken its processors"
                )
            return there

    def submit(self, method: str, *arguments: Any) -> "Future[Any]":
        """Have `worker.method(*arguments, again)` done by whoever has time; its SrdeployError is the future's."""
        task = _Task(method, arguments)
        with self._lock:
            if self._closed:
                task.future.cancel()
                task.future.set_running_or_notify_cancel()
            elif self._refused is not None:
                task.future.set_exception(self._refused)
            else:
                self._waiting.append(task)
                self._hand_out()
        return task.future

    def doing(self) -> "dict[int, tuple[Hello, Future[Doing]]]":
        """How far each worker that is there is, as they answer, by its number."""
        with self._lock:
            there = [(m.number, m.hello, m.actor) for m in self._members if m.hello is not None]
        return {
            number: (hello, actor.doing.options(concurrency_group="talk").remote().future())
            for number, hello, actor in there
        }

    def give_up(self, error: SrdeployError) -> None:
        """End all that was given out or waits, and all that will be, with the error."""
        with self._changed:
            self._refused = error
            for member in self._members:
                for task in member.tasks:
                    _set(task.future, error)
            self._fail_waiting(error)
            self._changed.notify_all()

    def close(self) -> None:
        """Give out nothing more; what waits is cancelled."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            tasks = [*self._waiting, *(task for member in self._members for task in member.tasks)]
            self._waiting.clear()
        for task in tasks:
            if task.future.cancel():
                task.future.set_running_or_notify_cancel()

    def _greet(self, member: _Member) -> None:
        member.hello = None
        # Of this Ray itself waits until the worker is started again.
        call = member.actor.hello.options(concurrency_group="talk", max_task_retries=-1).remote()
        call.future().add_done_callback(partial(self._greeted, member))
        if self._timer is None and not any(m.hello for m in self._members):
            none = DeviceError("the cluster has no worker left; start its machines again and type --resume")
            self._timer = threading.Timer(PATIENCE_SECONDS, self.give_up, [none])
            self._timer.daemon = True
            self._timer.start()

    def _greeted(self, member: _Member, future: "Future[Hello | SrdeployError]") -> None:
        with self._changed:
            if self._closed:
                return
            try:
                hello = future.result()
                if isinstance(hello, SrdeployError):
                    raise hello
                self._check(hello)
                member.hello = hello
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                self._hand_out()
            except SrdeployError as error:
                self._drop(member, error, not self._began)
            except self._errors.RayError as error:
                self._drop(member, DeviceError(f"a worker did not begin: {_gist(error)}"), False)
            self._changed.notify_all()

    def _drop(self, member: _Member, error: SrdeployError, refused: bool) -> None:
        """Do without a worker. Where that is not to be, or none is left, what waits ends with the error."""
        self._members.remove(member)
        self.notes.append(f"a worker was left out: {error}")
        if refused or not self._members:
            self._refused = error
            self._fail_waiting(error)

    def _fail_waiting(self, error: SrdeployError) -> None:
        tasks = list(self._waiting)
        self._waiting.clear()
        for task in tasks:
            _set(task.future, error)

    def _hand_out(self) -> None:
        """Give what waits to those that have least to do; not to one that died over it, if there is another."""
        for task in list(self._waiting):
            there = [m for m in self._members if m.hello is not None]
            idle = [m for m in there if len(m.tasks) < AT_ONCE]
            if not idle:
                return
            if task not in self._waiting:
                continue  # what was given before it is done already, and so was this
            others = [m for m in there if m not in task.died]
            able = [m for m in idle if m in others] if others else idle
            if able or task.future.cancelled():
                self._waiting.remove(task)
            if able and not task.future.cancelled():
                self._give(min(able, key=lambda m: len(m.tasks)), task)

    def _give(self, member: _Member, task: _Task) -> None:
        member.tasks.add(task)
        method = getattr(member.actor, task.method).options(concurrency_group="work")
        call = method.remote(*task.arguments, bool(task.died))
        call.future().add_done_callback(partial(self._settled, member, task))

    def _settled(self, member: _Member, task: _Task, future: "Future[Any]") -> None:
        result: Any = None
        try:
            result = future.result()
        except (CancelledError, Exception) as error:  # noqa: BLE001
            result = error
            # Ray has a class for each way in which a worker goes, or what it has sent. A RayTaskError is a defect in
            # it, which is raised where the task's result is asked for.
            if isinstance(error, self._errors.RayError) and not isinstance(error, self._errors.RayTaskError):
                result = self._died(member, task, error)
                if result is None:
                    return
        with self._lock:
            member.tasks.discard(task)
            if not self._closed:
                self._hand_out()
        _set(task.future, result)

    def _died(self, member: _Member, task: _Task, error: Exception) -> SrdeployError | None:
        """Have a task done again whose worker died, before what waits; or the error, when it was its last time."""
        with self._lock:
            member.tasks.discard(task)
            if self._closed:
                return None
            if member.hello is not None and member in self._members:
                self.notes.append(f"a worker on {member.hello.machine} died; others do again what it had")
                self._greet(member)
            task.died.append(member)
            if self._refused is not None:
                return self._refused  # nobody is left to do it again
            if len(task.died) < DEATHS:
                self._waiting.appendleft(task)
                self._hand_out()
                return None
        return DeviceError(f"{len(task.died)} workers died over it, the last with: {_gist(error)}")


def _set(future: "Future[Any]", result: Any) -> None:
    """Give a future its result or error; one that nobody wants any more stays cancelled."""
    with suppress(InvalidStateError):
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _gist(error: BaseException) -> str:
    """What an error of Ray says in one line: its first, unless a traceback of the worker's ends in a better one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ends = [line for line in lines[1:] if re.match(r"\w+(Error|Exception): ", line)]
    said = ends[-1] if ends else lines[0] if lines else type(error).__name__
    missing = "ModuleNotFoundError: " in said
    return f"{said}; install the same srdeploy on all machines of the cluster" if missing else said
