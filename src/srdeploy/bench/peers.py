"""What a person would take instead of srdeploy, at the same work: pixels in and out, or a file to a file."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.backends.openvino import open_bare_openvino
from srdeploy.backends.plain import Enlarge, open_bare_ort, open_ncnn, open_plain
from srdeploy.bench.subjects import Subject, common_facts, network_subject, probe_video
from srdeploy.bench.suite import BARE, Row
from srdeploy.environment import cores
from srdeploy.errors import MissingExtra, ModelError, SrdeployError
from srdeploy.extras import require
from srdeploy.media import open_reader
from srdeploy.media.dnn import open_dnn
from srdeploy.media.encoders import ENCODERS
from srdeploy.media.plain import enlarge_plainly


def open_peer(row: Row, folder: Path) -> Subject:
    """Open a peer's row. Raises SrdeployError with the reason when the peer is not installed or cannot do it."""
    if row.kind == "video":
        return _ffmpeg(row, folder) if row.backend == "ffmpeg" else _script(row, folder)
    return _network(row, folder)


def _network(row: Row, folder: Path) -> Subject:
    if row.backend.startswith(BARE):
        return _bare(row)
    path = zoo.find(row.model, pixels="float")
    spec = open_session(path, "ort", "cpu", threads=1).spec
    threads = row.threads or cores()
    name = spec.name
    opened: dict[str, Callable[[], Enlarge]] = {
        "onnxruntime": lambda: open_plain(path, threads),
        "torch export": lambda: _exported(name, threads, Path(tempfile.mkdtemp(dir=folder))),
        "pytorch": lambda: _torch(name, threads, row, compiled=False),
        "pytorch compiled": lambda: _torch(name, threads, row, compiled=True),
        "opencv": lambda: open_dnn(path, threads),
        "ncnn": lambda: open_ncnn(
            path, spec.channels, row.height, row.width, threads, Path(tempfile.mkdtemp(dir=folder))
        ),
    }
    enlarge = opened[row.backend]()  # before its version is asked for: a missing library names its extra
    facts = {
        "model": name,
        "backend": row.backend,
        "precision": row.precision,
        "device": row.device,
        "parameters": spec.parameters,
        "tile": "none",
        "version": version(_DISTRIBUTIONS[row.backend]) if row.backend in _DISTRIBUTIONS else None,
    }
    return network_subject(row, enlarge, spec.channels, spec.scale, facts, path)


def _bare(row: Row) -> Subject:
    """An engine with the file and the settings of srdeploy's own session, and nothing of srdeploy in between."""
    precision: Any = row.precision
    path, engine, threads = zoo.find(row.model, precision=precision), row.backend.removeprefix(BARE), row.threads
    spec = open_session(path, engine, "cpu", threads=1).spec
    enlarge = (open_bare_openvino if engine == "openvino" else open_bare_ort)(path, threads or cores())
    facts = {
        "model": spec.name,
        "backend": row.backend,
        "precision": row.precision,
        "device": row.device,
        "parameters": spec.parameters,
        "tile": "none",
        "version": version({"ort": "onnxruntime"}.get(engine, engine)),
    }
    return network_subject(row, enlarge, spec.channels, spec.scale, facts, path)


_DISTRIBUTIONS = {
    "torch export": "torch",
    "pytorch": "torch",
    "pytorch compiled": "torch",
    "opencv": "opencv-python-headless",
    "ncnn": "ncnn",
}


def _exported(name: str, threads: int, folder: Path) -> Enlarge:
    """The network as torch exports it, on ONNX Runtime."""
    for library in ("torch", "safetensors", "onnxscript"):
        require(library, "train")
    from srdeploy.learn.peers import export_plainly

    export_plainly(zoo.find_weights(name), folder / "plain.onnx")
    return open_plain(folder / "plain.onnx", threads)


def _torch(name: str, threads: int, row: Row, compiled: bool) -> Enlarge:
    for library in ("torch", "safetensors"):
        require(library, "train")
    from srdeploy.learn.peers import open_torch

    enlarge = open_torch(zoo.find_weights(name), threads, compiled, row.device, row.precision == "fp16")
    if not compiled:
        return enlarge

    def checked(pixels: Any) -> Any:
        try:
            return enlarge(pixels)
        except SrdeployError:
            raise
        except Exception as error:  # noqa: BLE001  (the compiler raises its own kinds, one for each thing it misses)
            raise ModelError(f"torch.compile failed: {' '.join(str(error).split())[:200]}") from None

    return checked


def _ffmpeg(row: Row, folder: Path) -> Subject:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingExtra("ffmpeg is not installed; on Debian or Ubuntu type: apt install ffmpeg")
    source = Path(row.file)
    height, width = probe_video(row)
    frames = _frames(source)
    picture_filter = _filter(program, row.model, row.scale, height, width)
    x264 = ENCODERS["libx264"]

    def run(on_first: Callable[[], None]) -> int:
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            command = [program, "-v", "error", "-nostdin", "-i", str(source), "-vf", picture_filter, "-c:v", x264.name]
            command += ["-crf", str(x264.crf), "-preset", str(x264.preset), "-pix_fmt", "yuv420p", "-c:a", "copy"]
            if row.threads:
                command += ["-threads", str(row.threads)]
            done = subprocess.run(
                [*command, str(Path(inner) / source.name)], capture_output=True, text=True, check=False
            )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ModelError(f"ffmpeg failed: {last[:200]}")
        on_first()
        return frames

    banner = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout.split()
    facts = {
        **common_facts(row, row.scale),
        "backend": "ffmpeg",
        "precision": "",
        "device": "cpu",
        "input": [height, width],
        "batch": 1,
        "tile": "none",
        "file": source.name,
        "version": banner[2] if len(banner) > 2 else None,
    }
    return Subject(row, facts, run)


def _script(row: Row, folder: Path) -> Subject:
    path = zoo.find(row.model, pixels="float")
    spec = open_session(path, "ort", "cpu", threads=1).spec
    source = Path(row.file)
    height, width = probe_video(row)
    luma, x264 = open_plain(path, row.threads or cores()), ENCODERS["libx264"]

    def run(on_first: Callable[[], None]) -> int:
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            options = {"crf": str(x264.crf), "preset": str(x264.preset)}
            frames = enlarge_plainly(source, Path(inner) / source.name, luma, options)
        on_first()
        return frames

    facts = {
        **common_facts(row, spec.scale),
        "model": spec.name,
        "backend": row.backend,
        "precision": "fp32",
        "device": "cpu",
        "input": [height, width],
        "batch": 1,
        "parameters": spec.parameters,
        "tile": "none",
        "file": source.name,
    }
    return Subject(row, facts, run, path)


def _frames(source: Path) -> int:
    reader = open_reader(source)
    try:
        return reader.frames or sum(1 for _ in reader)
    finally:
        reader.close()


def _filter(program: str, name: str, scale: int, height: int, width: int) -> str:
    """The filter chain that enlarges by `scale`, when this ffmpeg has it."""
    if name in ("bicubic", "lanczos"):
        return f"scale={width * scale}:{height * scale}:flags={name}"
    listed = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, check=False).stdout
    if not any(line.split()[1:2] == [name] for line in listed.splitlines()):
        raise ModelError(f"this ffmpeg has no filter {name}; its builds differ")
    if name == "super2xsai":
        if scale == 3:
            raise ModelError("ffmpeg's super2xsai enlarges by 2 and, done twice, by 4; not by 3")
        return ",".join(["super2xsai"] * (scale // 2))
    return f"{name}=n={scale}"
