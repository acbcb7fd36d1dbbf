"""Open a model file on an engine and a device: what was asked for, or an error; nothing falls back silently."""

import re
from pathlib import Path
from typing import Any

from srdeploy.backends.base import Session
from srdeploy.errors import DeviceError, ModelError, SrdeployError

LATER = ("openvino", "tensorrt")
"""Engines with a name but without code in this version."""

MAX_THREADS = 256
"""ONNX Runtime starts every thread that it is asked for; thousands hang the machine."""


def open_session(path: Path, backend: str = "auto", device: str = "auto", threads: int | None = None) -> Session:
    """Open an exported file.

    backend: "auto" or "ort". device: "auto" (a GPU when the installed engine can use one, else the CPU), "cpu",
    "cuda" (the first GPU) or "cuda:N". threads: CPU threads for one run; None takes every core this process may use.

    Raises ModelError when there is no such file or it is not one of ours, DeviceError when the engine or device
    cannot be had, MissingExtra when no engine is installed.
    """
    if backend in LATER:
        raise DeviceError(f"backend {backend} is not available in this version of srdeploy; type: --backend ort")
    if backend not in ("auto", "ort"):
        raise DeviceError(f"there is no backend {backend!r}; type one of: auto, ort, openvino, tensorrt")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise DeviceError(f"there is no device {device!r}; type one of: auto, cpu, cuda, cuda:N")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise DeviceError(f"{threads} threads were asked for; type 1 to {MAX_THREADS}")
    if not path.is_file():
        raise ModelError(f"there is no model file {path}; for those that ship type: srdeploy info")
    from srdeploy.backends.ort import OrtSession  # the engine is loaded when a model is opened, not before

    return OrtSession(path, device, threads)


def available() -> list[dict[str, Any]]:
    """One row for each engine: {"name", "available", "why_not", "devices"}, as `srdeploy info` prints them.

    why_not says what was found and the command that mends it, or is None.
    """
    from srdeploy.backends import ort

    rows = []
    for name, devices in (("ort cpu", ort.cpu_devices), ("ort cuda", ort.cuda_devices)):
        try:
            rows.append({"name": name, "available": True, "why_not": None, "devices": devices()})
        except SrdeployError as error:
            rows.append({"name": name, "available": False, "why_not": str(error), "devices": []})
    for name in LATER:
        why_not = "not available in this version of srdeploy; type: --backend ort"
        rows.append({"name": name, "available": False, "why_not": why_not, "devices": []})
    return rows
