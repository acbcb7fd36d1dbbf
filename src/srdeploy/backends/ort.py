"""ONNX Runtime: the only door to `onnxruntime`."""

import os
from collections.abc import Callable, Mapping, Sequence, Set
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends import ort_cuda
from srdeploy.backends.base import Session
from srdeploy.backends.cpu import cores
from srdeploy.backends.ended import ended_after
from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.backends.onnxfile import read_model
from srdeploy.backends.ort_gpu import CUDA, TENSORRT, GpuRunner, cuda_settings, run_options
from srdeploy.backends.slots import AT_ONCE
from srdeploy.errors import DeviceError, MissingExtra, ModelError, NoSuchNetwork, OutOfMemory
from srdeploy.extras import require
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec, Precision

CPU = "CPUExecutionProvider"

COMPUTES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "FusedConv", "QLinearConv", "NhwcFusedConv"})
"""Operations that are the network; a Shape or a Squeeze on the CPU beside them costs nothing."""

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Wheels that install the module `onnxruntime`; each overwrites the others' files."""

_NO_MEMORY = ("alloc", "out of memory", "bfc_arena", "bfcarena")
"""Words in what ONNX Runtime says when a device has too little memory."""

Runner = Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]


class OrtSession(Session):
    """A model file on ONNX Runtime, on the CPU or on one GPU, there by its CUDA provider.

    precision: what the caller wants computed; ONNX Runtime computes what the file says, and no other.
    spin: let waiting threads burn their core. Alone on a machine that saves microseconds a node; beside a decoder and
    an encoder it costs most of the speed (measured on two shared cores, ESPCN x4 of 480x270: 129 against 74 ms).
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
        spin: bool = False,
    ) -> None:
        device = self._device_for(device)
        data, spec = read_model(path)
        if precision == "bf16" and spec.precision != "bf16":
            raise DeviceError(
                f"--precision bf16 was asked, and ONNX Runtime computes {path.name} as {spec.precision}; "
                "type: --backend openvino"
            )
        gpu, graphs = self._providers(spec, device)
        try:
            self._session = _open(data, str(path), device, threads, spin, gpu=gpu)
        except DeviceError:
            if not graphs:
                raise
            # A node on the CPU, or one that no graph can hold: the same network without.
            gpu, graphs = [(CUDA, cuda_settings(index_of(device), graphs=False))], False
            self._session = _open(data, str(path), device, threads, spin, gpu=gpu)
        self._input = _only(self._session.get_inputs(), "input", path)
        self._output = _only(self._session.get_outputs(), "output", path)
        self._gpu = None
        if device != "cpu":
            options = run_options(onnxruntime()) if graphs else None
            self._gpu = GpuRunner(self._session, (self._input, self._output), index_of(device), options)
            self.at_once = AT_ONCE
        super().__init__(spec, path, self.name, device, _arithmetic(spec, device))

    name = "ort"
    provider = CUDA

    def _device_for(self, asked: str) -> str:
        return choose_device(asked)

    def _providers(self, spec: ModelSpec, device: str) -> tuple[list[Any], bool]:
        """The GPU's providers with their options, and whether they make CUDA graphs."""
        return ([], False) if device == "cpu" else ([(CUDA, cuda_settings(index_of(device), graphs=True))], True)

    def devices_used(self) -> Set[str]:
        """Where the nodes were placed; those on the CPU beside a GPU count when they compute the network itself."""
        if self.provider not in self._session.get_providers():
            return {"cpu"}
        if not hasattr(self._session, "get_provider_graph_assignment_info"):  # ONNX Runtime before 1.24
            return {self.device}
        used = set()
        for part in self._session.get_provider_graph_assignment_info():
            if any(node.op_type in COMPUTES for node in part.get_nodes()):
                used.add("cpu" if part.ep_name == CPU else self.device)
        return used

    def free_bytes(self) -> int | None:
        """As Session."""
        return None if self._gpu is None else self._gpu.free_bytes()

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        # The engine writes into the caller's array; where its layout is another, into one that is then copied.
        if self.spec.pixels == "uint8":
            given, result = np.ascontiguousarray(pixels), _contiguous(out)
            self._run(given, result)
        else:
            given, moved = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), out.transpose(0, 3, 1, 2)
            result = _contiguous(moved)
            self._run(given, result)
            out = moved
        if result is not out:
            out[...] = result

    def _run(self, values: Pixels, result: Pixels) -> None:
        failures: tuple[type[Exception], ...] = (*_failures(), RuntimeError, MemoryError, ValueError)
        try:
            if self._gpu is not None:
                return self._gpu.run(values, result)
            binding = self._session.io_binding()
            binding.bind_cpu_input(self._input, values)
            binding.bind_output(self._output, "cpu", 0, result.dtype, result.shape, result.ctypes.data)
            self._session.run_with_iobinding(binding)
        except failures as error:
            reason = one_line(error)
            size = "x".join(str(side) for side in values.shape)
            if _out_of_memory(error):
                raise OutOfMemory(
                    f"{self.device} ran out of memory for {size} pixels; type a smaller --tile ({reason})"
                ) from None
            raise ModelError(f"{self.path} failed on {size} pixels: {reason}") from None


def open_graph(model: bytes, threads: int | None = None, integers: bool = True, seconds: float | None = None) -> Runner:
    """Any ONNX model as a function from named arrays to named arrays, on the CPU.

    integers False: what stands between a Dequantize- and a QuantizeLinear is computed in float, which the CPU provider
    does several times faster than in integers where both factors are signed. seconds: what one run may take.
    The function may be called from several threads. Raises ModelError when the model does not load, and the function
    when it does not run, OutOfMemory, and NoSuchNetwork when it takes too long.
    """
    # One of many, when a graph is run node by node: each would hold on to the memory of its largest run.
    session = _open(model, "the graph", "cpu", threads, keep_memory=False, integers=integers)
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        options = onnxruntime().RunOptions()
        try:
            with ended_after(seconds, options):
                return dict(zip(names, session.run(names, dict(feeds), options), strict=True))
        except _failures() as error:
            if options.terminate:
                raise NoSuchNetwork(f"the graph ran for more than {seconds:g} seconds and was ended") from None
            if _out_of_memory(error):
                raise OutOfMemory(f"the graph ran out of memory: {one_line(error)}") from None
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
    return _gpu_devices(CUDA, "cuda")


def tensorrt_devices() -> list[str]:
    """The same for ONNX Runtime's TensorRT provider."""
    return _gpu_devices(TENSORRT, "tensorrt")


def _gpu_devices(provider: str, library: str) -> list[str]:
    gpus = nvidia_gpus()
    if provider not in onnxruntime().get_available_providers():
        seen = f"found {gpus[0]}, but" if gpus else "found no NVIDIA GPU, and"
        raise DeviceError(
            f"{seen} the installed onnxruntime runs on the CPU only; type: --device cpu, or with an NVIDIA GPU: "
            "pip uninstall -y onnxruntime && pip install 'srdeploy[gpu]'"
        )
    if not gpus:
        raise DeviceError(
            "found no NVIDIA GPU or no driver for it (nvidia-smi shows what there is); type: --device cpu"
        )
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


def _open(
    model: bytes,
    path: str,
    device: str,
    threads: int | None,
    spin: bool = False,
    keep_memory: bool = True,
    integers: bool = True,
    gpu: Sequence[Any] = (),
) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = 4  # what goes wrong comes as an exception; the user gets it as one line
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    if device != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "0" if integers else "1")
    if device != "cpu":
        ort.set_default_logger_severity(4)  # libraries that are missing come as the one line below
        ort_cuda.preload(ort)
    failures: tuple[type[Exception], ...] = (*_failures(), RuntimeError, ValueError)
    try:
        session = ort.InferenceSession(model, options, providers=[*gpu, CPU], enable_fallback=0)
    except failures as error:
        if device != "cpu":
            raise DeviceError(f"{device} does not open {path}: {one_line(error)}; type: --device cpu") from None
        raise ModelError(
            f"{path} is not a model that ONNX Runtime opens: {one_line(error)}; for those that ship type: srdeploy info"
        ) from None
    if gpu and session.get_providers()[0] != gpu[0][0]:
        raise DeviceError(
            f"{device} was asked for, but onnxruntime-gpu could not load {gpu[0][0]} and would run on "
            f"{session.get_providers()[0]}; type: pip install 'srdeploy[gpu]', or --device cpu"
        )
    return session


def index_of(device: str) -> int:
    """N of "cuda:N"."""
    return int(device.partition(":")[2] or 0)


def _only(values: list[Any], what: str, path: Path) -> str:
    if len(values) != 1:
        raise ModelError(f"{path} has {len(values)} {what}s where an exported model has one; export it again")
    return str(values[0].name)


def _contiguous(out: Pixels) -> Pixels:
    return out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)


def _arithmetic(spec: ModelSpec, device: str) -> str:
    if device == "cpu" and spec.precision in ("fp16", "bf16"):
        return f"{spec.precision} weights, fp32 arithmetic"  # the CPU provider widens before it computes
    return spec.precision


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its statuses are each an Exception of their own, without a common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [getattr(state, name) for name in dir(state)]
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _NO_MEMORY)


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
