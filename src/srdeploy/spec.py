"""What a model file says of itself: one JSON document under one key of the file's metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

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


@dataclass(frozen=True)
class ModelSpec:
    """The facts of one file, computed at export and then only read.

    scale: output pixels for one input pixel, per side. channels: 1 = luma, 3 = RGB. halo: input pixels beyond a tile's
    edge that its result depends on (None = not tileable). multiple: input sides must be a multiple of it.
    pixels "uint8": NHWC uint8 in and out; "float": NCHW, 0..1 in and out.
    activation_bytes: memory that the graph's live tensors take for each input pixel, in fp32 (an upper estimate).
    weights_sha256: hash of the weights the chain began with. reference: file name of the file this one was proved
    against; parity: how that went. quality_loss_db: loss by "engine/precision", for those chosen at run time.
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
    quality_loss_db: Mapping[str, float] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The document that is stamped into the file; keys sorted, so that the same facts give the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

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
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} carries facts that do not parse ({reason}); type: srdeploy export and what it was made from"
        ) from None


def _spec_from_dict(facts: dict[str, Any]) -> ModelSpec:
    known = {f.name for f in fields(ModelSpec)}
    # A later version may add facts; those that we know must still be right.
    spec = ModelSpec(**{key: value for key, value in facts.items() if key in known and key != "parity"})
    spec = replace(spec, float_layers=tuple(map(str, spec.float_layers)))
    parity = facts.get("parity")
    if parity is not None:
        names = {f.name for f in fields(Parity)}
        spec = replace(spec, parity=Parity(**{key: value for key, value in parity.items() if key in names}))
    positive = (spec.scale, spec.channels, spec.multiple)
    if not all(isinstance(value, int) and value > 0 for value in positive):
        raise ValueError(f"scale, channels, multiple = {positive}")
    if spec.channels not in (1, 3):
        raise ValueError(f"channels = {spec.channels}")
    if spec.halo is not None and (not isinstance(spec.halo, int) or spec.halo < 0):
        raise ValueError(f"halo = {spec.halo}")
    if spec.precision not in get_args(Precision) or spec.pixels not in get_args(PixelKind):
        raise ValueError(f"precision {spec.precision}, pixels {spec.pixels}")
    return spec
