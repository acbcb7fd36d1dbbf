"""Fixtures shared by all tests: where the big data lies, and pictures and clips that need none of it."""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

LONGEST = ("test_whole_road", "test_proof", "test_readme", "test_docs", "test_cluster", "test_service", "test_page")
"""Files that take longest, first: of two processes neither then has one of them left when the other is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def samples(repository: Path) -> Path:
    return repository / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and clips beside the repository; a test that needs it skips without it."""
    folder = Path(os.environ.get("SRDEPLOY_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real pictures and clips are not at {folder}; set SRDEPLOY_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of an S3 server on this machine with a bucket "bucket"; the environment points at it."""
    server_module, boto3 = pytest.importorskip("moto.server"), pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SRDEPLOY_CACHE": str(tmp_path_factory.mktemp("cache")),
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    server.stop()


@pytest.fixture(scope="session")
def aside(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """aside("name==version") -> the folder of a package kept out of the environment, installed once for all runs.

    A test that needs one skips where it cannot be had.
    """

    def install(requirement: str) -> Path:
        folder: Path = request.config.cache.mkdir("aside") / requirement
        with folder.with_name(f"{requirement}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the same run may be at it
            if not folder.is_dir():
                part = folder.with_name(f"{requirement}.part")
                words = ["--no-deps", "--only-binary=:all:", "--retries=1", "--timeout=20", "--quiet", "--upgrade"]
                pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *words]
                done = subprocess.run(
                    [*pip, "--target", part, requirement], check=False, capture_output=True, text=True
                )
                if done.returncode:
                    why = (done.stderr.strip().splitlines() or ["pip gives no reason"])[-1]
                    pytest.skip(f"{requirement} cannot be installed here: {why}")
                part.rename(folder)
        return folder

    return install


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Run the ffmpeg binary; strings are split into words, paths are not. A test that needs it skips without it."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        pytest.skip("the ffmpeg and ffprobe binaries are not installed")

    def run(*arguments: object) -> None:
        words = [word for a in arguments for word in ([str(a)] if isinstance(a, Path) else shlex.split(str(a)))]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)

    return run


def _foreign_rgb(opset: int, ir_version: int, spread: float) -> Any:
    """Somebody's RGB network at x2, with names of its own; onnx is needed."""
    onnx = pytest.importorskip("onnx")
    weights = np.random.default_rng(0).normal(0.1, spread, (12, 3, 3, 3)).astype(np.float32)
    make, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["lr", "w"], ["features"], pads=[1] * 4),
            onnx.helper.make_node("DepthToSpace", ["features"], ["sr"], blocksize=2, mode="CRD"),
        ],
        "theirs",
        [make("lr", float32, ["n", 3, "h", "w"])],
        [make("sr", float32, ["n", 3, "H", "W"])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir_version)


@pytest.fixture(scope="session")
def foreign_rgb() -> Callable[[int, int, float], Any]:
    """(opset, IR version, spread of the weights) -> that network."""
    return _foreign_rgb
