"""From what a person asked for to an upscaler: which file, which engine, which precision."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srdeploy import zoo
from srdeploy.backends import Session, is_usable, open_session
from srdeploy.backends.cpu import is_fast_bf16, is_fast_int8
from srdeploy.backends.onnxfile import read_spec
from srdeploy.errors import DeviceError, ModelError
from srdeploy.given import check_is, path_of, whole_or_none
from srdeploy.media import open_reader
from srdeploy.picture import Frame
from srdeploy.spec import ModelSpec, Precision
from srdeploy.upscale.tiles import TileChoice
from srdeploy.upscale.upscaler import Upscaler

LOSS_DB = 0.05
"""What `--precision auto` may lose of PSNR, as measured and stamped into the file when it was exported."""

_FASTEST: tuple[tuple[str, Precision], ...] = (
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("ort", "int8"),
)
"""Engines and precisions on a CPU that are faster than fp32, fastest first: by rule and not by a stopwatch, so that the
same command gives the same bytes on the same machine, whatever else runs there."""


@dataclass(frozen=True)
class _Choice:
    """A file, the engine for it, what it is to compute when that is not the file's own, and why, for the person."""

    path: Path
    backend: str
    precision: Precision | None = None
    why: str = ""


def open_upscaler(
    model: str | Path | None = None,
    *,
    scale: int | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    tile: TileChoice = "auto",
    overlap: int | None = None,
    threads: int | None = None,
) -> Upscaler:
    """Open a model by shipped name or path, ready to enlarge pictures.

    model: a shipped name ("espcn-x4", or "espcn" with scale), the path of an exported .onnx file, or None for the
    default. precision: "auto" takes a file given by its path for what it is, and of a shipped model the fastest that
    loses at most LOSS_DB; "bf16" computes the fp32 file in bf16. Raises ModelError, DeviceError, MissingExtra, and
    TypeError for what is of another type than said here.
    """
    for name, value in (("backend", backend), ("device", device), ("precision", precision)):
        check_is(name, value, str, "a str")
    model = None if model is None else str(path_of("model", model)) if not isinstance(model, str) else model
    scale, threads = whole_or_none("scale", scale), whole_or_none("threads", threads)
    if precision == "auto":
        choice = _fastest(model, scale, backend, device)
    elif precision == "bf16":
        choice = _Choice(zoo.find(model, scale, "fp32"), backend, "bf16")
    else:
        choice = _Choice(zoo.find(model, scale, precision), backend)
    path, engine = choice.path, choice.backend
    session = open_session(path, engine, device, threads, choice.precision)
    if precision != "auto" and session.arithmetic != precision:
        raise DeviceError(
            f"--precision {precision} was asked, but {path.name} on {session.backend} {session.device} would "
            f"compute as {session.arithmetic}; type --precision auto, or give the model as {path}"
        )
    if scale is not None and scale != session.spec.scale:
        raise ModelError(f"--scale {scale} was asked, but {path.name} enlarges by {session.spec.scale}")

    def deep() -> Session:
        if precision == "auto" and session.spec.precision == "int8" and path.parent == zoo.MODELS:
            return open_session(zoo.find(session.spec.name, pixels="float"), backend, device, threads)
        if session.spec.precision == "int8":
            raise ModelError(
                f"the picture has more than 8 bits, and {path.name} takes pixels of 8 bits alone as every int8 file "
                "does; type --precision fp32, or -m and the path of an fp32 .float.onnx"
            )
        return open_session(zoo.find(str(path), pixels="float"), engine, device, threads, choice.precision)

    def fp32() -> Session | None:
        exact = path if session.spec.precision == "fp32" else _fp32_beside(path, session.spec)
        return None if exact is None else open_session(exact, "auto", session.device, threads)

    return Upscaler(session, tile, overlap, deep, fp32, choice.why)


def stream(
    source: Path | str, model: str | Path | None = None, *, deinterlace: bool = False, **options: Any
) -> Iterator[Frame]:
    """The frames of a video or picture, enlarged, each with its time: `for frame in srdeploy.stream("clip.mp4"): ...`.

    model, options: as in `open`. deinterlace: interlaced frames become progressive ones, which otherwise are refused.
    The source and the model are opened at once, frames are made as they are asked for.
    Raises as `open` does, InputError for a source that cannot be read, and for a damaged one after its good frames.
    """
    check_is("deinterlace", deinterlace, bool, "True or False")
    source = path_of("source", source)
    upscaler = open_upscaler(model, **options)
    reader = open_reader(source, deinterlace=deinterlace)
    if reader.frames != 1:
        upscaler.expect(reader.height, reader.width)

    def frames() -> Iterator[Frame]:
        try:
            yield from upscaler.stream(reader)
        finally:
            reader.close()

    return frames()


def _fastest(model: str | None, scale: int | None, backend: str, device: str) -> _Choice:
    """What "auto" takes: the first of _FASTEST that was asked for, ships, can be used here and loses little enough."""
    plain = zoo.find(model, scale, "fp32")
    on_cpu = device == "cpu" or (device == "auto" and (backend == "openvino" or not is_usable("ort", "ort cuda")))
    if (model is not None and zoo.is_path(model)) or not on_cpu or backend not in ("auto", "ort", "openvino"):
        return _Choice(plain, backend)
    for engine, precision in _FASTEST:
        if backend not in ("auto", engine) or not _is_fast(precision):
            continue
        path = plain if precision == "bf16" else plain.with_name(plain.name.replace(".fp32.", f".{precision}."))
        loss = _loss(path, engine, precision) if path.is_file() else None
        if precision == "int8" and loss is not None and path.stat().st_size > 0.9 * plain.stat().st_size:
            continue  # so many channels in parts that the integers are no faster (fast-x2; benchmarks/reports/cpu)
        if loss is None or loss > LOSS_DB or not is_usable(engine):
            continue
        why = (
            f"--precision auto took {precision} on {engine}: {loss:.3f} dB of PSNR lost, as measured at export; "
            "for none type --precision fp32"
        )
        return _Choice(path, engine, "bf16" if precision == "bf16" else None, why)
    return _Choice(plain, backend)


def _is_fast(precision: Precision) -> bool:
    return is_fast_int8() if precision == "int8" else is_fast_bf16()


def _loss(path: Path, engine: str, precision: Precision) -> float | None:
    """The stamped loss; for int8, which is made of integers, ONNX Runtime's where the engine has none of its own."""
    stamped = read_spec(path).quality_loss_db
    return stamped.get(f"{engine}/{precision}", stamped.get("ort/int8") if precision == "int8" else None)


def _fp32_beside(path: Path, spec: ModelSpec) -> Path | None:
    """The fp32 file of the same weights: beside this one, or among the shipped."""
    inner = "float." if spec.pixels == "float" else ""
    for folder in (path.parent, zoo.MODELS):
        found = folder / f"{spec.name}.fp32.{inner}onnx"
        if found.is_file() and read_spec(found).weights_sha256 == spec.weights_sha256:
            return found
    return None
