"""The seam: an open model on a device, with one method."""

from abc import ABC, abstractmethod
from collections.abc import Set
from pathlib import Path

import numpy as np

from srdeploy.errors import ModelError
from srdeploy.picture import Pixels
from srdeploy.spec import ModelSpec


class Session(ABC):
    """An open model on a device. `run` checks what it is given once; an engine implements `_infer` alone.

    spec: the facts stamped into the file. path: where it was opened from. backend: "ort", "openvino", "tensorrt".
    device: "cpu" or "cuda:N". arithmetic: what the engine really computes in, such as "fp32", "fp16",
    or "fp16 weights, fp32 arithmetic". at_once: how many threads are worth calling `run` at the same time.
    largest: height and width of the largest picture that it takes; None = any. prepares: whether the first run of each
    shape takes longer than the others.
    """

    at_once = 1
    prepares = False
    largest: tuple[int, int] | None = None

    def __init__(self, spec: ModelSpec, path: Path, backend: str, device: str, arithmetic: str) -> None:
        self.spec = spec
        self.path = path
        self.backend = backend
        self.device = device
        self.arithmetic = arithmetic
        self._dtype = np.dtype(np.uint8 if spec.pixels == "uint8" else np.float32)

    def run(self, pixels: Pixels, out: Pixels | None = None) -> Pixels:
        """Enlarge a batch: (N, H, W, C) to (N, scale * H, scale * W, C), both uint8, or both float32 in 0..1.

        The dtype is the file's (spec.pixels), C its spec.channels, H and W multiples of spec.multiple and at least
        spec.minimum, or spec.size with N 1. The result is written into `out`, a view with any strides, where it is
        given, and is a new array of the caller's where not; a float result is not clipped. Several threads may call it
        at once.
        Raises ModelError for any other array, OutOfMemory when the device has too little; `out` then holds anything.
        """
        shape, multiple = pixels.shape, self.spec.multiple
        if (
            pixels.dtype != self._dtype
            or len(shape) != 4
            or shape[3] != self.spec.channels
            or 0 in shape
            or shape[1] % multiple
            or shape[2] % multiple
            or min(shape[1:3]) < self.spec.minimum
            or self.spec.size not in (None, shape[1:3])
        ):
            sides = f", H and W multiples of {multiple}" if multiple > 1 else ""
            sides += f" and at least {self.spec.minimum}" if self.spec.minimum > 1 else ""
            sides = sides if self.spec.size is None else f", H and W {self.spec.size[0]} and {self.spec.size[1]}"
            raise ModelError(
                f"{self.path.name} takes {self._dtype} pixels of shape (N, H, W, {self.spec.channels}){sides}; "
                f"it was given {pixels.dtype} of shape {shape}"
            )
        large = (shape[0], shape[1] * self.spec.scale, shape[2] * self.spec.scale, shape[3])
        if out is None:
            out = np.empty(large, self._dtype)
        elif out.shape != large or out.dtype != self._dtype:
            raise ModelError(
                f"{self.path.name} gives {self._dtype} pixels of shape {large}; `out` is {out.dtype} of {out.shape}"
            )
        self._infer(pixels, out)
        return out

    def devices_used(self) -> Set[str]:
        """The devices that compute the network, as the engine itself reports them; {"cpu"} or {"cuda:N"}."""
        return {self.device}

    def free_bytes(self) -> int | None:
        """Memory that is free on a device with memory of its own; None on the CPU."""
        return None

    @abstractmethod
    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        """Enlarge pixels that `run` has checked into `out`, which has the right shape and dtype, and any strides."""
