"""What an engine's own arithmetic loses: precisions that live in no file, such as OpenVINO's bf16."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from srdeploy.backends import Session, is_usable, open_session
from srdeploy.errors import DeviceError, ModelError
from srdeploy.metrics import luma, psnr, shave
from srdeploy.picture import Pixels

Pair = tuple[Pixels, Pixels]
"""uint8 (h, w, C) that the network is shown, and (scale * h, scale * w, C) that it should make of it."""


def engine_losses(path: Path, pairs: Iterable[Pair]) -> dict[str, float]:
    """dB of PSNR lost by "engine/precision", for all that this machine offers for an fp32 file with uint8 pixels.

    Empty without OpenVINO, on a processor without bf16, or where no pair fits a network of one size.
    """
    if not is_usable("openvino"):
        return {}
    try:
        half = open_session(path, "openvino", "cpu", precision="bf16")
    except (DeviceError, ModelError):  # it opens not everything that ONNX Runtime does
        return {}
    spec = half.spec
    fitting = [
        pair for pair in pairs if min(pair[0].shape[:2]) >= spec.minimum and spec.size in (None, pair[0].shape[:2])
    ]
    if not fitting:
        return {}
    try:
        return {"openvino/bf16": round(psnr_lost(open_session(path, "openvino", "cpu"), half, fitting), 4)}
    except (DeviceError, ModelError):  # nor runs it
        return {}


def psnr_lost(exact: Session, other: Session, pairs: Iterable[Pair]) -> float:
    """Mean PSNR of `exact` less that of `other`, of Y for RGB, in dB. There is at least one pair."""
    lost = []
    for low, truth in pairs:
        # Infinite where nothing differs, as on a flat picture: nothing is lost that could be measured.
        scores = [min(_score(truth, session.run(low[None])[0], exact.spec.scale), 100.0) for session in (exact, other)]
        lost.append(scores[0] - scores[1])
    return float(np.mean(lost))


def _score(truth: Pixels, result: Pixels, scale: int) -> float:
    pair = [shave(pixels, scale) for pixels in (truth, result)]
    if truth.shape[2] == 3:
        pair = [luma(pixels) for pixels in pair]
    return psnr(pair[0], pair[1])
