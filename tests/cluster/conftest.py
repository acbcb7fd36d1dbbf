"""A Ray cluster of several nodes on this machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Callable[[int], Any]]:
    """nodes(3) -> ray.cluster_utils.Cluster with so many nodes of one processor, and a head that offers none."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    begun: list[Any] = []

    def begin(count: int) -> Any:
        small = {"object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        begun.append(cluster)
        cluster.workers = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(count)]
        return cluster

    yield begin
    for cluster in begun:
        cluster.shutdown()


@pytest.fixture(scope="module")
def srdeploy() -> Callable[..., "subprocess.Popen[str]"]:
    """srdeploy("run", ...) begun as a process of its own, with its output as text."""

    def begin(*words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "srdeploy", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return begin
