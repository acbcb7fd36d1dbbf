"""Sessions of ONNX Runtime; ort_devices has what is installed, ort_graph runs any graph, not only a model of ours."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends import ort_cuda
from srdeploy.backends.base import Session
from srdeploy.backends.onnxfile import read_model
from srdeploy.backends.ort_devices import choose_device, index_of, onnxruntime
from srdeploy.backends.ort_gpu import CUDA, GpuRunner, cuda_settings, run_options
from srdeploy.backends.slots import AT_ONCE
from srdeploy.environment import cores
from srdeploy.errors import DeviceError, ModelError, OutOfMemory
from srdeploy.picture import Pixels
from srdeploy.shortage import is_shortage, too_little
from srdeploy.spec import ModelSpec, Precision

CPU = "CPUExecutionProvider"

COMPUTES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "FusedConv", "QLinearConv", "NhwcFusedConv"})
"""Operations that are the network; a Shape or a Squeeze on the CPU beside them costs nothing."""

_NO_MEMORY = ("alloc", "out of memory", "bfc_arena", "bfcarena")
"""Words in what ONNX Runtime says when a device has too little memory."""


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
            self._session = open_onnx(data, str(path), device, threads, spin, gpu=gpu)
        except DeviceError:
            if not graphs:
                raise
            # A node on the CPU, or one that no graph can hold: the same network without.
            gpu, graphs = [(CUDA, cuda_settings(index_of(device), graphs=False))], False
            self._session = open_onnx(data, str(path), device, threads, spin, gpu=gpu)
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
        kinds: tuple[type[Exception], ...] = (*failures(), RuntimeError, MemoryError, ValueError)
        try:
            if self._gpu is not None:
                return self._gpu.run(values, result)
            binding = self._session.io_binding()
            binding.bind_cpu_input(self._input, values)
            binding.bind_output(self._output, "cpu", 0, result.dtype, result.shape, result.ctypes.data)
            self._session.run_with_iobinding(binding)
        except kinds as error:
            reason = one_line(error)
            size = "x".join(str(side) for side in values.shape)
            if out_of_memory(error):
                raise OutOfMemory(
                    f"{self.device} ran out of memory for {size} pixels; type a smaller --tile ({reason})"
                ) from None
            raise ModelError(f"{self.path} failed on {size} pixels: {reason}") from None


def open_onnx(
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
    kinds: tuple[type[Exception], ...] = (*failures(), RuntimeError, ValueError, MemoryError)
    try:
        session = ort.InferenceSession(model, options, providers=[*gpu, CPU], enable_fallback=0)
    except kinds as error:
        if out_of_memory(error):
            raise too_little(f"to open {path} in ONNX Runtime") from None
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


def failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its statuses are each an Exception of their own, without a common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [getattr(state, name) for name in dir(state)]
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


def out_of_memory(error: Exception) -> bool:
    return is_shortage(error) or any(word in str(error).lower() for word in _NO_MEMORY)


def one_line(error: Exception) -> str:
    """ONNX Runtime's message without its code prefix and line breaks, cut at 200 characters."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 200 else text[:197] + "..."
