"""The service through its own socket: the same bytes as `run`, errors of clients as 4xx, a full queue as 429."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import srdeploy

pytest.importorskip("fastapi")
from prometheus_client.parser import text_string_to_metric_families

from srdeploy.serve.work import Limits, Worker

LONG = bool(os.environ.get("SRDEPLOY_CHECK_LONG"))

Answer = tuple[int, bytes]


class Service:
    """`srdeploy serve` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "srdeploy", "serve", "--port", "0", *options]
        environment = {**os.environ, "TMPDIR": str(folder)}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.address = self.process.stderr.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.address

    def ask(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
        request = urllib.request.Request(f"{self.address}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def memory(self, field: str = "VmRSS") -> int:
        """Megabytes of the service: VmRSS now, VmHWM at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) // 1024

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services that end with the test."""
    begun: list[Service] = []

    def begin(*options: str) -> Service:
        folder = tmp_path / f"service{len(begun)}"
        folder.mkdir()
        begun.append(Service(folder, *options))
        return begun[-1]

    yield begin
    for service in begun:
        service.process.kill()
        service.process.wait()
        assert service.process.stderr is not None
        service.process.stderr.close()


@pytest.fixture
def small(samples: Path, tmp_path: Path) -> Path:
    """A picture of 48x32 pixels."""
    picture = srdeploy.read_picture(samples / "owl.png")
    path = tmp_path / "small.png"
    srdeploy.write_picture(path, srdeploy.Picture("rgb", (np.ascontiguousarray(picture.planes[0][:32, :48]),)))
    return path


def _by_run(source: Path, result: Path, *options: str) -> bytes:
    command = [sys.executable, "-m", "srdeploy", "run", str(source), "-o", str(result), "-q", *options]
    subprocess.run(command, check=True, timeout=120)
    return result.read_bytes()


def _bomb() -> bytes:
    """A PNG of 100 million black pixels in some hundred kilobytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000 * 10_001))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_many_clients_get_what_run_makes(start: Callable[..., Service], small: Path, tmp_path: Path) -> None:
    service, source = start("--queue", "16"), small.read_bytes()
    expected = {
        "espcn-x4": _by_run(small, tmp_path / "x4.png"),
        "espcn-x2": _by_run(small, tmp_path / "x2.png", "-m", "espcn-x2"),
    }

    def one(index: int) -> tuple[str, Answer]:
        model = "espcn-x4" if index % 3 else "espcn-x2"
        return model, service.ask(f"/v1/upscale?model={model}", source)

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(one, range(60)))
        before = service.memory()
        answers += clients.map(one, range(60, 500 if LONG else 120))
    after, peak = service.memory(), service.memory("VmHWM")
    print(f"{len(answers)} answers; {before} MB after 60 of them, {after} MB after all, {peak} MB at most")  # noqa: T201
    assert after < before + 50
    assert all(status == 200 and body == expected[model] for model, (status, body) in answers)
    assert service.end() == 0
    assert list(service.folder.iterdir()) == []


def test_malformed_uploads_are_the_clients_errors(
    start: Callable[..., Service], small: Path, samples: Path, tmp_path: Path
) -> None:
    service, rng = start("--max-upload", "1"), np.random.default_rng(9)
    good = small.read_bytes()
    uploads = [b"", b"hello", b"\0" * 2_000_000, (samples / "clip.mp4").read_bytes()[:3000], _bomb()]
    for _ in range(200 if LONG else 20):
        cut = good[: int(rng.integers(1, len(good) - 20))]
        huge = good[:16] + rng.bytes(8) + good[24:]
        uploads += [cut, rng.bytes(int(rng.integers(1, 4000))), huge]
    statuses = Counter(service.ask("/v1/upscale", upload)[0] for upload in uploads)
    print(f"{len(uploads)} malformed uploads: {dict(statuses)}; {service.memory('VmHWM')} MB at most")  # noqa: T201
    assert set(statuses) <= {400, 413, 422}, statuses
    assert service.ask("/v1/upscale?model=../../etc/passwd", good)[0] == 422
    assert (
        service.ask("/v1/upscale", b"--x\r\nnonsense", **{"Content-Type": "multipart/form-data; boundary=x"})[0] == 400
    )
    assert service.ask("/v1/tasks/none")[0] == 404
    assert service.ask("/health", Host="elsewhere.example")[0] == 400
    _, body = service.ask("/v1/upscale", b"hello")
    assert str(service.folder) not in body.decode() and "upload" in json.loads(body)["error"]
    assert service.ask("/v1/upscale", good)[1] == _by_run(small, tmp_path / "x4.png")


def test_what_is_not_known_is_refused_and_makes_no_label(start: Callable[..., Service], small: Path) -> None:
    service = start()
    for path in ("/v1/upscale?scale=2", "/v1/tasks?Model=espcn-x2"):
        status, body = service.ask(path, small.read_bytes())
        assert status == 422
        assert b"there is no parameter" in body and b"there are: model, name" in body
    for method in ("BREW", "WHEN"):
        assert service.ask("/health", method=method)[0] == 405
    text = service.ask("/metrics")[1].decode()
    parser = pytest.importorskip("prometheus_client.parser")
    found = [s for family in parser.text_string_to_metric_families(text) for s in family.samples]
    labels = [(s.labels["method"], s.value) for s in found if s.name == "srdeploy_requests_total"]
    assert sorted(labels) == [("POST", 1.0), ("POST", 1.0), ("other", 2.0)]


def test_lengths_that_lie(start: Callable[..., Service], small: Path) -> None:
    service, good = start("--max-upload", "1"), small.read_bytes()
    host, port = service.address.removeprefix("http://").split(":")
    for length, status in ((1 << 40, b" 413 "), (-5, b" 400 "), (len(good) + 1000, None)):
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length)
            client.sendall(good)
            if status is not None:
                assert status in client.recv(4096).split(b"\r\n")[0]
    for _ in range(600):
        if not any(path.is_file() for path in service.folder.rglob("*")):
            break
        time.sleep(0.05)
    assert not [path for path in service.folder.rglob("*") if path.is_file()], "an upload that broke off is kept"
    assert service.ask("/v1/upscale", good)[0] == 200
    assert service.end() == 0


def test_a_form_without_a_length_is_bounded_too(start: Callable[..., Service]) -> None:
    service = start("--max-upload", "1")
    host, port = service.address.removeprefix("http://").split(":")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(
            b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n%x\r\n%b\r\n" % (len(head), head)
        )
        for _ in range(20):  # as much as is taken, and a little: then the answer comes although the form has no end
            client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert service.end() == 0


def test_who_sends_slowly_is_not_waited_for(start: Callable[..., Service]) -> None:
    service = start("--max-seconds", "1")
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        client.sendall(b"a")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na")
    assert not [path for path in service.folder.rglob("*") if path.is_file()]
    assert service.end() == 0
    assert service.process.stderr is not None
    assert "Traceback" not in service.process.stderr.read(), "a client that goes is no defect"


@pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nHost: loc", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG"])
def test_a_head_that_does_not_end_holds_no_connection(head: bytes, start: Callable[..., Service]) -> None:
    service = start("--max-seconds", "1")
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(head)
        while client.recv(4096):  # the answer to a first request, then the end; a time-out would raise
            pass
    assert service.ask("/health")[0] == 200
    assert service.end() == 0


def test_uploads_under_way_take_places_in_the_queue(start: Callable[..., Service], small: Path) -> None:
    service, good = start("--queue", "1"), small.read_bytes()
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(
            b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(good)
        )
        _until(lambda: any(service.folder.glob("*/*")))
        assert service.ask("/v1/upscale", good)[0] == 429
        client.sendall(good)
        assert client.recv(4096).startswith(b"HTTP/1.1 202 ")
    _until(lambda: service.ask("/v1/upscale", good)[0] == 200)
    assert service.end() == 0


def test_a_client_that_goes_has_its_task_stopped(start: Callable[..., Service], samples: Path, small: Path) -> None:
    service, clip = start(), (samples / "clip.mp4").read_bytes()
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(
            b"POST /v1/upscale?model=srcnn-x4&name=clip.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            % (len(clip), clip)
        )
        _until(lambda: b"srdeploy_kept_tasks 1.0" in service.ask("/metrics")[1])
    _until(lambda: b"srdeploy_kept_tasks 0.0" in service.ask("/metrics")[1])
    _until(lambda: not any(service.folder.glob("*/*")))
    # An answered task would have been kept until its last byte was sent; this one was never answered.
    requests = text_string_to_metric_families(service.ask("/metrics")[1].decode())
    statuses = {s.labels.get("status") for f in requests for s in f.samples if s.labels.get("route") == "/v1/upscale"}
    assert "200" not in statuses
    assert service.ask("/v1/upscale", small.read_bytes())[0] == 200
    assert service.end() == 0


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to pass in a minute")


def test_a_result_that_nobody_fetches_is_forgotten(small: Path) -> None:
    worker = Worker(Limits(kept_seconds=0.1))
    with worker.upload() as folder:
        source = folder / "upload.png"
        source.write_bytes(small.read_bytes())
        ended = worker.add(source, "espcn-x2").future
    ended.result(60)
    for _ in range(600):
        if not folder.exists():
            break
        time.sleep(0.05)
    assert not worker.tasks and not folder.exists()
    worker.close()


def test_a_full_queue_says_429(start: Callable[..., Service], samples: Path) -> None:
    service, clip = start("--queue", "1"), (samples / "clip.mp4").read_bytes()
    ids = []
    for _ in range(4):
        status, body = service.ask("/v1/tasks?name=clip.mp4", clip)
        if status == 202:
            ids.append(json.loads(body)["id"])
    assert status == 429 and "try again" in json.loads(body)["error"]
    assert 1 <= len(ids) <= 3
    for one in ids:
        assert service.ask(f"/v1/tasks/{one}", method="DELETE")[0] == 204
        assert service.ask(f"/v1/tasks/{one}")[0] == 404
    assert service.end() == 0
    assert list(service.folder.iterdir()) == []


def test_a_task_tells_its_progress_and_gives_its_result_once(
    start: Callable[..., Service], small: Path, tmp_path: Path
) -> None:
    service = start()
    status, body = service.ask("/v1/tasks?name=holiday.png", small.read_bytes())
    assert status == 202
    one = json.loads(body)["id"]
    for _ in range(600):
        task = json.loads(service.ask(f"/v1/tasks/{one}")[1])
        if task["state"] == "done":
            break
        time.sleep(0.05)
    assert (task["state"], task["frames"], task["model"]) == ("done", 1, "espcn-x4")
    assert service.ask(f"/v1/tasks/{one}/result") == (200, _by_run(small, tmp_path / "x4.png"))
    assert service.ask(f"/v1/tasks/{one}/result")[0] == 404
    api = json.loads(service.ask("/openapi.json")[1])
    assert {"/v1/upscale", "/v1/tasks", "/v1/models", "/health", "/metrics"} <= set(api["paths"])
    answer = api["paths"]["/v1/upscale"]["post"]["responses"]["200"]
    assert "application/json" not in answer.get("content", {}), "the answer is a picture"
    metrics = text_string_to_metric_families(service.ask("/metrics")[1].decode())
    assert {"srdeploy_requests", "srdeploy_request_seconds", "srdeploy_waiting_tasks"} <= {one.name for one in metrics}
    assert "error" in json.loads(service.ask("/nowhere")[1])
    page = service.ask("/")[1].decode()
    assert "https://" not in page and "http://" not in page, "the page must work without internet"


def test_sigterm_finishes_what_was_begun(start: Callable[..., Service], samples: Path, tmp_path: Path) -> None:
    service, source = start(), samples / "facade.png"
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(service.ask("/v1/upscale", source.read_bytes())))
    asking.start()
    while json.loads(service.ask("/v1/models")[1]) and b"srdeploy_kept_tasks 0.0" in service.ask("/metrics")[1]:
        time.sleep(0.005)
    assert service.end() == 0
    asking.join()
    assert answers == [(200, _by_run(source, tmp_path / "facade_x4.png"))]


def test_a_port_in_use_and_an_unknown_model_are_one_line(start: Callable[..., Service]) -> None:
    port = start().address.rpartition(":")[2]
    for options, words in ((["--port", port], "cannot be listened on"), (["-m", "none-x9"], "no model is named")):
        done = subprocess.run(
            [sys.executable, "-m", "srdeploy", "serve", *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr
