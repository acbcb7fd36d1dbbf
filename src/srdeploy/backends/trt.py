"""TensorRT: engines run, and asked what they are. Building is in trt_build.

No line here has been run on a GPU: none was at hand. What is tested is that every name exists in the bindings of
TensorRT 10 and 11, and the order of the calls on a stand-in for them.
"""

import contextlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends.base import Session
from srdeploy.backends.cuda import Cuda
from srdeploy.backends.engine_file import EngineFile, read_engine
from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.backends.slots import AT_ONCE, CAPTURE_AT, Slot, Slots
from srdeploy.errors import DeviceError, MissingExtra, ModelError, OutOfMemory
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
    """An engine on one GPU. Several threads may run it; each has a context, memory and a stream of its own.

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
        refuse_foreign(engine, machine(Cuda(index)), path)
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._engine is None:
            raise ModelError(f"TensorRT does not load {path}; build it again: srdeploy export with --tensorrt")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        (self._input,) = (name for name in names if modes[name] == trt.TensorIOMode.INPUT)
        (self._output,) = (name for name in names if modes[name] == trt.TensorIOMode.OUTPUT)
        self._least, _, self._most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(self._input, 0))
        super().__init__(engine.spec, path, "tensorrt", f"cuda:{index}", engine.precision)
        self.at_once = AT_ONCE
        self.largest = tuple(self._most[2:] if engine.spec.pixels == "float" else self._most[1:3])
        self._slots = Slots(lambda: Cuda(index), self._prepare, self._work)

    def free_bytes(self) -> int | None:
        """As Session."""
        return self._slots.free_bytes()

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        floats = self.spec.pixels == "float"
        values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if floats else pixels)
        if any(
            not a <= side <= b for a, side, b in zip(self._least[1:], values.shape[1:], self._most[1:], strict=True)
        ):
            least, most = (self._sides(shape) for shape in (self._least, self._most))
            raise DeviceError(
                f"{self.path.name} takes pictures of {least} to {most} pixels and was given "
                f"{self._sides(values.shape)}; type --tile, or build it for other sizes"
            )
        target = out.transpose(0, 3, 1, 2) if floats else out
        count = int(self._most[0])
        for first in range(0, len(values), count):  # more pictures than it takes at once go one after another
            part = target[first : first + count]
            made = part if part.flags.c_contiguous else np.empty(part.shape, part.dtype)
            self._slots.run(values[first : first + count], made)
            if made is not part:
                part[...] = made

    def _prepare(self, slot: Slot) -> None:
        # A context computes one shape at a time, and a captured graph is bound to its own.
        slot.owned = self._engine.create_execution_context()
        if slot.owned is None:
            raise OutOfMemory(f"the GPU has too little memory to run {self.path.name} again beside itself")
        if not slot.owned.set_input_shape(self._input, slot.shapes[0]):
            raise ModelError(f"{self.path.name} does not take shape {slot.shapes[0]}; build it again")
        for name, address in zip((self._input, self._output), slot.room, strict=True):
            slot.owned.set_tensor_address(name, address)

    def _work(self, slot: Slot) -> None:
        if slot.runs == CAPTURE_AT:
            with contextlib.suppress(DeviceError):  # some layers cannot be captured; they run as they did
                slot.graph = graph = slot.cuda.capture(lambda: self._enqueue(slot))
                slot.before_close = lambda: slot.cuda.drop(graph)
        if slot.graph is None:
            self._enqueue(slot)
        else:
            slot.cuda.launch(slot.graph)
        slot.cuda.wait()

    def _enqueue(self, slot: Slot) -> None:
        """Up, through the network and down again, in the order of the slot's stream."""
        slot.cuda.upload(slot.room[0], slot.host[0])
        if not slot.owned.execute_async_v3(slot.cuda.stream):
            raise DeviceError(f"TensorRT failed to run {self.path.name}; type a smaller --tile")
        slot.cuda.download(slot.host[1], slot.room[1])

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
