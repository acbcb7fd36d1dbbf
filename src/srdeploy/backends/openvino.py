"""OpenVINO on the CPU, Intel's, AMD's or Arm's: the only door to `openvino`."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

import numpy as np

from srdeploy.backends.base import Session
from srdeploy.backends.onnxfile import read_model
from srdeploy.environment import cores
from srdeploy.errors import DeviceError, MissingExtra, ModelError, OutOfMemory
from srdeploy.extras import require
from srdeploy.picture import Pixels
from srdeploy.shortage import is_shortage, too_little
from srdeploy.spec import ModelSpec, Precision

_POINTWISE = frozenset({"Multiply", "FakeQuantize", "Convert", "Clamp", "Maximum", "Minimum", "Round"})
"""Operations behind the pixel shuffle that may as well stand before it."""

_LAYOUT = frozenset({"Squeeze", "Unsqueeze", "Transpose"})


class OpenVinoSession(Session):
    """A model file on OpenVINO's CPU plug-in. One compiled network takes every size.

    precision: "bf16" computes an fp32 file in bf16 where the processor can; None computes what the file says, and
    fp32 in fp32: left alone, OpenVINO takes bf16 without a word. Sums are made in another order than in
    ONNX Runtime: results of one file differ between the two by a level where a value stands at a rounding boundary.
    Its kernels are compiled for each shape, when that first comes.
    """

    prepares = True

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, precision: Precision | None = None
    ) -> None:
        if device not in ("auto", "cpu"):
            raise DeviceError(f"--device {device} cannot be had: backend openvino runs on the CPU; type: --backend ort")
        data, spec = read_model(path)
        core = _core()
        _check_precision(core, spec, path, precision)
        try:
            model = core.read_model(data, b"")
            self._mode = _cut_shuffle(model, spec.scale)
            self._compiled = core.compile_model(model, "CPU", _properties(threads, precision))
        except (RuntimeError, MemoryError) as error:
            if is_shortage(error):
                raise too_little(f"to open {path.name} in OpenVINO") from None
            raise ModelError(f"{path} is not a model that OpenVINO opens: {_reason(error)}") from None
        self._idle: LifoQueue[Any] = LifoQueue()
        super().__init__(spec, path, "openvino", "cpu", _arithmetic(self._compiled, spec, path, precision))

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        if self.spec.pixels == "float":
            pixels = pixels.transpose(0, 3, 1, 2)
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            result = request.infer({0: np.ascontiguousarray(pixels)}, share_inputs=True, share_outputs=True)[0]
            if self._mode is not None:
                _shuffle(result, out, self.spec.scale, self._mode)
            else:
                out[...] = result if self.spec.pixels == "uint8" else result.transpose(0, 2, 3, 1)
        except (RuntimeError, MemoryError, ValueError) as error:
            raise _failed(error, self, pixels) from None
        finally:
            self._idle.put(request)


def open_bare_openvino(model: Path, threads: int) -> Callable[[Pixels], Pixels]:
    """A file of uint8 pixels in OpenVINO and nothing of srdeploy around it, for comparison, set as OpenVinoSession sets
    it: (N, H, W, C) to (N, sH, sW, C), valid until the next call."""
    compiled = _core().compile_model(str(model), "CPU", _properties(threads, None))
    request = compiled.create_infer_request()

    def enlarge(pixels: Pixels) -> Pixels:
        big: Pixels = request.infer({0: pixels}, share_inputs=True, share_outputs=True)[0]
        return big

    return enlarge


def _properties(threads: int | None, precision: Precision | None) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "NUM_STREAMS": 1,
        # Threads that keep to their cores wait for the decoder and the encoder, which do not.
        "ENABLE_CPU_PINNING": False,
    }


def devices() -> list[str]:
    """["cpu"], or the error that says why OpenVINO cannot be used."""
    _core()
    return ["cpu"]


def has_bf16() -> bool:
    """Whether OpenVINO computes bf16 on this processor, slowly or fast."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    # On import it reports to its maker and writes into the home folder; without this module it does neither.
    absent = sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        ov = require("openvino", "openvino")
    except MissingExtra:
        raise MissingExtra("openvino is not installed; type: pip install 'srdeploy[openvino]'") from None
    finally:
        if absent is None:
            sys.modules.pop("openvino_telemetry", None)
    core = ov.Core()
    if "CPU" not in core.available_devices:
        raise DeviceError("openvino is installed without its CPU plug-in; type: pip install --force-reinstall openvino")
    return core


def _check_precision(core: Any, spec: ModelSpec, path: Path, precision: Precision | None) -> None:
    if precision != "bf16":
        return
    if spec.precision != "fp32":
        raise DeviceError(f"--precision bf16 was asked, and {path.name} is {spec.precision}; type -m and its fp32 file")
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise DeviceError("--precision bf16 was asked, and this processor has none; type: --precision auto")


def _cut_shuffle(model: Any, scale: int) -> str | None:
    """Take the last DepthToSpace out of a network that ends with it; its mode, or None when it ends otherwise.

    What is computed behind it for each value by itself is computed before it as well. The result then comes as
    (N, C * scale * scale, H, W), and `_shuffle` moves it in a tenth of the time that OpenVINO takes for it, straight
    to where it belongs.
    """
    (result,) = model.get_results()
    tail: list[Any] = []
    found = result.input(0)
    while (node := found.get_source_output().get_node()).get_type_name() in _POINTWISE | _LAYOUT:
        inputs = [value for value in node.inputs() if not _is_constant(value)]
        if len(inputs) != 1:
            return None
        (found,) = inputs
        tail.append(found)
    if node.get_type_name() != "DepthToSpace" or node.get_attributes()["block_size"] != scale:
        return None
    before = node.input_value(0)
    for value in reversed(tail):
        if value.get_node().get_type_name() in _POINTWISE:
            value.replace_source_output(before)
            before = value.get_node().output(0)
    result.input(0).replace_source_output(before)
    model.validate_nodes_and_infer_types()
    return str(node.get_attributes()["mode"])


def _is_constant(value: Any) -> bool:
    """Whether an operation's input is a constant: of one element where it takes part in the arithmetic."""
    source = value.get_source_output().get_node()
    if source.get_type_name() != "Constant":
        return False
    return value.get_node().get_type_name() in _LAYOUT or all(side == 1 for side in source.shape)


def _shuffle(parts: Pixels, out: Pixels, scale: int, mode: str) -> None:
    """Depth to space: (N, C * scale * scale, H, W) into (N, scale * H, scale * W, C).

    mode: "depth_first" has the channel outermost (ONNX's CRD), "blocks_first" innermost (DCR).
    """
    channels = out.shape[3]
    steps = (scale * scale, 1) if mode == "depth_first" else (1, channels)
    for channel in range(channels):
        for place in range(scale * scale):
            row, column = divmod(place, scale)
            out[:, row::scale, column::scale, channel] = parts[:, channel * steps[0] + place * steps[1]]


def _arithmetic(compiled: Any, spec: ModelSpec, path: Path, precision: Precision | None) -> str:
    """What the compiled network's convolutions are computed in, as the plug-in reports it."""
    names = {"f32": "fp32", "bf16": "bf16", "i8": "int8", "u8": "int8", "f16": "fp16"}
    kinds = Counter(
        names.get(str(op.get_rt_info()["runtimePrecision"].astype(str)).lower(), "other")
        for op in compiled.get_runtime_model().get_ops()
        if str(op.get_rt_info()["layerType"].astype(str)) in ("Convolution", "GroupConvolution", "FullyConnected")
    )
    if precision == "bf16":
        if not kinds["bf16"]:
            raise DeviceError(f"--precision bf16 was asked, and OpenVINO would compute {path.name} as {dict(kinds)}")
        return "bf16"
    if spec.precision == "fp32":
        return "fp32" if not kinds["bf16"] else "bf16"
    if spec.precision == "int8" and kinds["int8"]:
        return "int8"
    return f"{spec.precision} weights, fp32 arithmetic"


def _failed(error: Exception, session: Session, pixels: Pixels) -> Exception:
    reason = _reason(error)
    size = "x".join(str(side) for side in pixels.shape)
    if isinstance(error, MemoryError) or any(word in reason.lower() for word in ("bad_alloc", "allocat", "memory")):
        return OutOfMemory(f"openvino ran out of memory for {size} pixels; type a smaller --tile ({reason})")
    return ModelError(f"{session.path} failed on {size} pixels: {reason}")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else "..." + text[-197:]
