"""Does a file give what its reference gives? Compared on real pictures, judged by the file's precision.

Trust runs in a chain: the checkpoint in torch -> fp32 -> fp16. Each file names its reference, and `check_file` walks
one link. fp16 is computed node by node, each result rounded to half precision: a CPU engine that widens the whole
graph to fp32 would prove nothing but the weights. int8 may differ by much from what it was made from, and a damaged
file by no more: on the pictures of its own proof it must differ by what it says, and on others no layer may part.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy import metrics, zoo
from srdeploy.backends import open_session
from srdeploy.backends.ort_graph import open_graph
from srdeploy.bisect import Parting, first_parting
from srdeploy.difference import MAX_ABS, Comparison, Enlarge, Place, compare
from srdeploy.errors import InputError, ModelError
from srdeploy.graph.channels import channels_of
from srdeploy.graph.files import Model, border, load_model, parse_model
from srdeploy.graph.forms import check_form, from_theirs, takes_levels, to_theirs, widened
from srdeploy.graph.lanes import out_of_lanes
from srdeploy.graph.steps import rounded_runner
from srdeploy.media.pictures import read_picture
from srdeploy.picture import Picture, Pixels
from srdeploy.resample import middle
from srdeploy.spec import ModelSpec, Parity, PixelForm, Precision
from srdeploy.urls import files_in

ROUNDED = "fp16, rounded after each node"

TOLERANCE: Mapping[tuple[Precision, str], Mapping[str, float]] = {
    ("fp32", "float"): {"max_abs": MAX_ABS},
    ("fp32", "uint8"): {"off": 1e-5, "off_by_more": 0.0},
    ("fp16", "float"): {"psnr_db": 55.0},
    ("fp16", "uint8"): {"psnr_db": 55.0},
    ("int8", "uint8"): {"psnr_db": 40.0},
}
"""By precision and pixels; what the keys mean is said at difference.compare."""

AROUND = 96
"""Side of the square, in input pixels, on which the first layer that parts is looked for."""

SIDE = 256
"""Larger pictures are compared in their middle, SIDE by SIDE: what differs, differs there too."""


@dataclass(frozen=True)
class Check:
    """The answer of `srdeploy check`."""

    candidate: str
    reference: str
    comparison: Comparison
    bisected: bool = False
    parting: Parting | None = None
    only_inside: bool = False
    """Whether it failed by the layer that parts alone."""

    @property
    def parity(self) -> Parity:
        return self.comparison.parity

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of the contract; "worst", "ties" and, where it was asked for, "bisect" are added."""
        document = {
            **asdict(self.parity),
            "reference": self.reference,
            "candidate": self.candidate,
            "worst": self.comparison.worst._asdict(),
            "ties": self.comparison.ties,
        }
        if self.bisected:
            document["bisect"] = self.parting and self.parting.to_dict()
        return document

    def why(self) -> str:
        """One line: what differs, by how much, what was allowed, where it is worst, and where it begins."""
        parity = self.parity
        if self.only_inside:
            return (
                f"{self.candidate} gives what {self.reference} gives as near as is allowed (PSNR "
                f"{_db(parity.psnr_db)}), and computes something else: {self.parting}"
            )
        allowed = ", ".join(f"{key} {value:g}" for key, value in parity.tolerance.items())
        found = f"largest difference {parity.max_abs:.3g}, PSNR {_db(parity.psnr_db)}"
        off = 1 - parity.levels_off["0"]
        return (
            f"{self.candidate} differs from {self.reference} by more than allowed ({allowed}): {found}, "
            f"{off:.3%} of samples off; worst in {self.comparison.worst}{self.begins()}"
        )

    def begins(self) -> str:
        """The rest of that line: the first layer that parts, if one was looked for."""
        if not self.bisected:
            return ""
        if self.parting is None:
            return "; no layer parts when each runs by itself: the difference arises where layers run as one"
        return f"; {self.parting}"


def check_file(
    candidate: Path,
    against: Path | None = None,
    data: Path | None = None,
    pictures: Mapping[str, Pixels] | None = None,
    bisect: bool = False,
) -> Check:
    """Compare an exported file with its reference on real pictures.

    against: an .onnx, ours or anybody's, or a .safetensors checkpoint; None takes the one that the file names, from
    beside the file or among the shipped models, if it was made from the same weights. data: a folder of pictures.
    pictures: uint8 (H, W, C) by name, instead of a folder; neither: those that ship. bisect: of a file that fails, find
    the first layer that parts from the reference's, around the worst place. An int8 file on other pictures than those
    of its own proof fails when a layer parts there.

    Raises ModelError when a file is not what it should be or no reference is found, ParityError when the candidate
    gives values that are not finite. A difference above tolerance is not raised: it stands in the result.
    """
    if candidate.suffix.lower() != ".onnx":
        raise ModelError(f"{candidate} is not an exported .onnx file; type: srdeploy export {candidate}")
    spec, enlarge, arithmetic = open_candidate(candidate)
    reference = against or reference_of(spec, candidate)
    pictures = pictures_for(spec, data) if pictures is None else pictures
    shown = _shown(pictures, spec)
    proved = spec.parity if spec.precision == "int8" and spec.parity and spec.parity.pictures == shown else None
    tolerance = {**tolerance_for(spec), **({"stamped_db": proved.psnr_db} if proved and proved.psnr_db else {})}
    found = compare(open_reference(reference, spec), enlarge, pictures, tolerance, reference.name, arithmetic)
    found, parting = replace(found, parity=replace(found.parity, pictures=shown)), None
    inside = found.parity.passed and spec.precision == "int8" and proved is None
    if inside or (bisect and not found.parity.passed):
        pixels, model = _around(found.worst, pictures, spec), out_of_lanes(load_model(candidate))
        parting = first_parting(model, _graph_of(reference), pixels, spec.precision, channels_of(model))
    if only_inside := inside and parting is not None:
        found = replace(found, parity=replace(found.parity, passed=False))
    return Check(str(candidate), str(reference), found, bisect, parting, only_inside)


def _shown(pictures: Mapping[str, Pixels], spec: ModelSpec) -> str:
    """Which pictures these are, as in Parity.pictures."""
    ours, these = (_hash(shown) for shown in (pictures_for(spec, None), pictures))
    return "" if these == ours else these


def _hash(pictures: Mapping[str, Pixels]) -> str:
    hashes = (hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest() for pixels in pictures.values())
    return hashlib.sha256(" ".join(sorted(hashes)).encode()).hexdigest()[:16]


def _around(place: Place, pictures: Mapping[str, Pixels], spec: ModelSpec) -> Pixels:
    """The input pixels around a sample of the result, (1, h, w, C); all of them when the network takes all together."""
    pixels = pictures[place.picture]
    if spec.halo is None:
        return pixels[None]
    for axis, centre in enumerate((place.y // spec.scale, place.x // spec.scale)):
        side = min(pixels.shape[axis], max(AROUND // spec.multiple, 1) * spec.multiple)
        first = min(max(centre - side // 2, 0), pixels.shape[axis] - side)
        pixels = pixels.take(range(first, first + side), axis)
    return pixels[None]


def _graph_of(reference: Path) -> Model:
    if reference.suffix.lower() == ".onnx":
        return load_model(reference)
    from srdeploy.learn.convert import onnx_from_net  # torch: only where a checkpoint is the reference
    from srdeploy.learn.weights import load_net

    return parse_model(onnx_from_net(load_net(reference)), str(reference))


def tolerance_for(spec: ModelSpec) -> Mapping[str, float]:
    """What a file of this precision may differ by; ModelError when this version proves no such precision."""
    found = TOLERANCE.get((spec.precision, spec.pixels))
    if found is None:
        raise ModelError(f"{spec.name} is {spec.precision}; this version of srdeploy checks fp32, fp16 and int8")
    return found


def open_candidate(path: Path) -> tuple[ModelSpec, Enlarge, str]:
    """A stamped file as a function, with its facts and the arithmetic it is computed in."""
    session = open_session(path, "ort", "cpu")
    spec = session.spec
    if spec.precision != "fp16":
        return spec, over_floats(session.run) if spec.pixels == "float" else session.run, session.arithmetic
    model = load_model(path)
    run = rounded_runner(model, open_graph)
    value_in, value_out = border(model, str(path))
    arithmetic = f"{ROUNDED}; {len(spec.float_layers)} nodes in fp32" if spec.float_layers else ROUNDED
    if spec.pixels == "float":
        return spec, _over_planes(lambda planes: run({value_in.name: planes})[value_out.name]), arithmetic
    return spec, lambda pixels: run({value_in.name: pixels})[value_out.name], arithmetic


def open_reference(path: Path, spec: ModelSpec) -> Enlarge:
    """A checkpoint, a stamped file or anybody's float .onnx as a function; it must fit the candidate's facts.

    Raises ModelError when it is missing, of another kind, or of another scale or other channels than `spec`.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}; type --against and the file that {spec.name} was made from")
    if path.suffix.lower() in zoo.WEIGHT_SUFFIXES:
        from srdeploy.learn import require_training

        require_training()
        from srdeploy.learn.convert import run_net  # torch: only where a checkpoint is the reference
        from srdeploy.learn.foreign import open_net

        net = open_net(path)
        _same_facts(path, net.scale, net.channels, spec)
        return _over_planes(lambda planes: run_net(net, planes))
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path} is neither .onnx nor a checkpoint; nothing else is opened as a reference")
    model = load_model(path)
    if any(entry.key == "srdeploy" for entry in model.metadata_props):
        session = open_session(path, "ort", "cpu")
        _same_facts(path, session.spec.scale, session.spec.channels, spec)
        return over_floats(session.run) if session.spec.pixels == "float" else session.run
    channels, layout, _ = check_form(model, str(path))
    _same_facts(path, spec.scale, channels, spec)
    form = spec.reference_pixels or PixelForm(layout=layout)
    value_in, value_out = border(model, str(path))
    levels, run = takes_levels(model), open_graph(widened(model).SerializeToString())

    def theirs(planes: Pixels) -> Pixels:
        return from_theirs(run({value_in.name: to_theirs(planes, form, levels)})[value_out.name], form)

    return _over_planes(theirs)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; ModelError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def pictures_for(spec: ModelSpec, data: Path | None) -> dict[str, Pixels]:
    """Pictures (uint8, (H, W, C)) for a network's channels: those that ship, or those of a folder.

    The middle SIDE x SIDE of each, cut to the network's multiple; luma is Y of BT.601.
    Raises InputError when the folder holds no picture.
    """
    paths = zoo.parity_pictures() if data is None else list(_pictures_in(data))
    if not paths:
        raise InputError(
            f"there are no pictures in {data or 'the installed package'}; type --data and a folder of some"
        )
    return {path.name: _cut(_channels(read_picture(path), spec.channels), spec) for path in paths}


def _pictures_in(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; type --data and a folder of pictures")
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
    yield from (path for path in files_in(folder) if path.suffix.lower() in suffixes)


def _channels(picture: Picture, channels: int) -> Pixels:
    pixels = picture.planes[0]
    if picture.depth > 8:
        pixels = (pixels >> (picture.depth - 8)).astype(np.uint8)
    if picture.layout == "gray":
        return np.repeat(pixels[:, :, None], channels, axis=2)
    if channels == 3:
        return pixels
    return np.rint(metrics.luma(pixels)).astype(np.uint8)[:, :, None]


def _cut(pixels: Pixels, spec: ModelSpec) -> Pixels:
    """The middle SIDE x SIDE, or of the file's own size; a picture too small for the network is repeated to fit."""
    sides = (max(1, -(-spec.minimum // side)) * side for side in pixels.shape[:2])
    return middle(pixels, *(spec.size or (min(side, SIDE) // spec.multiple * spec.multiple for side in sides)))


def over_floats(run: Enlarge) -> Enlarge:
    """Feed a float NHWC function with levels / 255."""
    return lambda pixels: run(pixels.astype(np.float32) / np.float32(255))


def _over_planes(run: Enlarge) -> Enlarge:
    """Feed a float NCHW function with levels / 255, and turn its result to NHWC."""

    def enlarge(pixels: Pixels) -> Pixels:
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
        return run(planes).transpose(0, 2, 3, 1)

    return enlarge


def _same_facts(path: Path, scale: int, channels: int, spec: ModelSpec) -> None:
    if (scale, channels) != (spec.scale, spec.channels):
        raise ModelError(
            f"{path} has scale {scale} and {channels} channels, {spec.name} has scale {spec.scale} and "
            f"{spec.channels}; type --against and the file it was made from"
        )


def reference_of(spec: ModelSpec, candidate: Path) -> Path:
    """The file that the stamp names, made from the same weights: beside the candidate, then among the shipped."""
    if spec.reference is None:
        raise ModelError(f"{candidate} names no reference; type --against and the file it was made from")
    name = Path(spec.reference).name
    others = []
    for path in (candidate.parent / name, zoo.MODELS / name):
        if path.is_file() and path.resolve() != candidate.resolve():
            if _weights_of(path) == spec.weights_sha256:
                return path
            others.append(str(path))
    found = f"{' and '.join(others)} hold other weights" if others else "it is neither beside the file nor shipped"
    raise ModelError(f"{candidate} was proved against {name}, and {found}; type --against and its path")


def _weights_of(path: Path) -> str:
    if path.suffix.lower() == ".onnx":
        try:
            return open_session(path, "ort", "cpu", threads=1).spec.weights_sha256
        except ModelError:  # an unstamped file: the reference of what was made from it, hashed as it is
            return file_hash(path)
    return file_hash(path)


def _db(value: float | None) -> str:
    return "without end" if value is None else f"{value:.1f} dB"
