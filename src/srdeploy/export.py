"""A network becomes files that carry their facts and their proof: the order of the steps, and nothing else."""

import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srdeploy import zoo
from srdeploy.adopt import Adopted, adopt_net, adopt_onnx
from srdeploy.calibration import calibration_pairs
from srdeploy.checking import Check, check_file
from srdeploy.errors import InputError, MissingExtra, ModelError, OutputError, ParityError
from srdeploy.graph.facts import Facts, facts_of
from srdeploy.graph.files import Model, is_stamped, load_model, parse_model, read_spec, stamp_and_save
from srdeploy.graph.narrow import rows_apart
from srdeploy.graph.pixels import rename_border, wrap_pixels
from srdeploy.loss import engine_losses
from srdeploy.mixed import mixed_from_onnx
from srdeploy.parity import TOLERANCE, file_hash, pictures_for
from srdeploy.picture import Pixels
from srdeploy.recipe import load_recipe
from srdeploy.release import ReleaseRecipe
from srdeploy.small import Small, small_of
from srdeploy.spec import ModelSpec, Parity, PixelKind, Precision


@dataclass(frozen=True)
class ExportedFile:
    """One file that was made, its size, and how it compared with its reference."""

    path: Path
    precision: Precision
    bytes: int
    parity: Parity
    check: Check
    spec: ModelSpec

    def to_dict(self) -> dict[str, Any]:
        """The contract's JSON: {"path", "precision", "bytes", "parity": as `check` gives it}."""
        return {
            "path": str(self.path),
            "precision": self.precision,
            "bytes": self.bytes,
            "parity": self.check.to_dict(),
        }


@dataclass(frozen=True)
class Export:
    """What was made; notes say what the person should know, such as a missing torch."""

    files: list[ExportedFile]
    notes: list[str]


@dataclass(frozen=True)
class _Source:
    """A float fp32 graph, the facts it gives to every file, and the file that fp32 is proved against."""

    graph: Model
    facts: ModelSpec
    reference: Path
    notes: list[str]


def export(
    source: str | None = None,
    precisions: Collection[str] = ("fp32",),
    float_files: bool = False,
    out: Path = Path(),
    data: Path | None = None,
    calibrate: Path | None = None,
    size: tuple[int, int] | None = None,
) -> Export:
    """Export a network to `out`: <name>.<precision>.onnx, and with float_files <name>.<precision>.float.onnx.

    source: a shipped model's name (None = the default), a checkpoint of srdeploy (.safetensors) or of an architecture
    that spandrel knows (.pth, .pt, .ckpt, .safetensors), anybody's .onnx, or a release recipe (.toml), whose precisions
    and float files are then made. fp32 is always made: it is what fp16 and int8 are proved against. data: a folder of
    pictures to prove on. calibrate: a folder of full-resolution pictures that int8, which has no float file, is fitted
    to; of a release recipe the folder in which that of its `calibration` stands. None: weights that ship in int8 give
    what ships, proved anew, others are fitted to the pictures that ship. int8 gives <name>.int8.onnx and, for TensorRT,
    <name>.int8-trt.onnx. size: (height, width) of the only pictures that the files
    shall take, for somebody else's checkpoint.
    The files appear together, each after it was opened and compared; when one fails, none does.

    Raises ModelError for a source that cannot be exported, InputError for a folder without pictures, ParityError above
    tolerance, OutputError when `out` cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"-o {out} is a file; type -o and a folder for the files")
    if source is not None and Path(source).suffix.lower() == ".toml":
        recipe = load_recipe(Path(source), ReleaseRecipe)
        calibrate = recipe.calibration_in(calibrate, source)
        source, precisions, float_files = recipe.weights_beside(source), recipe.precisions, recipe.float_files
    integers = _wants_int8(precisions, calibrate)
    opened = _open_source(source, size)
    pictures = pictures_for(opened.facts, data)
    small = _small(opened, calibrate, pictures) if integers else {}
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".srdeploy-export-", dir=out) as folder:
            files = _make_all(opened, "fp16" in precisions, float_files, Path(folder), pictures)
            files += _make_int8(opened, small, Path(folder), pictures, calibrate)
            files[0] = _with_losses(files[0], data or calibrate)
            files = [_moved(file, out) for file in files]
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}") from None
    finally:
        for empty in made:
            with suppress(OSError):  # not empty, or not made
                empty.rmdir()
    return Export(files, opened.notes)


def is_exported(path: Path) -> bool:
    """Whether a path is an .onnx file that srdeploy stamped; ModelError when it is a damaged one."""
    if path.suffix.lower() != ".onnx" or not path.is_file():
        return False
    return is_stamped(load_model(path))


def _wants_int8(precisions: Collection[str], calibrate: Path | None) -> bool:
    unknown = set(precisions) - {"fp32", "fp16", "int8"}
    if unknown:
        raise ModelError(
            f"precision {', '.join(sorted(unknown))} is not exported by this version; type --fp16, --int8 or nothing"
        )
    if "int8" not in precisions and calibrate is not None:
        raise ModelError(f"asked to calibrate on {calibrate}, which is for int8 alone; type --int8 too")
    return "int8" in precisions


def _open_source(source: str | None, size: tuple[int, int] | None) -> _Source:
    path = Path(source or "")
    suffix = path.suffix.lower()
    if source is None or not suffix or source in zoo.names():
        opened = _shipped(zoo.resolve(source, None))
    elif not path.is_file():
        raise ModelError(f"there is no file {path}; type a shipped name ({', '.join(zoo.names())}) or a path")
    elif suffix in zoo.WEIGHT_SUFFIXES:
        opened = _checkpoint(path, size)
    elif suffix == ".onnx":
        opened = _adopted(adopt_onnx(path), path)
    else:
        raise ModelError(
            f"{path} is neither a checkpoint ({', '.join(zoo.WEIGHT_SUFFIXES)}), .onnx nor .toml; type a shipped name "
            "or the path of one of these"
        )
    if size is not None and opened.facts.size != size:
        raise ModelError(f"--size is for checkpoints of others; {path.name or opened.facts.name} takes any size")
    return opened


def _shipped(name: str) -> _Source:
    weights = zoo.find_weights(name)
    try:
        return _checkpoint(weights, None)
    except MissingExtra:
        proved = zoo.find(name, None, "fp32", "float")
        note = (
            f"torch is not installed: made from {proved.name}, which was proved against {weights.name} when it shipped"
        )
        graph = load_model(proved)
        facts = replace(read_spec(graph, str(proved)), reference=None, parity=None)
        return _Source(rename_border(graph), facts, proved, [note])


def _checkpoint(path: Path, size: tuple[int, int] | None) -> _Source:
    from srdeploy.learn import require_weights

    require_weights()
    from srdeploy.learn.convert import onnx_from_net  # torch: only where a checkpoint is the source
    from srdeploy.learn.foreign import ForeignNet, open_net
    from srdeploy.learn.weights import read_metadata

    net = open_net(path)
    if isinstance(net, ForeignNet):
        return _adopted(adopt_net(net, path, size), path)
    graph = parse_model(onnx_from_net(net), str(path))
    facts = replace(
        _facts(graph, read_metadata(path)["name"], file_hash(path)), parameters=net.deployed().parameters_count()
    )
    return _Source(graph, facts, path, [])


def _adopted(found: Adopted, path: Path) -> _Source:
    facts = replace(
        _spec_of(found.facts, path.stem, file_hash(path)),
        multiple=found.multiple,
        minimum=found.minimum,
        size=found.size,
        reference_pixels=found.form,
    )
    return _Source(found.graph, facts, path, found.notes)


def _facts(graph: Model, name: str, weights: str) -> ModelSpec:
    return _spec_of(facts_of(graph, name), name, weights)


def _spec_of(found: Facts, name: str, weights: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        scale=found.scale,
        channels=found.channels,
        halo=found.halo,
        multiple=found.multiple,
        precision="fp32",
        pixels="float",
        parameters=found.parameters,
        activation_bytes=found.activation_bytes,
        weights_sha256=weights,
    )


def _make_all(
    source: _Source, half: bool, float_files: bool, folder: Path, pictures: dict[str, Pixels]
) -> list[ExportedFile]:
    kinds: tuple[PixelKind, ...] = ("uint8", "float") if float_files else ("uint8",)
    files = []
    for pixels in kinds:
        graph = wrap_pixels(rows_apart(source.graph)) if pixels == "uint8" else source.graph
        files.append(_make(graph, _spec(source, "fp32", pixels), source.reference, folder, pictures))
    if half:
        least_db = TOLERANCE["fp16", "float"]["psnr_db"]
        mixed = mixed_from_onnx(source.graph, source.facts.name, pictures, least_db)
        source.notes.extend(mixed.notes())
        for pixels in kinds:
            # Cast by cast: TensorRT takes no uint8 quantisation, and this is the file that it is given.
            graph = wrap_pixels(mixed.model, quantize=False) if pixels == "uint8" else mixed.model
            spec = replace(_spec(source, "fp16", pixels), float_layers=tuple(mixed.kept))
            reference = folder / _file_name(source.facts.name, "fp32", pixels)
            files.append(_make(graph, spec, reference, folder, pictures))
    return files


def _with_losses(file: ExportedFile, data: Path | None) -> ExportedFile:
    """The fp32 file with what engines' own precisions lose, if there are pictures of the person's to measure it on.

    Not on those that ship: they are drawn, and bf16 loses a tenth on them of what it loses on photographs.
    """
    if data is None:
        return file
    facts = file.spec
    try:
        pairs = calibration_pairs(data, facts.channels, facts.scale, facts.multiple, facts.size)
    except InputError:  # pictures that are enough for the proof, and too small to be made smaller
        return file
    spec = replace(facts, quality_loss_db=engine_losses(file.path, pairs))
    return replace(file, spec=spec, bytes=stamp_and_save(load_model(file.path), spec, file.path))


def _small(source: _Source, calibrate: Path | None, proof: dict[str, Pixels]) -> dict[str, Small]:
    """By kind of file."""
    found, notes = small_of(source.graph, source.facts, calibrate, list(proof.values()))
    source.notes.extend(notes)
    return found


def _make_int8(
    source: _Source, small: dict[str, Small], folder: Path, pictures: dict[str, Pixels], calibrate: Path | None
) -> list[ExportedFile]:
    reference = folder / _file_name(source.facts.name, "fp32", "uint8")
    files = []
    for kind, found in small.items():
        loss = {"ort/int8": round(found.loss_db, 4)}
        spec = replace(_spec(source, "int8", "uint8"), quality_loss_db=loss, float_layers=found.kept)
        try:
            files.append(_make(found.model, spec, reference, folder, pictures, found.how, kind))
        except ParityError as error:
            if calibrate is not None:
                raise
            raise ParityError(f"{error}; it was fitted to the pictures that ship: type --calibrate DIR") from None
    return files


def _spec(source: _Source, precision: Precision, pixels: PixelKind) -> ModelSpec:
    return replace(source.facts, precision=precision, pixels=pixels)


def _make(
    graph: Model,
    spec: ModelSpec,
    reference: Path,
    folder: Path,
    pictures: dict[str, Pixels],
    arithmetic: str = "",
    kind: str = "",
) -> ExportedFile:
    """Save, open what was saved, compare; then stamp how that went. arithmetic: in other words than the session's.
    kind: in the file's name, instead of the precision."""
    path = folder / _file_name(spec.name, kind or spec.precision, spec.pixels)
    spec = replace(spec, reference=reference.name)
    stamp_and_save(graph, spec, path)
    try:
        check = check_file(path, reference, pictures=pictures, bisect=True)
    except ModelError as error:  # named as it would be called, not by where it was tried
        raise ModelError(str(error).replace(f"{folder}{os.sep}", "")) from None
    check = replace(check, candidate=path.name, reference=reference.name)
    if not check.parity.passed:
        raise ParityError(f"{check.why()}; no file was made")
    if arithmetic:
        parity = replace(check.parity, arithmetic=arithmetic)
        check = replace(check, comparison=replace(check.comparison, parity=parity))
    spec = spec.with_parity(check.parity)
    return ExportedFile(path, spec.precision, stamp_and_save(graph, spec, path), check.parity, check, spec)


def _moved(file: ExportedFile, out: Path) -> ExportedFile:
    path = file.path.replace(out / file.path.name)
    return replace(file, path=path, check=replace(file.check, candidate=str(path)))


def _file_name(name: str, precision: str, pixels: PixelKind) -> str:
    return f"{name}.{precision}.onnx" if pixels == "uint8" else f"{name}.{precision}.float.onnx"
