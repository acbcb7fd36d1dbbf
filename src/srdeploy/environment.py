"""The machine and the software, as they stand beside every number that is published."""

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from srdeploy import __version__

LIBRARIES = (
    *("numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "onnx"),
    *("torch", "ncnn", "pnnx"),
)
"""Distributions whose versions are told, of those that are installed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
"""Environment variables that change how fast things run."""


def cache_folder() -> Path:
    """Where what took long to make is kept, such as engines: $SRDEPLOY_CACHE, or a folder among the user's caches."""
    own = os.environ.get("SRDEPLOY_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srdeploy"


def cores() -> int:
    """Cores that this process may use; only Linux says which, elsewhere all of them."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets by Linux's names ("avx512_vnni", "amx_bf16", "asimddp"); empty where the system is another."""
    return frozenset((_from_cpuinfo("flags") or _from_cpuinfo("Features") or "").split())


def environment() -> dict[str, Any]:
    """Everything of the machine that a speed depends on; None where it does not say. Nothing names machine or user.

    Cores and GPUs are not in it: backends know those that can be used.
    """
    return {
        "srdeploy": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpu": _from_cpuinfo("model name") or platform.processor() or None,
        "cpu_flags": (_from_cpuinfo("flags") or _from_cpuinfo("Features") or "").split(),
        "memory_mb": _memory_mb(),
        "governor": _line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "libraries": libraries(),
    }


def libraries() -> dict[str, str]:
    """Versions of LIBRARIES, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load() -> float | None:
    """Programs that wanted a core in the last minute, on average; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _from_cpuinfo(key: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, ValueError, OSError):
        return None


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
