"""TensorRT: engines run, and asked what they are. Building is in trt_build.

No line here has been run on a GPU: none was at hand. What is tested is that every name exists in the bindings of
TensorRT 10 and 11, and the order of the calls on a stand-in for them.
"""

import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends.base import Session
from srdeploy.backends.cuda import Cuda
from srdeploy.backends.engine_file import EngineFile, read_engine
from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.errors import DeviceError, MissingExtra, ModelError
from srdeploy.extras import require
from srdeploy.picture import Pixels
from srdeploy.spec import Precision

_TYPES = {
    "int8": re.compile(r"\bint8\b", re.IGNORECASE),
    "fp16": re.compile(r"\b(half|fp16|float16)\b", re.IGNORECASE),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE),
    "fp32": re.compile(r"\b(float|fp32|float32)\b", re.IGNORECASE),
}
"""How the inspectors of TensorRT 10 ("Row major linear FP16 format") and 11 ("Half") write a type."""


class TrtSession(Session):
    """An engine on one GPU. Several threads may run it; it serves them one after another.

    threads: for engines on CPUs. Raises ModelError for a file that is damaged or no engine of ours, DeviceError for one
    that was built on another GPU or by another TensorRT: an engine holds on no other.
    """

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, precision: Precision | None = None
    ) -> None:
        engine = read_engine(path)
        if precision not in (None, engine.spec.precision):
            raise DeviceError(f"asked for {precision}, and {path} is {engine.spec.precision}; type --precision auto")
        index, trt = _index(device), tensorrt()
        self._cuda = Cuda(index)
        refuse_foreign(engine, machine(self._cuda), path)
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._engine is None:
            raise ModelError(f"TensorRT does not load {path}; build it again: srdeploy export with --tensorrt")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError(f"the GPU has too little memory for {path}; build it for smaller sizes: --sizes")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        (self._input,) = (name for name in names if modes[name] == trt.TensorIOMode.INPUT)
        (self._output,) = (name for name in names if modes[name] == trt.TensorIOMode.OUTPUT)
        self._least, _, self._most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(self._input, 0))
        self._memory: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        super().__init__(engine.spec, path, "tensorrt", f"cuda:{index}", engine.precision)

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        floats = self.spec.pixels == "float"
        values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if floats else pixels)
        most = int(self._most[0])
        with self._lock:
            self._cuda.enter()
            for first in range(0, len(values), most):  # more pictures than it takes at once go one after another
                made = self._run(values[first : first + most])
                out[first : first + most] = made.transpose(0, 2, 3, 1) if floats else made

    def _run(self, values: Pixels) -> Pixels:
        if any(not low <= side <= high for low, side, high in zip(self._least, values.shape, self._most, strict=True)):
            low, high = (self._sides(shape) for shape in (self._least, self._most))
            raise DeviceError(
                f"{self.path.name} takes pictures of {low} to {high} pixels and was given "
                f"{self._sides(values.shape)}; type --tile, or build it for other sizes"
            )
        if not self._context.set_input_shape(self._input, values.shape):
            raise ModelError(f"{self.path.name} does not take shape {values.shape}; build it again")
        made = np.empty(tuple(self._context.get_tensor_shape(self._output)), values.dtype)
        for name, array in ((self._input, values), (self._output, made)):
            self._context.set_tensor_address(name, self._room(name, array.nbytes))
        self._cuda.upload(self._memory[self._input][0], values)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise DeviceError(f"TensorRT failed to run {self.path.name}; type a smaller --tile")
        self._cuda.download(made, self._memory[self._output][0])
        self._cuda.wait()
        return made

    def _room(self, name: str, size: int) -> int:
        """The address of at least so many bytes for a tensor; kept from run to run."""
        address, had = self._memory.get(name, (0, 0))
        if had < size:
            if had:
                self._cuda.free(address)
                del self._memory[name]
            address = self._cuda.allocate(size)
            self._memory[name] = (address, size)
        return address

    def _sides(self, shape: tuple[int, ...]) -> str:
        height, width = shape[2:] if self.spec.pixels == "float" else shape[1:3]
        return f"{width}x{height}"


def tensorrt() -> Any:
    """The module; MissingExtra when it is not installed, DeviceError when its libraries do not load."""
    try:
        return require("tensorrt", "tensorrt")
    except MissingExtra:
        raise MissingExtra(
            "TensorRT is not installed; on the machine with the GPU type: pip install 'srdeploy[tensorrt]'"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DeviceError(f"TensorRT is installed and does not load ({reason}); type: --backend ort") from None


def devices() -> list[str]:
    """The GPUs that engines can run on; MissingExtra or DeviceError with what is missing."""
    tensorrt()
    gpus = nvidia_gpus()
    if not gpus:
        raise DeviceError("found no NVIDIA GPU or no driver for it (nvidia-smi shows what there is)")
    return [f"cuda:{index}" for index in range(len(gpus))]


def machine(cuda: Cuda) -> dict[str, str]:
    """What an engine is bound to: the GPU, its capability, TensorRT and CUDA."""
    return {
        "gpu": cuda.name(),
        "capability": cuda.capability(),
        "tensorrt": str(tensorrt().__version__),
        "cuda": cuda.version(),
    }


def refuse_foreign(engine: EngineFile, here: dict[str, str], path: Path) -> None:
    """Raise DeviceError when an engine was built for another GPU or by another TensorRT than are here."""
    for key, what in (("gpu", "the GPU"), ("capability", "compute capability"), ("tensorrt", "TensorRT")):
        built = engine.build.get(key)
        if built != here[key]:
            raise DeviceError(
                f"{path} was built for {what} {built} and this machine has {here[key]}; build it here: "
                f"srdeploy export {engine.spec.name} --tensorrt"
            )


def precision_of(plan: bytes) -> str:
    """What an engine computes in, read back from it: "fp16" or "fp16, 1 of 9 layers in fp32", most layers first."""
    trt = tensorrt()
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelError("TensorRT does not load the engine that it has just built")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return precision_in(text)


def precision_in(inspected: str) -> str:
    """The same, of the inspector's JSON, whose fields differ between TensorRT 10 and 11."""
    counts: Counter[str] = Counter()
    for layer in json.loads(inspected).get("Layers", []):
        if isinstance(layer, dict) and layer.get("Outputs") and not _moves(layer):
            # Integers come out as floats behind a dequantisation: a layer is what it takes.
            kind = _type_of((layer.get("Inputs") or layer["Outputs"])[0])
            if kind:
                counts[kind] += 1
    if not counts:
        return "unknown"
    total = counts.total()
    (most, _), *others = counts.most_common()
    return ", ".join([most, *(f"{count} of {total} layers in {kind}" for kind, count in others)])


def _moves(layer: dict[str, Any]) -> bool:
    """Whether a layer only moves or converts values."""
    kind = str(layer.get("LayerType", "")).lower()
    return any(word in kind for word in ("reformat", "shuffle", "cast", "identity", "noop"))


def _type_of(tensor: dict[str, Any]) -> str | None:
    words = " ".join(str(tensor.get(key, "")) for key in ("DataType", "Datatype", "Format/Datatype", "Format"))
    return next((name for name, pattern in _TYPES.items() if pattern.search(words)), None)


def _index(device: str) -> int:
    found = devices()
    wanted = "cuda:0" if device in ("auto", "cuda") else device
    if wanted not in found:
        raise DeviceError(f"--device {device} cannot be had for an engine: found {', '.join(found)}; type one of these")
    return int(wanted.partition(":")[2])
