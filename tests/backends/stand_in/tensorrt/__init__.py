"""TensorRT without a GPU: names, enums and base classes are those of its real bindings; what needs its closed libraries
is imitated, and runs a graph on ONNX Runtime.

An imitation has no method and no parameter that the real class lacks, and whatever is asked of it that the real class
does not have fails as there. That holds spelling and order of calls, not what TensorRT does.
"""

import ctypes
import inspect
import json
import os
import re
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorrt_bindings as real
from tensorrt_bindings import *  # noqa: F403
from tensorrt_bindings import __version__

PLAN = b"plan of a stand-in\n"

_DRIVER = ctypes.CDLL("libcuda.so.1")
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _parameters(name: str, documented: str) -> list[list[str]]:
    """Names of the parameters of each overload, out of a docstring that pybind11 wrote."""
    found = []
    for text in re.findall(rf"{name}\(self: [\w.]+(.*)\) ->", documented):
        depth, bare = 0, ""
        for letter in text:
            depth += (letter in "[(<") - (letter in "])>")
            bare += letter if depth == 0 else ""
        found.append(re.findall(r", (\w+):", bare))
    return found


_TEN = {"int8_calibrator": None, "get_quantization_flag": lambda flag: False}
"""What only TensorRT 10 has, and Polygraphy asks there."""


def imitation(name: str) -> Any:
    """Hold a class against the real one of this name."""
    kind = getattr(real, name)

    def hold(made: type) -> type:
        for key, value in vars(made).items():
            if inspect.isfunction(value) and (not key.startswith("__") or key == "__init__"):
                ours = list(inspect.signature(value).parameters)[1:]
                documented = getattr(kind, key).__doc__ or ""
                if key != "__init__" or documented.startswith("__init__("):
                    assert ours in _parameters(key, documented), f"{name}.{key} takes {ours}: {documented[:200]}"

        def missing(self: Any, key: str) -> Any:
            if hasattr(kind, key) and key in _TEN:
                return _TEN[key]
            if hasattr(kind, key):
                raise NotImplementedError(f"{name}.{key} is real and not imitated")
            raise AttributeError(f"{name} has no {key}")

        def set_real(self: Any, key: str, value: Any) -> None:
            assert key.startswith("_") or hasattr(kind, key), f"{name} has no {key} to set"
            object.__setattr__(self, key, value)

        made.__getattr__, made.__setattr__ = missing, set_real  # type: ignore[attr-defined]
        return made

    return hold


class Tensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape, self.is_shape_tensor, self.dtype = name, shape, False, real.DataType.FLOAT
        for key in vars(self):
            assert hasattr(real.ITensor, key)


@imitation("INetworkDefinition")
class INetworkDefinition:
    def __init__(self) -> None:
        self._model = b""
        self.num_layers, self.num_inputs = 0, 1

    def get_flag(self, flag: Any) -> bool:
        return flag == real.NetworkDefinitionCreationFlag.STRONGLY_TYPED

    def get_input(self, index: int) -> Tensor:
        return Tensor("input", (-1, -1, -1, -1))

    def __iter__(self) -> Any:
        return iter(())


@imitation("OnnxParser")
class OnnxParser:
    def __init__(self, network: Any, logger: Any) -> None:
        assert isinstance(logger, real.ILogger)
        self._network, self.num_errors = network, 0

    def parse(self, model: bytes, path: str | None = None) -> bool:
        onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
        inner = [n for n in onnx.load_model_from_string(model).graph.node if n.op_type == "QuantizeLinear"]
        self._network._model = bytes(model)
        return not inner


@imitation("ITimingCache")
class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> Any:
        return HostMemory(self._data + b"timed")

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        return True


class HostMemory(bytes):
    def __enter__(self) -> "HostMemory":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@imitation("IOptimizationProfile")
class IOptimizationProfile:
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes = [tuple(shape) for shape in (min, opt, max)]

    def get_shape(self, input: str) -> Any:
        return self._shapes

    def __bool__(self) -> bool:
        return True


@imitation("IBuilderConfig")
class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {real.BuilderFlag.TF32}
        self.progress_monitor = self._cache = self._profile = None
        self.builder_optimization_level, self.max_aux_streams = 3, 0
        self.profiling_verbosity = real.ProfilingVerbosity.LAYER_NAMES_ONLY
        self.hardware_compatibility_level = real.HardwareCompatibilityLevel.NONE
        self.engine_capability = real.EngineCapability.STANDARD
        self.default_device_type = real.DeviceType.GPU
        self.num_optimization_profiles, self.DLA_core = 0, -1

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self._flags

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profile = profile
        return 0

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool in real.MemoryPoolType.__members__.values()

    def get_memory_pool_limit(self, pool: Any) -> int:
        return 0

    def get_tactic_sources(self) -> int:
        return 0

    def get_preview_feature(self, feature: Any) -> bool:
        return False

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


@imitation("Builder")
class Builder:
    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, real.ILogger)

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << int(real.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        assert not config.get_flag(real.BuilderFlag.TF32)
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Tactic Selection", "Building Engine", 1)
        monitor.step_complete("Tactic Selection", 0)
        monitor.phase_finish("Tactic Selection")
        go_on = monitor.step_complete("Building Engine", 0) and monitor.step_complete("Building Engine", 1)
        monitor.phase_finish("Building Engine")
        with open(os.environ["STAND_IN_BUILDS"], "a") as builds:  # noqa: PTH123
            builds.write("built\n")
        shapes = json.dumps([config._profile._shapes, str(config.profiling_verbosity)]).encode()
        return HostMemory(PLAN + shapes + b"\n" + network._model) if go_on else None


@imitation("EngineInspector")
class EngineInspector:
    def __init__(self, model: bytes, detailed: bool) -> None:
        self._model, self._detailed = onnx.load_model_from_string(model), detailed

    def get_engine_information(self, format: Any) -> str:
        assert format == real.LayerInformationFormat.JSON
        halves = {t.name for t in self._model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
        layers: list[Any] = []
        for node in self._model.graph.node:
            half = halves & set(node.input) and os.environ.get("STAND_IN_WIDENS") is None
            old, new = ("Row major linear FP16 format", "Half") if half else ("Row major linear FP32", "Float")
            tensor = (
                {"Format/Datatype": old} if __version__.startswith("10") else {"Format": "Row major", "DataType": new}
            )
            kind = {"Conv": "CaskConvolution", "Cast": "Reformat"}.get(node.op_type, "Shuffle")
            layer = {"Name": node.name, "LayerType": kind, "Inputs": [tensor], "Outputs": [tensor]}
            layers.append(layer if self._detailed else node.name)
        return json.dumps({"Layers": layers})


def _compute(context: Any) -> None:
    data = ctypes.string_at(context._at["input"], context._given.nbytes)
    given = np.frombuffer(data, context._given.dtype).reshape(context._given.shape)
    made = np.ascontiguousarray(context._session.run(None, {"input": given})[0])
    ctypes.memmove(context._at["output"], made.ctypes.data, made.nbytes)


@imitation("IExecutionContext")
class IExecutionContext:
    def __init__(self, model: bytes) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._at: dict[str, int] = {}
        self._callback = _CALLBACK(lambda _: _compute(self))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        kind = np.uint8 if self._session.get_inputs()[0].type == "tensor(uint8)" else np.float32
        self._given = np.zeros(shape, kind)
        return name == "input"

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._at[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 7
        if _DRIVER.stand_in_run(self._callback) == 0:
            _compute(self)
        return True


@imitation("ICudaEngine")
class ICudaEngine:
    def __init__(self, plan: bytes) -> None:
        line, _, self._model = plan.removeprefix(PLAN).partition(b"\n")
        self._shapes, verbosity = json.loads(line)
        self._detailed = verbosity == str(real.ProfilingVerbosity.DETAILED)
        self.num_io_tensors = 2

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext:
        return IExecutionContext(self._model)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._model, self._detailed)

    def get_tensor_name(self, index: int) -> str:
        return ("input", "output")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return real.TensorIOMode.INPUT if name == "input" else real.TensorIOMode.OUTPUT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        assert (name, profile_index) == ("input", 0)
        return self._shapes


@imitation("Runtime")
class Runtime:
    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, real.ILogger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        return ICudaEngine(serialized_engine) if serialized_engine.startswith(PLAN) else None
