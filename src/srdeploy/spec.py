"""What a model file says of itself: one JSON document under one key of the file's metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from srdeploy.errors import ModelError

METADATA_KEY = "srdeploy"
"""The key of the ONNX file's metadata_props under which the JSON document stands."""

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PixelKind = Literal["uint8", "float"]


@dataclass(frozen=True)
class Parity:
    """How far a file's result was from its reference's, over the same real pictures.

    max_abs: largest difference, in units of the 0..1 range for a float file and before rounding; psnr_db: PSNR of
    the candidate against the reference, peak 1 (None when equal); levels_off: share of samples whose rounded 8-bit
    values differ by 0, 1, or more; tolerance: what was allowed, in the words of `srdeploy check`.
    """

    reference: str
    max_abs: float
    psnr_db: float | None
    levels_off: Mapping[str, float]
    tolerance: Mapping[str, float]
    passed: bool
    arithmetic: str = "fp32"
    """What computed the candidate: "fp32", or "fp16, rounded after each node"."""

    pictures: str = ""
    """Which pictures these were: a hash of them, "" for those that ship."""


@dataclass(frozen=True)
class PixelForm:
    """How somebody else's network takes and gives its pixels; ours are float NCHW, 0..1, RGB on both sides.

    low, high: the values of black and white on the way in; low_out, high_out: on the way out. bgr, bgr_out: channels
    stand as blue, green, red. layout: "NCHW" or "NHWC", on both sides.
    """

    low: float = 0.0
    high: float = 1.0
    low_out: float = 0.0
    high_out: float = 1.0
    bgr: bool = False
    bgr_out: bool = False
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __str__(self) -> str:
        """In words: "0..255 BGR NHWC in, 0..1 RGB NHWC out"."""
        sides = ((self.low, self.high, self.bgr, "in"), (self.low_out, self.high_out, self.bgr_out, "out"))
        return ", ".join(
            f"{low:g}..{high:g} {'BGR' if bgr else 'RGB'} {self.layout} {way}" for low, high, bgr, way in sides
        )


@dataclass(frozen=True)
class ModelSpec:
    """The facts of one file, computed at export and then only read.

    scale: output pixels for one input pixel, per side. channels: 1 = luma, 3 = RGB. halo: input pixels beyond a tile's
    edge that its result depends on (None = not tileable). multiple: input sides must be a multiple of it. minimum: the
    least that a side may be. size: the one (height, width) that the file takes, one picture at a time; None = any.
    pixels "uint8": NHWC uint8 in and out; "float": NCHW, 0..1 in and out.
    activation_bytes: memory that the graph's live tensors take for each input pixel, in fp32 (an upper estimate).
    weights_sha256: hash of the weights the chain began with. reference: file name of the file this one was proved
    against; parity: how that went. reference_pixels: how the chain's first .onnx, when it was somebody else's, takes
    its pixels. quality_loss_db: loss by "engine/precision", for those chosen at run time.
    float_layers: nodes of an fp16 or int8 file that stay fp32, because its precision is not enough for them.
    """

    name: str
    scale: int
    channels: int
    halo: int | None
    multiple: int
    precision: Precision
    pixels: PixelKind
    parameters: int
    activation_bytes: int
    weights_sha256: str
    reference: str | None = None
    parity: Parity | None = None
    minimum: int = 1
    size: tuple[int, int] | None = None
    reference_pixels: PixelForm | None = None
    quality_loss_db: Mapping[str, float] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The document that is stamped into the file; keys sorted, so that the same facts give the same bytes."""
        rare = {"minimum": 1, "size": None, "reference_pixels": None}  # said only where they are not so
        facts = {key: value for key, value in asdict(self).items() if key not in rare or value != rare[key]}
        if facts["parity"] and not facts["parity"]["pictures"]:
            del facts["parity"]["pictures"]
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    def with_parity(self, parity: Parity) -> "ModelSpec":
        """The same facts, and how the comparison went."""
        return replace(self, parity=parity)


def spec_from_metadata(metadata: Mapping[str, str], path: str) -> ModelSpec:
    """Read the facts stamped into a file; `path` is for the messages.

    Raises ModelError when the file carries none (somebody else's .onnx) or when they are not what we write.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path} carries no srdeploy facts (scale, halo, parity); type: srdeploy export {path}")
    try:
        return _spec_from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} carries facts that do not parse ({reason}); type: srdeploy export and what it was made from"
        ) from None


_LIMITS = {"scale": (1, 64), "halo": (0, 1 << 16), "multiple": (1, 4096), "minimum": (1, 4096)}
"""What the numbers may be. A file that claims more would have its pictures padded until memory ends."""

_LARGEST_SIDE = 1 << 14


def _spec_from_dict(facts: dict[str, Any]) -> ModelSpec:
    # A later version may add facts; those that we know must still be right.
    spec = _known(ModelSpec, facts)
    spec = replace(spec, float_layers=tuple(map(str, spec.float_layers)))
    if spec.parity is not None:
        parity = _known(Parity, facts["parity"])
        if not (parity.psnr_db is None or isinstance(parity.psnr_db, (int, float))):
            raise ValueError(f"psnr_db = {str(parity.psnr_db)[:60]!r}")
        spec = replace(spec, parity=parity)
    if spec.reference_pixels is not None:
        spec = replace(spec, reference_pixels=_known(PixelForm, facts["reference_pixels"]))
    for key, (least, most) in _LIMITS.items():
        value = getattr(spec, key)
        if not (_is_number(value, least, most) or (key == "halo" and value is None)):
            raise ValueError(f"{key} = {value}")
    if not is_name(spec.name) or not (spec.reference is None or isinstance(spec.reference, str)):
        raise ValueError(f"name = {str(spec.name)[:60]!r}, reference = {str(spec.reference)[:60]!r}")
    if spec.channels not in (1, 3):
        raise ValueError(f"channels = {spec.channels}")
    if spec.precision not in get_args(Precision) or spec.pixels not in get_args(PixelKind):
        raise ValueError(f"precision {spec.precision}, pixels {spec.pixels}")
    if spec.size is not None:
        height, width = spec.size
        if not all(_is_number(side, 1, _LARGEST_SIDE) and side % spec.multiple == 0 for side in (height, width)):
            raise ValueError(f"size = {spec.size}")
        spec = replace(spec, size=(height, width))
    return spec


def is_name(name: object) -> bool:
    """Whether this can be a network's name: files are called by it, so it must not lead out of a folder."""
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= 200 and not set(name) & set("/\\")


_Kind = TypeVar("_Kind", ModelSpec, Parity, PixelForm)


def _known(kind: type[_Kind], facts: Mapping[str, Any]) -> _Kind:
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in facts.items() if key in names})


def _is_number(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
