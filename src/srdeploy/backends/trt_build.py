"""Engines built from ONNX graphs, once for each machine and each choice: by Polygraphy's loaders, which know both
TensorRT 10 and 11. Precision is what the graph says (strongly typed); no flag is left to change it.

No line here has been run on a GPU: none was at hand, and the builder cannot be had from PyPI alone.
"""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srdeploy.backends.cuda import Cuda
from srdeploy.backends.engine_file import MAGIC, EngineFile, read_engine, write_engine
from srdeploy.backends.trt import machine, precision_of, tensorrt
from srdeploy.environment import cache_folder
from srdeploy.errors import InputError, ModelError
from srdeploy.extras import require
from srdeploy.spec import ModelSpec

Size = tuple[int, int]
"""Width and height in pixels."""

Progress = Callable[[str, int, int], None]
"""Told the phase of the build, the steps done and how many there are."""


@dataclass(frozen=True)
class BuildOptions:
    """Choices of a build. least, usual, most: the sizes of pictures (or tiles) that the engine takes, and the one it is
    fastest at. workspace: bytes of the GPU's memory that the builder may try. level: how hard it looks, 0 to 5."""

    least: Size = (16, 16)
    usual: Size = (960, 540)
    most: Size = (1920, 1080)
    workspace: int = 2 << 30
    level: int = 3


def parse_sizes(text: str) -> BuildOptions:
    """Options from "WxH" (one size) or "WxH,WxH,WxH" (least, usual, most); InputError for anything else."""
    found = [(int(w), int(h)) for w, h in re.findall(r"(\d+)x(\d+)", text)]
    if not re.fullmatch(r"\d+x\d+(,\d+x\d+,\d+x\d+)?", text) or not all(min(size) > 0 for size in found):
        raise InputError(f"--sizes {text!r} is neither WxH nor WxH,WxH,WxH (least, usual, most), such as 960x540")
    least, usual, most = found * 3 if len(found) == 1 else found
    if any(not a <= b <= c for a, b, c in zip(least, usual, most, strict=True)):
        raise InputError(f"--sizes {text!r} must grow: least, usual, most, such as 16x16,960x540,1920x1080")
    return BuildOptions(least, usual, most)


def build_inputs(model: bytes, options: BuildOptions, here: dict[str, str]) -> dict[str, Any]:
    """Every input to a build by name: the graph, each option, the machine, and what builds."""
    return {
        "graph_sha256": hashlib.sha256(model).hexdigest(),
        "options": asdict(options),
        "polygraphy": version("polygraphy"),
        "format": MAGIC.decode().strip(),
        **here,
    }


def key_of(inputs: dict[str, Any]) -> str:
    """The hash of every input to a build: another input, another engine."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def build_engine(
    model: bytes,
    spec: ModelSpec,
    options: BuildOptions,
    device: int,
    progress: Progress = lambda phase, done, total: None,
    cache: Path | None = None,
) -> tuple[EngineFile, bool]:
    """The engine of a graph for this machine's GPU, and whether it was in the cache.

    model: a strongly typed ONNX graph with one input, uint8 (N, H, W, C) or float (N, C, H, W) as spec.pixels says.
    cache: a folder of engines by their keys, and of the timings that TensorRT measured; None takes cache_folder().
    Raises ModelError when TensorRT cannot parse or build it, MissingExtra and DeviceError when it is not there.
    """
    cuda = Cuda(device)
    inputs = build_inputs(model, options, machine(cuda))
    folder = cache or cache_folder()
    kept = folder / f"{key_of(inputs)}.engine"
    with contextlib.suppress(ModelError):  # not there, or damaged: built again
        found = read_engine(kept)
        if dict(found.build) == json.loads(json.dumps(inputs)):
            return EngineFile(spec, found.build, found.precision, found.plan), True
    cuda.enter()
    folder.mkdir(parents=True, exist_ok=True)
    timings = folder / f"timings-{inputs['tensorrt']}-{slug(inputs['gpu'])}.cache"
    plan = _plan(model, spec, options, progress, timings)
    engine = EngineFile(spec, inputs, precision_of(plan), plan)
    write_engine(kept, engine)
    return engine, False


def slug(gpu: str) -> str:
    """A GPU's name as part of a file's: "NVIDIA GeForce RTX 4090" is geforce-rtx-4090."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower().replace("nvidia", "")).strip("-")


def _plan(model: bytes, spec: ModelSpec, options: BuildOptions, progress: Progress, timings: Path) -> bytes:
    trt, loaders = tensorrt(), require("polygraphy.backend.trt", "tensorrt")
    failure = require("polygraphy.exception", "tensorrt").PolygraphyException
    monitor, said = _monitor(trt, progress), io.StringIO()
    profile = loaders.Profile().add(
        "input", *(shape_of(spec, size) for size in (options.least, options.usual, options.most))
    )
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            network = loaders.network_from_onnx_bytes(model, strongly_typed=True)
            config = loaders.create_config(
                network[0],
                network[1],
                profiles=[profile],
                load_timing_cache=str(timings),
                memory_pool_limits={trt.MemoryPoolType.WORKSPACE: options.workspace},
                builder_optimization_level=options.level,
                profiling_verbosity=trt.ProfilingVerbosity.DETAILED,  # or the inspector knows no types
                progress_monitor=monitor,
            )
            return bytes(loaders.engine_bytes_from_network(network, config, save_timing_cache=str(timings)))
    except failure as error:
        if monitor.stopped:
            raise KeyboardInterrupt from None
        lines = [line for line in said.getvalue().splitlines() if line.startswith("[E]")] or [str(error)]
        reason = " ".join(lines[0].removeprefix("[E]").split())[:200]
        raise ModelError(f"TensorRT {trt.__version__} does not build {spec.name} {spec.precision}: {reason}") from None


def shape_of(spec: ModelSpec, size: Size) -> tuple[int, int, int, int]:
    """The shape of one picture as the file takes it, its sides cut to the network's multiple."""
    width, height = (max(1, side // spec.multiple) * spec.multiple for side in size)
    if spec.pixels == "float":
        return (1, spec.channels, height, width)
    return (1, height, width, spec.channels)


def _monitor(trt: Any, progress: Progress) -> Any:
    """TensorRT's own progress, of the outermost phase; and the way to stop it."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.stopped = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = num_steps
                self.tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.tell(phase_name, step + 1)
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            self.tell(phase_name, self.steps.get(phase_name, 0))

        def tell(self, phase: str, done: int) -> None:
            if phase in self.steps:
                try:
                    progress(phase, done, self.steps[phase])
                except KeyboardInterrupt:  # nothing may be raised through TensorRT
                    self.stopped = True

    return Monitor()
