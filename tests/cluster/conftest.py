"""A Ray cluster of several nodes on this machine, and a server that speaks S3."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture
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


@pytest.fixture
def srdeploy() -> Callable[..., "subprocess.Popen[str]"]:
    """srdeploy("run", ...) begun as a process of its own, with its output as text."""

    def begin(*words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "srdeploy", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return begin


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of an S3 server on this machine with a bucket "bucket"; the environment points at it."""
    server_module, boto3 = pytest.importorskip("moto.server"), pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SRDEPLOY_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()
