"""An .onnx file on OpenCV's own engine, as people use it for super resolution, for comparison."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from srdeploy.errors import ModelError
from srdeploy.picture import Pixels


def open_dnn(model: Path, threads: int) -> Callable[[Pixels], Pixels]:
    """A float file (NCHW, 0..1) as a function of pictures: uint8 (1, H, W, C) to uint8 (1, sH, sW, C).

    Raises ModelError when OpenCV does not read it, and the function does when it does not run it.
    """
    try:
        net = cv2.dnn.readNetFromONNX(str(model))
    except cv2.error as error:
        raise ModelError(f"OpenCV does not read {model.name}: {_one_line(error)}") from None

    def enlarge(pixels: Pixels) -> Pixels:
        before = cv2.getNumThreads()
        cv2.setNumThreads(threads)
        try:
            net.setInput(cv2.dnn.blobFromImage(pixels[0], 1 / 255))
            planes = net.forward()[0]
        except cv2.error as error:
            raise ModelError(f"OpenCV does not run {model.name}: {_one_line(error)}") from None
        finally:
            cv2.setNumThreads(before)
        levels = np.rint(np.clip(planes * 255, 0, 255)).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))[None]

    return enlarge


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
