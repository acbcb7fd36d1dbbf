"""ONNX Runtime: the only door to `onnxruntime`."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends.base import Session
from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.errors import DeviceError, MissingExtra, ModelError
from srdeploy.extras import require
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec, spec_from_metadata

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Wheels that install the module `onnxruntime`; each overwrites the others' files."""

MAX_BYTES = 1 << 31
"""A protobuf message ends at 2 GiB, and so does a model in one file."""

Runner = Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]


class OrtSession(Session):
    """A model file on ONNX Runtime, on the CPU or on one CUDA GPU.

    spin: let waiting threads burn their core. Alone on a machine that saves microseconds a node; beside a decoder and
    an encoder it costs most of the speed (measured on two shared cores, ESPCN x4 of 480x270: 129 against 74 ms).
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None, spin: bool = False) -> None:
        device = choose_device(device)
        self._session = _open(_read(path), str(path), device, threads, spin)
        spec = spec_from_metadata(self._session.get_modelmeta().custom_metadata_map, str(path))
        self._input = _only(self._session.get_inputs(), "input", path)
        self._output = _only(self._session.get_outputs(), "output", path)
        super().__init__(spec, path, "ort", device, _arithmetic(spec, device))

    def _infer(self, pixels: Pixels) -> Pixels:
        if self.spec.pixels == "uint8":
            return self._run(pixels)
        planes = self._run(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))

    def _run(self, values: Pixels) -> Pixels:
        try:
            (result,) = self._session.run([self._output], {self._input: values})
        except _failures() as error:
            reason = one_line(error)
            size = "x".join(str(side) for side in values.shape)
            if "alloc" in reason.lower() or "out of memory" in reason.lower():
                raise DeviceError(
                    f"{self.device} ran out of memory for {size} pixels; type a smaller --tile ({reason})"
                ) from None
            raise ModelError(f"{self.path} failed on {size} pixels: {reason}") from None
        return np.asarray(result)


def open_graph(model: bytes, threads: int | None = None) -> Runner:
    """Any ONNX model as a function from named arrays to named arrays, on the CPU.

    The function may be called from several threads. Raises ModelError when the model does not load, and the
    function does when it does not run.
    """
    # One of many, when a graph is run node by node: each would hold on to the memory of its largest run.
    session = _open(model, "the graph", "cpu", threads, keep_memory=False)
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        try:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))
        except _failures() as error:
            raise ModelError(f"the graph failed: {one_line(error)}") from None

    return run


def run_graph(
    model: bytes, feeds: Mapping[str, np.ndarray[Any, Any]], threads: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Run any ONNX model once on the CPU: arrays by input name in, by output name out."""
    return open_graph(model, threads)(feeds)


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
    gpus = nvidia_gpus()
    if CUDA not in onnxruntime().get_available_providers():
        seen = f"found {gpus[0]}, but" if gpus else "found no NVIDIA GPU, and"
        raise DeviceError(
            f"{seen} the installed onnxruntime runs on the CPU only; type: --device cpu, or with an NVIDIA GPU: "
            "pip uninstall -y onnxruntime && pip install 'srdeploy[gpu]'"
        )
    if not gpus:
        raise DeviceError(
            "found no NVIDIA GPU or no driver for it (nvidia-smi shows what there is); type: --device cpu"
        )
    return [f"cuda:{index}" for index in range(len(gpus))]


def choose_device(asked: str) -> str:
    """ "cpu" or "cuda:N" for "auto", "cpu", "cuda" or "cuda:N"; DeviceError when it cannot be had."""
    if asked == "cpu":
        onnxruntime()
        return "cpu"
    try:
        devices = cuda_devices()
    except DeviceError as error:
        if asked != "auto":
            raise DeviceError(f"--device {asked} cannot be had: {error}") from None
        onnxruntime()
        return "cpu"
    wanted = "cuda:0" if asked in ("auto", "cuda") else asked
    if wanted not in devices:
        raise DeviceError(f"--device {asked} cannot be had: found {', '.join(devices)}; type one of these")
    return wanted


def _cores() -> int:
    """Cores that this process may use; only Linux says which, elsewhere all of them."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _open(
    model: bytes, path: str, device: str, threads: int | None, spin: bool = False, keep_memory: bool = True
) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = 4  # what goes wrong comes as an exception; the user gets it as one line
    options.intra_op_num_threads = threads or _cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    providers: list[Any] = [CPU]
    if device != "cpu":
        # TF32 keeps 10 bits of each factor: an fp32 file is fp32 on a GPU too.
        providers = [(CUDA, {"device_id": device.partition(":")[2], "use_tf32": "0"}), CPU]
        ort.set_default_logger_severity(4)  # libraries that are missing come as the one line below
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(AttributeError):
            ort.preload_dlls()  # CUDA from the nvidia-* wheels; since 1.21
    failures: tuple[type[Exception], ...] = (*_failures(), RuntimeError, ValueError)
    try:
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except failures as error:
        if device != "cpu":
            raise DeviceError(f"{device} does not open {path}: {one_line(error)}; type: --device cpu") from None
        raise ModelError(
            f"{path} is not a model that ONNX Runtime opens: {one_line(error)}; for those that ship type: srdeploy info"
        ) from None
    if device != "cpu" and session.get_providers()[0] != CUDA:
        raise DeviceError(
            f"{device} was asked for, but onnxruntime-gpu could not load CUDA or cuDNN and would run on the CPU; "
            "type: pip install 'srdeploy[gpu]', or --device cpu"
        )
    return session


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path} is empty; export it again")
        if size >= MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes; a model in one file has less than 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def _only(values: list[Any], what: str, path: Path) -> str:
    if len(values) != 1:
        raise ModelError(f"{path} has {len(values)} {what}s where an exported model has one; export it again")
    return str(values[0].name)


def _arithmetic(spec: ModelSpec, device: str) -> str:
    if device == "cpu" and spec.precision in ("fp16", "bf16"):
        return f"{spec.precision} weights, fp32 arithmetic"  # the CPU provider widens before it computes
    return spec.precision


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its statuses are each an Exception of their own, without a common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [getattr(state, name) for name in dir(state)]
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


def one_line(error: Exception) -> str:
    """ONNX Runtime's message without its code prefix and line breaks, cut at 200 characters."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 200 else text[:197] + "..."


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
