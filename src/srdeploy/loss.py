"""What an engine's own arithmetic loses: precisions that live in no file, such as OpenVINO's bf16."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from srdeploy.backends import Session, is_usable, open_session
from srdeploy.errors import DeviceError, ModelError
from srdeploy.metrics import luma, psnr, shave
from srdeploy.picture import Pixels
from srdeploy.resample import imresize_uint8, modcrop

LEAST_SIDE = 16
"""Smaller pictures, once reduced, say nothing."""


def engine_losses(path: Path, pictures: Mapping[str, Pixels]) -> dict[str, float]:
    """dB of PSNR lost by "engine/precision", for all that this machine offers for an fp32 file with uint8 pixels.

    pictures: uint8 (H, W, C) in full resolution, by name. Empty without OpenVINO, or on a processor without bf16.
    """
    if not is_usable("openvino"):
        return {}
    try:
        half = open_session(path, "openvino", "cpu", precision="bf16")
    except (DeviceError, ModelError):  # it opens not everything that ONNX Runtime does
        return {}
    lost = psnr_lost(open_session(path, "openvino", "cpu"), half, pictures)
    return {} if lost is None else {"openvino/bf16": round(lost, 4)}


def psnr_lost(exact: Session, other: Session, pictures: Mapping[str, Pixels]) -> float | None:
    """Mean PSNR of `exact` less that of `other`, of luma, where each picture is the truth and is shown made smaller.

    None when no picture is large enough.
    """
    spec, lost = exact.spec, []
    for pixels in pictures.values():
        truth = modcrop(pixels, spec.scale * spec.multiple)
        height, width = truth.shape[0] // spec.scale, truth.shape[1] // spec.scale
        if min(height, width) < max(LEAST_SIDE, spec.minimum) or spec.size not in (None, (height, width)):
            continue
        low = imresize_uint8(truth, height, width)[None]
        # Infinite where nothing differs, as on a flat picture: nothing is lost that could be measured.
        scores = [min(_score(truth, session.run(low)[0], spec.scale), 100.0) for session in (exact, other)]
        lost.append(scores[0] - scores[1])
    return float(np.mean(lost)) if lost else None


def _score(truth: Pixels, result: Pixels, scale: int) -> float:
    pair = [shave(pixels, scale) for pixels in (truth, result)]
    if truth.shape[2] == 3:
        pair = [luma(pixels) for pixels in pair]
    return psnr(pair[0], pair[1])
