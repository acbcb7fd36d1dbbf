"""An exported file becomes an engine of this machine's GPU, with its own proof; or none does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srdeploy.backends.engine_file import EngineFile, read_engine, write_engine
from srdeploy.backends.trt import TrtSession, devices
from srdeploy.backends.trt_build import BuildOptions, Progress, build_engine, slug
from srdeploy.checking import Check
from srdeploy.difference import compare
from srdeploy.errors import ModelError, ParityError
from srdeploy.graph.files import load_model, read_spec
from srdeploy.graph.pixels import cast_at_the_end
from srdeploy.parity import open_reference, over_floats, pictures_for, reference_of
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec

TOLERANCE = {"fp32": {"psnr_db": 75.0}, "fp16": {"psnr_db": 55.0}, "int8": {"psnr_db": 40.0}}
"""Of an engine against the file that it was built from the reference of; fp32 kernels of a GPU sum in other orders."""


@dataclass(frozen=True)
class BuiltEngine:
    """One engine that was made. precision: what it computes in, as it says itself. cached: it was there already."""

    path: Path
    precision: str
    bytes: int
    cached: bool
    check: Check

    def to_dict(self) -> dict[str, object]:
        """As ExportedFile gives it."""
        return {
            "path": str(self.path),
            "precision": self.precision,
            "bytes": self.bytes,
            "parity": self.check.to_dict(),
        }


def require_gpu() -> None:
    """Raise MissingExtra or DeviceError, before anything is made, when no engine can be built here."""
    devices()


def build_from_file(
    path: Path,
    reference: Path,
    out: Path,
    options: BuildOptions,
    progress: Callable[[str], Progress] = lambda name: lambda phase, done, total: None,
    data: Path | None = None,
) -> BuiltEngine:
    """Build <name>.<precision>.<gpu>.engine in `out` from an exported file; compare it with `reference` on pictures.

    Raises ModelError when TensorRT cannot build it, ParityError when the engine computes in another precision than its
    graph says or differs by more than its tolerance; then there is no file.
    """
    model = load_model(path)
    spec = read_spec(model, str(path))
    if spec.precision == "int8" and any(t.data_type == _UINT8 and not t.dims for t in model.graph.initializer):
        raise ModelError(f"{path} quantises to uint8, which TensorRT does not take; it takes {spec.name}.int8-trt.onnx")
    data_in = cast_at_the_end(model).SerializeToString(deterministic=True)
    engine, cached = build_engine(data_in, spec, options, 0, progress(path.name))
    if engine.precision.split(",")[0] not in (spec.precision, "unknown"):
        raise ParityError(
            f"TensorRT was given {path.name}, {spec.precision}, and built an engine that computes in "
            f"{engine.precision}; no file was made"
        )
    inner = ".float" if spec.pixels == "float" else ""
    target = out / f"{spec.name}.{spec.precision}{inner}.{slug(str(engine.build['gpu']))}.engine"
    part = target.with_name(f".{target.name}.unproved")
    try:
        write_engine(part, engine)
        check = _compared(part, spec, reference, options, data)
    finally:
        part.unlink(missing_ok=True)
    check = replace(check, candidate=str(target))
    if not check.parity.passed:
        raise ParityError(f"{check.why()}; no file was made")
    proved = EngineFile(spec.with_parity(check.parity), engine.build, engine.precision, engine.plan)
    return BuiltEngine(target, engine.precision, write_engine(target, proved), cached, check)


def check_engine(path: Path, against: Path | None = None, data: Path | None = None) -> Check:
    """Compare an engine with its reference on pictures, on this machine's GPU.

    against: an .onnx or a checkpoint; None takes the one that the engine was proved against, from beside it or among
    the shipped models. data: a folder of pictures, None for those that ship. Raises ModelError, DeviceError,
    MissingExtra.
    """
    engine = read_engine(path)
    spec = engine.spec
    if spec.precision not in TOLERANCE:
        raise ModelError(f"{path} is {spec.precision}; this version of srdeploy checks {', '.join(TOLERANCE)}")
    proved = spec if spec.parity is None else replace(spec, reference=spec.parity.reference)
    try:
        sides = engine.build["options"]
        options = BuildOptions(*(tuple(map(int, sides[which])) for which in ("least", "usual", "most")))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{path} does not say which sizes it takes; build it again") from None
    check = _compared(path, spec, against or reference_of(proved, path), options, data)
    return replace(check, candidate=str(path))


_UINT8 = 2  # onnx.TensorProto.UINT8


def _compared(path: Path, spec: ModelSpec, reference: Path, options: BuildOptions, data: Path | None) -> Check:
    session = TrtSession(path)
    pictures = {name: _fitted(pixels, spec, options) for name, pixels in pictures_for(spec, data).items()}
    run = over_floats(session.run) if spec.pixels == "float" else session.run
    tolerance = TOLERANCE[spec.precision]
    arithmetic = f"tensorrt, {session.arithmetic}"
    comparison = compare(open_reference(reference, spec), run, pictures, tolerance, reference.name, arithmetic)
    return Check(str(path), reference.name, comparison)


def _fitted(pixels: Pixels, spec: ModelSpec, options: BuildOptions) -> Pixels:
    """A picture cut, or mirrored outwards, to a size that the engine takes."""
    sides = []
    for axis, which in ((0, 1), (1, 0)):
        least, most = (side // spec.multiple * spec.multiple for side in (options.least[which], options.most[which]))
        sides.append(min(max(pixels.shape[axis], least), most))
    pads = [(0, max(0, side - have)) for side, have in zip(sides, pixels.shape, strict=False)]
    return np.pad(pixels, [*pads, (0, 0)], mode="symmetric")[: sides[0], : sides[1]]
