"""ONNX Runtime on an NVIDIA GPU: its providers' options, and runs that overlap with copies.

The CUDA provider was run (docs/gpu.md), the TensorRT provider never. Names of options are those in the libraries of
onnxruntime-gpu 1.31; the order of the calls is tested on a stand-in.
"""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from srdeploy.backends.cuda import Cuda
from srdeploy.backends.slots import CAPTURE_AT, Slot, Slots
from srdeploy.backends.trt_build import BuildOptions, shape_of
from srdeploy.environment import cache_folder
from srdeploy.spec import ModelSpec

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"

MOST_GRAPHS = 16
"""Captured at most by one session: ONNX Runtime never gives one back."""

PICTURES = 8
"""That an engine of ONNX Runtime's TensorRT provider takes at once."""


def cuda_settings(index: int, graphs: bool) -> dict[str, str]:
    """Options of the CUDA provider. graphs: runs may become CUDA graphs, of networks without a part on the CPU."""
    return {
        "device_id": str(index),
        # TF32 keeps 10 bits of each factor: an fp32 file is fp32 on a GPU too.
        "use_tf32": "0",
        # Kernels are chosen by rule: trying all of them again at each new size costs seconds.
        "cudnn_conv_algo_search": "HEURISTIC",
        "enable_cuda_graph": "1" if graphs else "0",
    }


def tensorrt_settings(index: int, spec: ModelSpec, options: BuildOptions) -> dict[str, str]:
    """Options of the TensorRT provider: engines and timings in our cache, one profile for all sizes of `options`.

    Its networks are weakly typed, so the file's precision has to be allowed, and no other is.
    """
    folder = str(cache_folder() / "ort")
    sizes = {"min": options.least, "opt": options.usual, "max": options.most}
    shapes = {name: list(shape_of(spec, size)) for name, size in sizes.items()}
    shapes["max"][0] = PICTURES
    return {
        "device_id": str(index),
        "trt_fp16_enable": "1" if spec.precision == "fp16" else "0",
        "trt_int8_enable": "1" if spec.precision == "int8" else "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        **{f"trt_profile_{name}_shapes": f"input:{'x'.join(map(str, shape))}" for name, shape in shapes.items()},
    }


class GpuRunner:
    """Runs an InferenceSession on a GPU; several threads may call it, and their copies pass while it computes.

    names: of its input and output. run_options: makes ONNX Runtime's RunOptions of entries; None when the session makes
    no CUDA graphs.
    """

    def __init__(self, session: Any, names: tuple[str, str], index: int, run_options: Any = None) -> None:
        self._session = session
        self._names = names
        self._index = index
        self._run_options = run_options
        self._ids = itertools.count(1)
        # ONNX Runtime knows a graph only in the thread that captured it, and its graphs share memory for what is
        # between layers: one thread computes, the others copy.
        self._thread = ThreadPoolExecutor(1, "network")
        self._slots = Slots(lambda: Cuda(index), self._prepare, self._work)
        self.run, self.free_bytes = self._slots.run, self._slots.free_bytes

    def _prepare(self, slot: Slot) -> None:
        slot.owned = binding = self._session.io_binding()
        (given, made), (source, target) = slot.shapes, slot.room
        binding.bind_input(self._names[0], "cuda", self._index, slot.dtype, given, source)
        binding.bind_output(self._names[1], "cuda", self._index, slot.dtype, made, target)

    def _work(self, slot: Slot) -> None:
        slot.cuda.upload(slot.room[0], slot.host[0])
        slot.cuda.wait()
        if self._run_options is None:
            self._session.run_with_iobinding(slot.owned)  # returns when its own stream is done
        else:
            self._replayed(slot)
        slot.cuda.download(slot.host[1], slot.room[1])
        slot.cuda.wait()

    def _replayed(self, slot: Slot) -> None:
        """As a CUDA graph, once the slot has come back often enough."""
        if slot.runs == CAPTURE_AT:
            number = next(self._ids)
            slot.graph = number if number <= MOST_GRAPHS else None
            if slot.graph is not None:
                # ONNX Runtime captures in CUDA's global mode: a call that allocates or waits, in any thread, spoils it.
                with Slots.alone():
                    try:
                        return self._compute(slot)
                    except Exception:  # noqa: BLE001  (its statuses have no common base; what is wrong comes again below)
                        slot.graph = None  # what cannot be captured runs as it did
        return self._compute(slot)

    def _compute(self, slot: Slot) -> None:
        options = self._run_options({"gpu_graph_id": "-1" if slot.graph is None else str(slot.graph)})
        self._thread.submit(self._session.run_with_iobinding, slot.owned, options).result()


def run_options(ort: Any) -> Any:
    """A function that makes RunOptions with configuration entries."""

    def make(entries: Mapping[str, str]) -> Any:
        options = ort.RunOptions()
        for key, value in entries.items():
            options.add_run_config_entry(key, value)
        return options

    return make
