"""A network in int8, one graph for each kind of file: what ships of it, or fitted to pictures."""

from dataclasses import dataclass
from pathlib import Path

from srdeploy import zoo
from srdeploy.calibration import calibration_pairs
from srdeploy.graph.files import Model, load_model, read_spec
from srdeploy.picture import Pixels
from srdeploy.quantize import quantize
from srdeploy.spec import ModelSpec
from srdeploy.trial import SIGNED, UNSIGNED


@dataclass(frozen=True)
class Small:
    """model: uint8 (N, H, W, C) in and out. how: it was made, in words. loss_db: of PSNR, against fp32. kept: names of
    the convolutions left in float."""

    model: Model
    how: str
    loss_db: float
    kept: tuple[str, ...]


def small_of(
    graph: Model, facts: ModelSpec, calibrate: Path | None, extremes: list[Pixels]
) -> tuple[dict[str, Small], list[str]]:
    """By kind of file, "int8" and "int8-trt", and notes for the person.

    graph: float (N, C, H, W). calibrate: a folder of pictures to fit to; None: what ships of these very weights, and
    otherwise the pictures that ship. extremes: of srdeploy.quantize. Raises InputError, ParityError, ModelError.
    """
    found, notes = ({}, []) if calibrate is not None else _shipped(facts)
    left = [form for form in (UNSIGNED, SIGNED) if form.kind not in found]
    pairs = calibration_pairs(calibrate, facts.channels, facts.scale, facts.multiple, facts.size) if left else []
    if left and calibrate is None:
        notes.append(
            f"int8 is fitted to the {len(pairs)} pictures that ship; for your own type --calibrate and their folder"
        )
    for form in left:
        made = quantize(graph, facts, pairs, extremes, form)
        found[form.kind] = Small(made.model, made.how(), made.loss_db, made.kept)
        notes.append(f"{made.how(form.kind)}; {made.loss_db:.3f} dB of PSNR lost on {made.pictures} pictures")
    return found, notes


def _shipped(facts: ModelSpec) -> tuple[dict[str, Small], list[str]]:
    """What ships in int8 of these very weights: it was fitted to photographs, and few of ours are as good."""
    found: dict[str, Small] = {}
    notes = []
    for kind in (UNSIGNED.kind, SIGNED.kind):
        path = zoo.MODELS / f"{facts.name}.{kind}.onnx"
        if not path.is_file():
            continue
        model = load_model(path)
        spec = read_spec(model, str(path))
        if spec.weights_sha256 == facts.weights_sha256 and spec.parity is not None:
            found[kind] = Small(model, spec.parity.arithmetic, spec.quality_loss_db["ort/int8"], spec.float_layers)
            notes.append(f"{kind} is what ships of these weights; to fit it to pictures of yours type --calibrate DIR")
    return found, notes
