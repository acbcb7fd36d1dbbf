"""Open a model file on an engine and a device: what was asked for, or an error; nothing falls back silently."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from srdeploy.backends.base import Session
from srdeploy.backends.onnxfile import read_spec
from srdeploy.errors import DeviceError, ModelError, SrdeployError
from srdeploy.spec import Precision

MAX_THREADS = 256
"""ONNX Runtime starts every thread that it is asked for; thousands hang the machine."""


class Engine(NamedTuple):
    """An engine behind the seam.

    open: (path, device, threads, precision) to a session; device "auto", "cpu", "cuda" or "cuda:N", precision None for
    what the file says. rows: by the name that `srdeploy info` shows, what gives the devices or raises why not.
    """

    open: Callable[[Path, str, int | None, Precision | None], Session]
    rows: Mapping[str, Callable[[], list[str]]]


def _ort() -> Engine:
    from srdeploy.backends import ort, ort_devices

    return Engine(ort.OrtSession, {"ort cpu": ort_devices.cpu_devices, "ort cuda": ort_devices.cuda_devices})


def _ort_tensorrt() -> Engine:
    from srdeploy.backends import ort_devices, ort_tensorrt

    return Engine(ort_tensorrt.OrtTensorRtSession, {"ort tensorrt": ort_devices.tensorrt_devices})


def _openvino() -> Engine:
    from srdeploy.backends import openvino

    return Engine(openvino.OpenVinoSession, {"openvino": openvino.devices})


def _tensorrt() -> Engine:
    from srdeploy.backends import trt

    return Engine(trt.TrtSession, {"tensorrt": trt.devices})


ENGINES: dict[str, Callable[[], Engine]] = {
    "ort": _ort,
    "ort-tensorrt": _ort_tensorrt,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
}
"""Every engine by name; its library is imported when it is asked about, not before."""


def open_session(
    path: Path,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
) -> Session:
    """Open an exported file.

    backend: a name of ENGINES, or "auto": TensorRT for an .engine, else see `choose`. device: "auto" (a GPU when the
    installed engine can use one, else the CPU), "cpu", "cuda" (the first GPU) or "cuda:N". threads: CPU threads for one
    run; None takes every core this process may use. precision: what is to be computed, where an engine offers other
    than the file's own (bf16).

    Raises ModelError when there is no such file or it is not one of ours, DeviceError when the engine, the device or
    the precision cannot be had or the engine computes elsewhere than asked, MissingExtra when no engine is installed.
    """
    if backend not in ("auto", *ENGINES):
        raise DeviceError(f"there is no backend {backend!r}; type one of: {', '.join(('auto', *ENGINES))}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise DeviceError(f"there is no device {device!r}; type one of: auto, cpu, cuda, cuda:N")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise DeviceError(f"{threads} threads were asked for; type 1 to {MAX_THREADS}")
    if not path.is_file():
        raise ModelError(f"there is no model file {path}; for those that ship type: srdeploy info")
    if backend == "auto" and _is_engine(path):
        backend = "tensorrt"
    if backend == "auto":
        backend = choose(precision or read_spec(path).precision, device)
    _refuse_mismatch(path, backend)
    session = ENGINES[backend]().open(path, device, threads, precision)
    used = session.devices_used()
    if used != {session.device} or not _is(device, session.device):
        raise DeviceError(
            f"--device {device} was asked, but backend {backend} computes {path.name} on "
            f"{' and '.join(sorted(used)) or 'nothing'}; type: --device cpu, or srdeploy info for what is missing"
        )
    return session


def _is_engine(path: Path) -> bool:
    return path.suffix.lower() == ".engine"


def _refuse_mismatch(path: Path, backend: str) -> None:
    """TensorRT runs engines and nothing else, and nothing else runs engines."""
    if _is_engine(path) and backend != "tensorrt":
        raise DeviceError(f"{path} is an engine, which only TensorRT runs; type: --backend tensorrt")
    if backend == "tensorrt" and not _is_engine(path):
        raise DeviceError(
            f"{path} is not an engine, which TensorRT runs and which is built for one machine; type: srdeploy export "
            f"{path.name.partition('.')[0]} --fp16 --tensorrt, then -m and the .engine it made; or --backend ort"
        )


def choose(precision: Precision, device: str = "auto") -> str:
    """The engine that "auto" takes for a precision: the first that can be used, in this order.

    With a GPU, or asked for one: ONNX Runtime on CUDA. On a CPU OpenVINO for int8 and bf16, which it computes faster,
    ONNX Runtime for fp32 and fp16, where its tiles are the whole picture bit for bit.
    When none can be used it is the one to install, which then says so.
    """
    if device != "cpu" and (device != "auto" or is_usable("ort", "ort cuda")):
        return "ort"
    order = ("openvino", "ort") if precision in ("int8", "bf16") else ("ort", "openvino")
    return next((name for name in order if is_usable(name)), "openvino" if precision == "bf16" else "ort")


def is_usable(engine: str, row: str | None = None) -> bool:
    """Whether an engine can be used on this machine: any of its rows in `available`, or the one named."""
    rows = ENGINES[engine]().rows
    return any(_row(name, rows[name])["available"] for name in ([row] if row else rows))


def available() -> list[dict[str, Any]]:
    """One row for each engine: {"name", "available", "why_not", "devices"}, as `srdeploy info` prints them.

    why_not says what was found and the command that mends it, or is None.
    """
    return [_row(name, devices) for engine in ENGINES.values() for name, devices in engine().rows.items()]


def _row(name: str, devices: Callable[[], list[str]]) -> dict[str, Any]:
    try:
        return {"name": name, "available": True, "why_not": None, "devices": devices()}
    except SrdeployError as error:
        return {"name": name, "available": False, "why_not": str(error), "devices": []}


def _is(asked: str, device: str) -> bool:
    """Whether a session's device is what was asked for."""
    if asked == "cuda":
        return device.startswith("cuda:")
    return asked in ("auto", device)
