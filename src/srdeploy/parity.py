"""Which files are compared, on which pictures, in which arithmetic, and what each precision may differ by.

Trust runs in a chain: the checkpoint in torch -> fp32 -> fp16. Each file names its reference. fp16 is computed node by
node, each result rounded to half precision: a CPU engine that widens the whole graph to fp32 would prove nothing but
the weights.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from srdeploy import metrics, zoo
from srdeploy.backends import open_session
from srdeploy.backends.ort_graph import open_graph
from srdeploy.difference import MAX_ABS, Enlarge
from srdeploy.errors import InputError, ModelError
from srdeploy.graph.files import border, is_stamped, load_model
from srdeploy.graph.forms import check_form, from_theirs, takes_levels, to_theirs, widened
from srdeploy.graph.steps import rounded_runner
from srdeploy.media.pictures import read_picture
from srdeploy.picture import Picture, Pixels
from srdeploy.resample import middle
from srdeploy.spec import ModelSpec, PixelForm, Precision
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

SIDE = 256
"""Larger pictures are compared in their middle, SIDE by SIDE: what differs, differs there too."""


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
        from srdeploy.learn import require_weights

        require_weights()
        from srdeploy.learn.convert import run_net  # torch: only where a checkpoint is the reference
        from srdeploy.learn.foreign import open_net

        net = open_net(path)
        _same_facts(path, net.scale, net.channels, spec)
        return _over_planes(lambda planes: run_net(net, planes))
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path} is neither .onnx nor a checkpoint; nothing else is opened as a reference")
    model = load_model(path)
    if is_stamped(model):
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


def shown(pictures: Mapping[str, Pixels], spec: ModelSpec) -> str:
    """Which pictures these are, as in Parity.pictures."""
    ours, these = (_hash(given) for given in (pictures_for(spec, None), pictures))
    return "" if these == ours else these


def _hash(pictures: Mapping[str, Pixels]) -> str:
    hashes = (hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest() for pixels in pictures.values())
    return hashlib.sha256(" ".join(sorted(hashes)).encode()).hexdigest()[:16]


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
