"""A row in a process of its own: how long until it is open, until its first frame, and the most memory it took.

`python -m srdeploy.bench.fresh ROW` (JSON) prints the answer; `measure_fresh` starts that and adds the clock's start.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srdeploy.bench.suite import Row
from srdeploy.errors import DeviceError, SrdeployError

RUNS = 3
"""Of a network, so that memory has settled; one of a file, or of a network that takes more than SLOW seconds."""

SLOW = 1.0

TIMEOUT = 300.0
"""Seconds after which a process is given up: a compiler may take minutes, a hang takes for ever."""


def measure_fresh(row: Row) -> dict[str, Any]:
    """{"start_up_ms", "first_frame_ms", "peak_memory_mb", "device_memory_mb"}, from the start of a process on.

    start_up_ms: until the model is open. first_frame_ms: until its first frame is done. Memory is None where the system
    does not tell. Raises DeviceError with the reason when the process does not get that far.
    """
    begun = time.time()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "srdeploy.bench.fresh", json.dumps(asdict(row))],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"it had no first frame after {TIMEOUT:g} seconds") from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(f"its process ended with status {done.returncode}: {last[:200]}") from None
    if "error" in answer:
        raise DeviceError(answer["error"])
    return {
        "start_up_ms": (answer["opened"] - begun) * 1e3,
        "first_frame_ms": (answer["first"] - begun) * 1e3,
        "peak_memory_mb": answer["peak_memory_mb"],
        "device_memory_mb": answer["device_memory_mb"],
    }


def _answer(row: Row) -> dict[str, Any]:
    from srdeploy.backends.nvml import used_memory_mb
    from srdeploy.bench.subjects import open_row

    before = used_memory_mb() if row.device.startswith("cuda") else None
    with tempfile.TemporaryDirectory() as folder:
        subject = open_row(row, Path(folder))
        opened = time.time()
        first: list[float] = []
        subject.run(lambda: first.append(time.time()))
        if row.kind == "network" and first[0] - opened < SLOW:
            for _ in range(RUNS - 1):
                subject.run(lambda: None)
        used = used_memory_mb() if before is not None else None
    device = None if used is None or before is None else used - before
    return {"opened": opened, "first": first[0], "peak_memory_mb": _peak_mb(), "device_memory_mb": device}


def _peak_mb() -> float | None:
    """The most memory that this process and those it started had in RAM; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    per_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, KiB on Linux
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():  # Linux's ru_maxrss is at least what the process that started this one took
        own = int(status.read_text().partition("VmHWM:")[2].split()[0])
    return round(max(own, children) / per_mb, 1)


def main() -> None:
    """Open and run the row of the command line, and print what it took, or {"error": why not}."""
    row = Row(**json.loads(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = _answer(row)
        except SrdeployError as error:
            answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
