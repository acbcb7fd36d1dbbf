"""The seam: an open model on a device, with one method."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec


class Session(ABC):
    """An open model on a device. `run` checks what it is given once; an engine implements `_infer` alone.

    spec: the facts stamped into the file. path: where it was opened from. backend: "ort", "openvino", "tensorrt".
    device: "cpu" or "cuda:N". arithmetic: what the engine really computes in, such as "fp32", "fp16",
    or "fp16 weights, fp32 arithmetic".
    """

    def __init__(self, spec: ModelSpec, path: Path, backend: str, device: str, arithmetic: str) -> None:
        self.spec = spec
        self.path = path
        self.backend = backend
        self.device = device
        self.arithmetic = arithmetic
        self._dtype = np.dtype(np.uint8 if spec.pixels == "uint8" else np.float32)

    def run(self, pixels: Pixels) -> Pixels:
        """Enlarge a batch: (N, H, W, C) to (N, scale * H, scale * W, C), both uint8, or both float32 in 0..1.

        The dtype is the file's (spec.pixels), C its spec.channels, H and W multiples of spec.multiple. The result is
        a new array that the caller owns; a float result is not clipped. Several threads may call it at once.
        Raises ModelError for any other array, DeviceError when the device runs out of memory.
        """
        shape, multiple = pixels.shape, self.spec.multiple
        if (
            pixels.dtype != self._dtype
            or len(shape) != 4
            or shape[3] != self.spec.channels
            or 0 in shape
            or shape[1] % multiple
            or shape[2] % multiple
        ):
            sides = f", H and W multiples of {multiple}" if multiple > 1 else ""
            raise ModelError(
                f"{self.path.name} takes {self._dtype} pixels of shape (N, H, W, {self.spec.channels}){sides}; "
                f"it was given {pixels.dtype} of shape {shape}"
            )
        return self._infer(pixels)

    @abstractmethod
    def _infer(self, pixels: Pixels) -> Pixels:
        """Enlarge pixels that `run` has checked."""
