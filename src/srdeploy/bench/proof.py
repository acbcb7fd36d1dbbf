"""The parity table: every file that ships, on every engine of a device, against PyTorch and on published sets."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from srdeploy import zoo
from srdeploy.backends import Session, available, open_session
from srdeploy.backends.trt_build import BuildOptions
from srdeploy.bench.built import engine_for
from srdeploy.bench.suite import Parity
from srdeploy.difference import Enlarge, compare, levels
from srdeploy.errors import DeviceError, SrdeployError
from srdeploy.evaluate import evaluate
from srdeploy.graph.files import load_model
from srdeploy.graph.work import work_of
from srdeploy.parity import TOLERANCE, file_hash, open_candidate, open_reference, pictures_for
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec, Precision
from srdeploy.upscale import Upscaler

LOSS_DB: Mapping[Precision, float] = {"fp32": 0.005, "fp16": 0.01, "bf16": 0.05, "int8": 0.1}
"""The most PSNR that a precision may lose against PyTorch on any of the sets, in dB."""


_BF16 = {"psnr_db": 40.0}
"""int8's tolerance: bf16 keeps 8 bits of each number too. What it costs is bounded by LOSS_DB."""

_METRICS = ("psnr_y", "ssim_y")
_SIDE = 64


@dataclass(frozen=True)
class _Candidate:
    """A file on an engine. precision: what is computed. open: gives the function, and the arithmetic that it has."""

    path: Path
    backend: str
    precision: Precision
    open: Callable[[], tuple[Enlarge, str]]


def prove(
    parity: Parity, folder: Path, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the table, and those that could not be had with their reason. Needs torch.

    A row passes when it is within the tolerance of its precision on the shipped pictures (parity.TOLERANCE) and loses
    at most LOSS_DB on each set. Raises SrdeployError when a reference or a folder of pictures cannot be had.
    """
    if parity.device != "cpu":
        _require_gpu(parity.device)  # now, and not after PyTorch has enlarged all pictures
    sets = _sets(parity, folder)
    found, missing = [], []
    for name in parity.models or zoo.names():
        spec = open_session(zoo.find(name), "ort", "cpu").spec
        reference = open_reference(zoo.find_weights(name), spec)
        say(f"{name}: PyTorch on {', '.join(sets)}")
        best = _scores(reference, spec, zoo.find_weights(name), sets)
        found.append(_reference_row(spec, best))
        reference = _remembering(reference)
        for candidate in _candidates(name) if parity.device == "cpu" else _on_gpu(name, parity.device):
            say(f"{candidate.path.name} on {candidate.backend}")
            try:
                enlarge, arithmetic = candidate.open()
            except SrdeployError as error:
                asked = {"model": name, "precision": candidate.precision, "backend": candidate.backend}
                missing.append({**asked, "reason": str(error)})
                continue
            scores = _scores(enlarge, spec, candidate.path, sets)
            found.append(_row(spec, candidate, arithmetic, reference, enlarge, best, scores))
    return found, missing


def _remembering(reference: Enlarge) -> Enlarge:
    """PyTorch on the shipped pictures once for all candidates of a network, not once for each."""
    results: dict[bytes, Pixels] = {}

    def enlarge(pixels: Pixels) -> Pixels:
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if key not in results:
            results[key] = reference(pixels)
        return results[key]

    return enlarge


def _sets(parity: Parity, folder: Path) -> dict[str, Path]:
    paths = [folder / path for path in parity.sets]
    if not all(path.is_dir() for path in paths):
        paths = [folder / parity.instead]
    return {path.name: path for path in paths}


def _candidates(name: str) -> Iterator[_Candidate]:
    for precision in get_args(Precision):
        path = zoo.MODELS / f"{name}.{precision}.onnx"
        if not path.is_file():
            continue
        for backend in ("ort", "openvino"):
            yield _Candidate(path, backend, precision, partial(_on_engine, path, backend))
        if precision == "fp32":
            yield _Candidate(path, "openvino", "bf16", partial(_on_engine, path, "openvino", "bf16"))
        if precision == "fp16":
            yield _Candidate(path, "node by node", "fp16", partial(_node_by_node, path))


def _require_gpu(device: str) -> None:
    rows = {row["name"]: row for row in available()}
    if not any(rows[name]["available"] for name in ("ort cuda", "ort tensorrt", "tensorrt")):
        raise DeviceError(f"device {device} was asked, and no engine has one: {rows['ort cuda']['why_not']}")


def _on_gpu(name: str, device: str) -> Iterator[_Candidate]:
    for precision in get_args(Precision):
        path = zoo.MODELS / f"{name}.{precision}.onnx"
        for backend in ("ort", "ort-tensorrt", "tensorrt") if path.is_file() else ():
            yield _Candidate(path, backend, precision, partial(_on_engine, path, backend, device=device))


def _on_engine(
    path: Path, backend: str, precision: Precision | None = None, device: str = "cpu"
) -> tuple[Enlarge, str]:
    if backend == "tensorrt":
        with tempfile.TemporaryDirectory() as folder:  # a session has read its file when it is open
            engine = engine_for(path, Path(folder), device, BuildOptions())
            session = open_session(engine, backend, device)
    else:
        session = open_session(path, backend, device, precision=precision)
    return session.run, session.arithmetic


def _node_by_node(path: Path) -> tuple[Enlarge, str]:
    _, enlarge, arithmetic = open_candidate(path)
    return enlarge, arithmetic


class _Function(Session):
    """Anything that enlarges pictures, as a session, so that it is scored as `srdeploy eval` scores models."""

    def __init__(self, enlarge: Enlarge, spec: ModelSpec, path: Path) -> None:
        super().__init__(spec, path, "function", "cpu", "fp32")
        self._enlarge = enlarge

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        out[...] = levels(self._enlarge(pixels)).astype(np.uint8)


def _scores(enlarge: Enlarge, spec: ModelSpec, path: Path, sets: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    upscaler = Upscaler(_Function(enlarge, spec, path), "none")
    return {key: evaluate(upscaler, data, spec.scale, path.name, _METRICS).mean for key, data in sets.items()}


def _reference_row(spec: ModelSpec, scores: Mapping[str, Any]) -> dict[str, Any]:
    work = work_of(load_model(zoo.find(spec.name, pixels="float")), _SIDE, _SIDE)
    return {
        "model": spec.name,
        "file": zoo.find_weights(spec.name).name,
        "sha256": spec.weights_sha256,
        "precision": "fp32",
        "backend": "pytorch",
        "parameters": spec.parameters,
        "multiply_adds_per_pixel": work.multiply_adds / _SIDE**2,
        "sets": scores,
        "psnr_db": None,
        "max_abs": 0.0,
        "off": 0.0,
        "loss_db": 0.0,
        "passed": True,
    }


def _row(
    spec: ModelSpec,
    candidate: _Candidate,
    arithmetic: str,
    reference: Enlarge,
    enlarge: Enlarge,
    best: Mapping[str, Mapping[str, float]],
    scores: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    tolerance = TOLERANCE.get((candidate.precision, "uint8"), _BF16)
    parity = compare(reference, enlarge, pictures_for(spec, None), tolerance, "PyTorch", arithmetic).parity
    loss = max(best[key]["psnr_y"] - scores[key]["psnr_y"] for key in best)
    limit = LOSS_DB[candidate.precision]
    return {
        "model": spec.name,
        "file": candidate.path.name,
        "sha256": file_hash(candidate.path),
        "precision": arithmetic,
        "backend": candidate.backend,
        "sets": scores,
        "psnr_db": parity.psnr_db,
        "max_abs": parity.max_abs,
        "off": 1 - parity.levels_off["0"],
        "loss_db": loss,
        "loss_limit_db": limit,
        "tolerance": asdict(parity)["tolerance"],
        "passed": parity.passed and loss <= limit,
    }
