"""ONNX Runtime's wheel and the devices that it can be asked for, or what is missing."""

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from srdeploy.backends import ort_cuda
from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.backends.ort_gpu import CUDA, TENSORRT
from srdeploy.errors import DeviceError, MissingExtra
from srdeploy.extras import require

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Wheels that install the module `onnxruntime`; each overwrites the others' files."""


def onnxruntime() -> Any:
    """The module, once it is known that exactly one wheel installed it; MissingExtra or DeviceError otherwise."""
    found = [name for name in DISTRIBUTIONS if _installed(name)]
    if len(found) > 1:
        keep = "gpu" if "onnxruntime-gpu" in found and nvidia_gpus() else "cpu"
        raise DeviceError(
            f"{' and '.join(found)} are both installed and overwrite each other's files; type: "
            f"pip uninstall -y {' '.join(found)} && pip install 'srdeploy[{keep}]'"
        )
    # Nobody asked for it to write in the home folder and to call home; it reads this when it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        module = require("onnxruntime", "cpu")
    except MissingExtra:
        raise MissingExtra(
            "no engine is installed; type: pip install 'srdeploy[cpu]', or with an NVIDIA GPU: "
            "pip install 'srdeploy[gpu]'"
        ) from None
    if not hasattr(module, "InferenceSession"):  # what remains after one of two wheels was uninstalled
        raise DeviceError(
            f"onnxruntime is installed but incomplete; type: pip install --force-reinstall {found[0] if found else ''}"
        )
    return module


def cpu_devices() -> list[str]:
    """["cpu"], or the error that says why ONNX Runtime cannot be used at all."""
    onnxruntime()
    return ["cpu"]


def cuda_devices() -> list[str]:
    """The CUDA devices that the installed wheel can be asked for, or DeviceError with what is missing."""
    return _gpu_devices(CUDA, "cuda")


def tensorrt_devices() -> list[str]:
    """The same for ONNX Runtime's TensorRT provider."""
    return _gpu_devices(TENSORRT, "tensorrt")


def _gpu_devices(provider: str, library: str) -> list[str]:
    gpus = nvidia_gpus()
    instead = "--device cpu" if provider == CUDA else "--backend ort"
    if provider not in onnxruntime().get_available_providers():
        seen = f"found {gpus[0]}, but" if gpus else "found no NVIDIA GPU, and"
        raise DeviceError(
            f"{seen} the installed onnxruntime runs on the CPU only; type: {instead}, or with an NVIDIA GPU: "
            "pip uninstall -y onnxruntime && pip install 'srdeploy[gpu]'"
        )
    if not gpus:
        raise DeviceError(f"found no NVIDIA GPU or no driver for it (nvidia-smi shows what there is); type: {instead}")
    reason = ort_cuda.why_not(onnxruntime(), library)
    if reason:
        raise DeviceError(f"found {gpus[0]}, but {reason}")
    return [f"cuda:{index}" for index in range(len(gpus))]


def choose_device(asked: str) -> str:
    """ "cpu" or "cuda:N" for "auto", "cpu", "cuda" or "cuda:N"; DeviceError when it cannot be had."""
    if asked == "cpu":
        onnxruntime()
        return "cpu"
    if asked == "auto":
        try:
            cuda_devices()
        except DeviceError:
            onnxruntime()
            return "cpu"
    return chosen(asked, cuda_devices)


def chosen(asked: str, find: Callable[[], list[str]], backend: str = "") -> str:
    """The GPU that was asked for, of those that `find` gives; DeviceError when it is not among them.

    backend: what was asked for when no device was.
    """
    try:
        devices = find()
    except DeviceError as error:
        what = f"--backend {backend}" if asked == "auto" else f"--device {asked}"
        raise DeviceError(f"{what} cannot be had: {error}") from None
    wanted = "cuda:0" if asked in ("auto", "cuda") else asked
    if wanted not in devices:
        raise DeviceError(f"--device {asked} cannot be had: found {', '.join(devices)}; type one of these")
    return wanted


def index_of(device: str) -> int:
    """N of "cuda:N"."""
    return int(device.partition(":")[2] or 0)


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
