"""A float .onnx file run with nothing of srdeploy around it, as people write it: for comparison."""

import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from srdeploy.backends.ort_devices import onnxruntime
from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.picture import Pixels

Enlarge = Callable[[Pixels], Pixels]


def open_plain(model: Path, threads: int) -> Enlarge:
    """ONNX Runtime with its own defaults but for the threads: uint8 (N, H, W, C) to uint8, converted in NumPy."""
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def enlarge(pixels: Pixels) -> Pixels:
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return _levels(session.run(None, {name: planes})[0]).transpose(0, 2, 3, 1)

    return enlarge


def open_bare_ort(model: Path, threads: int) -> Enlarge:
    """A file of uint8 pixels in ONNX Runtime, set as OrtSession sets it: (N, H, W, C) to (N, sH, sW, C)."""
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def enlarge(pixels: Pixels) -> Pixels:
        big: Pixels = session.run(None, {name: pixels})[0]
        return big

    return enlarge


def open_ncnn(model: Path, channels: int, height: int, width: int, threads: int, folder: Path) -> Enlarge:
    """ncnn on the CPU in float32, from a file converted by pnnx for this size: uint8 (1, H, W, C) to uint8.

    folder: where the converted file is made. Raises MissingExtra without ncnn or pnnx, ModelError when either fails.
    """
    ncnn = require("ncnn", "peers")
    source = _converted(model, channels, height, width, folder)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(source)) != 0 or net.load_model(str(source.with_suffix(".bin"))) != 0:
        raise ModelError(f"ncnn does not read what pnnx made of {model.name}")

    def enlarge(pixels: Pixels) -> Pixels:
        # Named, since ncnn borrows its memory until the result is there.
        planes = np.ascontiguousarray(pixels[0].transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(planes))
        status, big = extractor.extract("out0")
        if status != 0:
            raise ModelError(f"ncnn does not run {model.name} (status {status})")
        return _levels(np.asarray(big)).transpose(1, 2, 0)[None]

    return enlarge


def _converted(model: Path, channels: int, height: int, width: int, folder: Path) -> Path:
    # The program inside the wheel: its Python module would import torch, which is not needed for this.
    found = find_spec("pnnx")
    if found is None or found.origin is None:
        require("pnnx", "peers")
        raise ModelError("pnnx is installed but incomplete; type: pip install --force-reinstall pnnx")
    program = next(iter(Path(found.origin).parent.glob("pnnx*")), Path("pnnx"))
    copy = folder / "network.onnx"
    copy.write_bytes(model.read_bytes())
    command = [str(program), str(copy), f"inputshape=[1,{channels},{height},{width}]", "fp16=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    made = folder / "network.ncnn.param"
    if done.returncode or not made.is_file():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(f"pnnx does not convert {model.name}: {last[:200]}")
    return made


def _levels(values: Pixels) -> Pixels:
    levels: Pixels = np.rint(np.clip(values * np.float32(255), 0, 255)).astype(np.uint8)
    return levels
