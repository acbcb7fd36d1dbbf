"""What `run` was asked, done by the workers of a Ray cluster; the answers are those of one machine."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srdeploy import urls
from srdeploy.asked import Asked
from srdeploy.cluster.head import LOOK_SECONDS, refusal, watched
from srdeploy.cluster.pool import RESTARTS, Pool
from srdeploy.cluster.worker import Doing, Hello, Worker
from srdeploy.errors import DeviceError, InputError
from srdeploy.extras import require
from srdeploy.folders import outcome_of
from srdeploy.jobs import Choices, Done, Failed, Job, Skipped
from srdeploy.split import AT_ONCE, Split, join

LOCAL = "local"
"""The address that stands for a cluster on this machine, begun and ended with the run."""

_BEGIN_SECONDS, _MORE_SECONDS = 90.0, 5.0
"""How long the first worker may take, and how long the others are waited for then; later ones join when they come."""

_OBJECT_STORE = 256 << 20
"""Bytes of memory for what workers of a local cluster send: encoded segments, a few megabytes each."""


@dataclass(frozen=True)
class Place:
    """Where a worker is to be: a node, and how much of it."""

    node: str
    cpus: int
    gpus: int


def places(nodes: list[Mapping[str, Any]], device: str, threads: int | None) -> list[Place]:
    """One place for each GPU, and on machines without one for each `threads` processors (None = all of them).

    nodes: as ray.nodes() has them. device: "cpu" leaves GPUs alone, "cuda" all else. Raises DeviceError for none.
    """
    found: list[Place] = []
    for node in nodes:
        cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        if not node["Alive"]:
            continue
        if gpus and device != "cpu":
            found += [Place(node["NodeID"], cpus // gpus, 1)] * gpus
        elif device != "cuda" and cpus:
            size = min(threads or cpus, cpus)
            found += [Place(node["NodeID"], size, 0)] * (cpus // size)
    if not found:
        alive = sum(bool(node["Alive"]) for node in nodes)
        what = "GPU" if device == "cuda" else "processor"
        raise DeviceError(
            f"--device {device} was asked, but the {alive} machines of the cluster offer no {what} to Ray"
        )
    return found


def _is_mixed(found: list[Place]) -> bool:
    return len({place.gpus > 0 for place in found}) > 1


class Cluster:
    """The workers of a cluster, all opened. label: what names of results end in. notes: sentences for the person."""

    def __init__(self, pool: Pool, found: list[Place], hellos: list[Hello]) -> None:
        self._pool = pool
        self._places = len(found)
        self.label = hellos[0].label
        self._sees = all(hello.folder for hello in hellos)
        self.notes = pool.notes
        self._is_mixed = _is_mixed(found)
        if self._is_mixed:
            self.notes.append(
                "workers compute on CPUs and GPUs, whose results are the same to rounding and not to the byte; for that"
                " type --device cpu or --device cuda"
            )

    def doing(self) -> "dict[int, tuple[Hello, Future[Doing]]]":
        """How far each worker that is there is, as they answer, by its number."""
        return self._pool.doing()

    def run_jobs(
        self, jobs: list[Job], choices: Choices, on_done: Callable[[], None]
    ) -> Iterator[Done | Skipped | Failed]:
        """Do the jobs and give each one's outcome in their order, as folders.run_jobs does. on_done: told of each."""
        self._check_paths(jobs)
        # The bytes of x264 depend on its threads: all machines take as many as this one would.
        encode = replace(choices.encode, threads=choices.encode.threads or os.cpu_count() or 1)
        choices = replace(choices, encode=encode)
        with ThreadPoolExecutor(self._places * AT_ONCE + 1) as threads:
            futures = [threads.submit(self._outcome, job, choices) for job in jobs]
            for future in futures:
                future.add_done_callback(lambda _: on_done())
            told: set[str] = set()
            try:
                for future in futures:
                    outcome = future.result()
                    if isinstance(outcome, Done):
                        # Each worker tells what holds for all.
                        outcome = replace(outcome, notes=tuple(n for n in outcome.notes if n not in told))
                        told |= set(outcome.notes)
                    yield outcome
            except KeyboardInterrupt:
                self._pool.close()
                threads.shutdown(cancel_futures=True)
                kept = [str(f.exception()) for f in futures if not f.cancelled() and f.exception() is not None]
                raise KeyboardInterrupt("; ".join(text for text in kept if text)) from None
            finally:
                self._pool.close()
                threads.shutdown(cancel_futures=True)

    def _outcome(self, job: Job, choices: Choices) -> Done | Skipped | Failed:
        return outcome_of(job, lambda: self._done(job, choices))

    def _done(self, job: Job, choices: Choices) -> Done | Skipped | Failed:
        is_free = not urls.exists(job.output)
        try:
            answer: Done | Skipped | Failed | Split = self._pool.submit("do", job, choices, is_free).result()
        except CancelledError:
            raise KeyboardInterrupt from None
        if not isinstance(answer, Split):
            return answer
        split = answer
        if self._is_mixed:
            device = "cpu+cuda"
            split = Split({**answer.key, "device": device}, replace(answer.answer, device=device))

        def ask(settings: Mapping[str, Any], number: int) -> "Future[Any]":
            return self._pool.submit("make", job, choices, settings, number)

        return join(job, split, choices, ask)

    def _check_paths(self, jobs: list[Job]) -> None:
        if not self._sees and any(
            not urls.is_url(p) and not p.is_absolute() for j in jobs for p in (j.input, j.output)
        ):
            raise InputError(
                f"not all machines of the cluster see the folder {Path.cwd()}; type paths that they share, or URLs"
            )


@contextmanager
def open_cluster(address: str, asked: Asked) -> Iterator[Cluster]:
    """A worker on every place of the cluster at `address` (HOST:PORT, or LOCAL), opened and of one kind.

    Raises MissingExtra, DeviceError when there is no such cluster or no place in it, and what opening the model raises.
    """
    # Ray tells of dead nodes on standard output, in many lines; what matters of them is in `notes`.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield from _opened(address, asked)


def _opened(address: str, asked: Asked) -> Iterator[Cluster]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    ray = require("ray", "ray")
    if asked.device.startswith("cuda:"):
        raise DeviceError(f"--device {asked.device} with --ray: Ray gives each worker its own GPU; type --device cuda")
    asked.check()  # before a cluster is begun for nothing
    heard = signal.getsignal(signal.SIGTERM)
    _connect(ray, address)
    signal.signal(signal.SIGTERM, heard)  # Ray puts its own there
    pool = None
    try:
        nodes = ray.nodes()
        found = places(nodes, asked.device, asked.threads)
        if _is_mixed(found) and asked.precision == "auto":
            asked = replace(asked, precision="fp32")  # what a GPU and a processor both compute
        pool = Pool([_begin(ray, place, asked) for place in found], _Alike())
        with watched(ray.get_runtime_context().gcs_address, pool.give_up):
            yield Cluster(pool, found, pool.begin(_BEGIN_SECONDS, _MORE_SECONDS))
    finally:
        if pool is not None:
            pool.close()
        ray.shutdown()


def _begin(ray: Any, place: Place, asked: Asked) -> Any:
    affinity = require("ray.util.scheduling_strategies", "ray").NodeAffinitySchedulingStrategy
    actor = ray.remote(concurrency_groups={"work": AT_ONCE, "talk": 1})(Worker).options(
        num_cpus=place.cpus,
        num_gpus=place.gpus,
        max_restarts=RESTARTS,
        scheduling_strategy=affinity(place.node, soft=True),
    )
    if not place.gpus:
        asked = replace(asked, threads=place.cpus)
    return actor.remote(asked, str(Path.cwd()))


class _Alike:
    """Whether workers are of one kind, which the first of them says. Raises DeviceError for another."""

    def __init__(self) -> None:
        self._first: Hello | None = None

    def __call__(self, hello: Hello) -> None:
        first = self._first = self._first or hello
        if hello.unlike != first.unlike:
            said = "; ".join(
                f"{name} {one} on {first.machine}, {other} on {hello.machine}"
                for (name, one), (_, other) in zip(first.unlike, hello.unlike, strict=True)
                if one != other
            )
            raise DeviceError(
                f"the workers of the cluster would not make the same: {said}; install the same srdeploy on all, "
                "or type --backend and --precision"
            )


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        ray.init(address="local", object_store_memory=_OBJECT_STORE, include_dashboard=False, **quiet)
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise DeviceError(f"--ray {address}: that is no cluster; type local, or HOST:PORT as ray start has printed it")
    start = f"ray start --address={address}"
    refused = refusal(host, int(port), LOOK_SECONDS)
    if refused is not None:
        raise DeviceError(
            f"--ray {address}: no cluster answers there ({refused}); begin one there with: ray start --head"
        )
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        text = " ".join(str(error).split())[:200]
        raise DeviceError(
            f"--ray {address}: this machine is not in that cluster ({text}); type here: {start}"
        ) from None
