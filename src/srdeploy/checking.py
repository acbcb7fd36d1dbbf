"""`srdeploy check`: does a file give what its reference gives, and if it does not, from which layer on?

fp16 and int8 may differ by much from what they were made from, and a damaged file by no more: on the pictures of its
own proof a file must differ by what it says, and on others no layer may part.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from srdeploy.adopt import adopt_net
from srdeploy.bisect import CUT, PARTS, RARE, Parting, first_parting
from srdeploy.difference import Comparison, Place, compare
from srdeploy.errors import ModelError
from srdeploy.graph.channels import channels_of
from srdeploy.graph.files import Model, at_our_opset, is_stamped, load_model, parse_model, read_spec
from srdeploy.graph.forms import check_form, in_our_form, widened
from srdeploy.graph.lanes import out_of_lanes
from srdeploy.graph.narrow import rows_together
from srdeploy.parity import open_candidate, open_reference, pictures_for, reference_of, shown, tolerance_for
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec, Parity, PixelForm

SURE = 16.0
"""How many times as far off as rounding explains a layer of an fp16 file must be to fail it where no stamp says what is
right. Rows of few numbers are 5 times off by chance; weights that are 5 % off are 50 times off."""

AROUND = 96
"""Side of the square, in input pixels, on which the first layer that parts is looked for."""


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
    the first layer that parts from the reference's, around the worst place. An fp16 or int8 file on other pictures than
    those of its own proof fails when a layer parts there.

    Raises ModelError when a file is not what it should be or no reference is found, ParityError when the candidate
    gives values that are not finite. A difference above tolerance is not raised: it stands in the result.
    """
    if candidate.suffix.lower() != ".onnx":
        raise ModelError(f"{candidate} is not an exported .onnx file; type: srdeploy export {candidate}")
    spec, enlarge, arithmetic = open_candidate(candidate)
    reference = against or reference_of(spec, candidate)
    pictures = pictures_for(spec, data) if pictures is None else pictures
    exact, on, half = open_reference(reference, spec), shown(pictures, spec), spec.precision == "fp16"
    graph = load_model(reference) if reference.suffix.lower() == ".onnx" else None
    proved = spec.parity if spec.parity and spec.parity.pictures == on and _measures_the_same(graph, spec) else None
    tolerance = {**tolerance_for(spec), **({"stamped_db": proved.psnr_db} if proved and proved.psnr_db else {})}
    found, parting = compare(exact, enlarge, pictures, tolerance, reference.name, arithmetic), None
    found = replace(found, parity=replace(found.parity, pictures=on))
    # At export there is no stamp yet, and fp16 was rounded layer by layer to be proved at all.
    inside = found.parity.passed and proved is None and (spec.precision == "int8" or (half and spec.parity is not None))
    if inside or (bisect and not found.parity.passed):
        graph = _graph_of_net(reference, spec) if graph is None else _in_our_form(graph, spec, reference.name)
        pixels, model = _around(found.worst, pictures, spec), out_of_lanes(load_model(candidate))
        graph = rows_together(graph, {node.name for node in model.graph.node})
        least, cut = SURE if inside and half else PARTS, CUT if inside else RARE
        parting = first_parting(model, graph, pixels, spec.precision, channels_of(model), least, cut)
    if only_inside := inside and parting is not None:
        found = replace(found, parity=replace(found.parity, passed=False))
    return Check(str(candidate), str(reference), found, bisect, parting, only_inside)


def _measures_the_same(reference: Model | None, spec: ModelSpec) -> bool:
    """Whether a comparison with this reference measures what a file's own proof did: fp32, in floats if that was."""
    if reference is None or not is_stamped(reference):
        return True
    of = read_spec(reference, "the reference")
    return of.precision == "fp32" and of.pixels in (spec.pixels, "float")


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


def _in_our_form(graph: Model, spec: ModelSpec, path: str) -> Model:
    """A graph of ours as it is; anybody's, from which a file with these facts was made, brought to float NCHW, 0..1."""
    if is_stamped(graph):
        return graph
    channels, layout, _ = check_form(graph, path)
    form = spec.reference_pixels or PixelForm(layout=layout)
    return in_our_form(at_our_opset(widened(graph), path), form, channels, batched=spec.size is None)


def _graph_of_net(reference: Path, spec: ModelSpec) -> Model:
    """The float graph that export makes of a checkpoint."""
    from srdeploy.learn.convert import onnx_from_net  # torch: only where a checkpoint is the reference
    from srdeploy.learn.foreign import ForeignNet, open_net

    net = open_net(reference)
    if isinstance(net, ForeignNet):
        return adopt_net(net, reference, spec.size).graph
    return parse_model(onnx_from_net(net), str(reference))


def _db(value: float | None) -> str:
    return "without end" if value is None else f"{value:.1f} dB"
