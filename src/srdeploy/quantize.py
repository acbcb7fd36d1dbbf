"""Which ranges, which channels in parts, which layers in float: the fastest int8 graph that loses little enough.

Each picture is the truth; the network is shown the picture made smaller, as in training and evaluation, and what int8
loses is the PSNR of the fp32 result less that of the int8 result.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from srdeploy.errors import ModelError, ParityError
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import convolutions
from srdeploy.parts import Parts, moves_by_worth, parts_after
from srdeploy.picture import Pixels
from srdeploy.ranges import METHODS
from srdeploy.spec import ModelSpec
from srdeploy.trial import UNSIGNED, Form, Pair, Trial

TARGET_DB = 0.05
"""A loss up to this needs nothing that costs speed."""

TOLERANCE_DB = 0.10
"""A loss above this is refused."""

MARGIN_DB = 0.02
"""What must be gained for a method that clips to be taken instead of minmax, or for what costs speed."""


@dataclass(frozen=True)
class Quantized:
    """An int8 graph and how it was chosen.

    model: uint8 (N, H, W, C) in and out. method: of METHODS. parts: channels in parts, by tensor. kept: names of the
    convolutions left in float, of `layers` in all. loss_db: mean loss of PSNR against fp32 (of Y for RGB), in dB, over
    `pictures` pictures.
    """

    model: Model
    method: str
    layers: int
    loss_db: float
    pictures: int
    parts: Parts = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def how(self, kind: str = "int8") -> str:
        """In words, for the person and for the file's stamp."""
        words = [f"ranges by {self.method}", f"{self.layers - len(self.kept)} of {self.layers} convolutions in int8"]
        split = sum(int(np.count_nonzero(counts > 1)) for counts in self.parts.values())
        if split:
            words.append(f"{split} channels in parts")
        if self.kept:
            words.append(f"{' and '.join(self.kept)} in float")
        return f"{kind}, {', '.join(words)}"


def quantize(
    graph: Model, facts: ModelSpec, pairs: list[Pair], extremes: list[Pixels], form: Form = UNSIGNED
) -> Quantized:
    """The fastest int8 graph found of a float network (N, C, H, W) that loses at most TARGET_DB, or loses least.

    facts: the network's name, scale and multiple. pairs: of srdeploy.calibration. Every method for ranges is tried with
    all convolutions in int8. While the best loses more than TARGET_DB, the channels whose rounding costs most are
    carried in parts, those first that are worth most for what they cost; if that is not enough, up to half of the
    convolutions go back to float. extremes: pictures in low resolution that ranges must hold too, such as those of the
    proof; nothing is measured on them. The same pictures give the same graph.

    Raises ParityError when the best found loses more than TOLERANCE_DB, ModelError when the network has no
    convolution.
    """
    every, floats = convolutions(graph), form.floats(graph)
    names = [name for name in every if name not in floats]
    if not names:
        raise ModelError(f"{facts.name} has no convolution but those that take pixels, which stay float; type --fp16")
    trial = Trial(graph, facts.scale, facts.multiple, pairs, extremes, form, facts.size)

    def measured(method: str, parts: Parts, kept: tuple[str, ...] = ()) -> Quantized:
        model, loss = trial.quantized(method, parts, kept)
        return Quantized(model, method, len(every), loss, len(pairs), parts, (*floats, *kept))

    results = [measured(method, {}) for method in METHODS]
    # Nothing is clipped by minmax: other pictures may reach further, so another method must be clearly better.
    best = min(results, key=lambda result: result.loss_db + (0 if result.method == "minmax" else MARGIN_DB))
    if best.loss_db > TARGET_DB:
        moves = moves_by_worth(trial.noise(), trial.alive(), trial.costs())
        method = best.method
        best = _first_good(best, len(moves), lambda n: measured(method, parts_after(moves[:n])))
    if best.loss_db > TARGET_DB:
        method, parts = best.method, best.parts
        ranked = trial.ranked_alone(method, parts, names)
        best = _first_good(
            best,
            len(names) // 2,
            lambda n: measured(method, parts, tuple(name for name in names if name in ranked[:n])),
        )
    if best.loss_db > TOLERANCE_DB:
        raise ParityError(
            f"{facts.name} in {form.kind} loses {best.loss_db:.2f} dB of PSNR on {best.pictures} pictures "
            f"({best.how(form.kind)}), and {TOLERANCE_DB:.2f} dB is allowed; type --fp16, or --calibrate and a folder "
            "of other pictures"
        )
    return best


def _first_good(best: Quantized, count: int, measure: Callable[[int], Quantized]) -> Quantized:
    """The first of 1 .. count, each losing less than the one before, that reaches TARGET_DB; or the best there is, if
    that is worth its speed."""
    if count == 0:
        return best
    found = measure(count)
    if found.loss_db > TARGET_DB:
        allowed_now = found.loss_db <= TOLERANCE_DB < best.loss_db
        return found if allowed_now or found.loss_db < best.loss_db - MARGIN_DB else best
    below, reached = 0, count
    while reached - below > 1:
        middle = (below + reached) // 2
        tried = measure(middle)
        if tried.loss_db <= TARGET_DB:
            reached, found = middle, tried
        else:
            below = middle
    return found
