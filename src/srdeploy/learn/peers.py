"""The trained network as plain PyTorch runs it: what a person has before exporting anything, for comparison."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srdeploy.learn.weights import load_net
from srdeploy.picture import Pixels


def open_torch(weights: Path, threads: int, compiled: bool) -> Callable[[Pixels], Pixels]:
    """A checkpoint as a function of pictures: uint8 (N, H, W, C) to uint8 (N, sH, sW, C), on the CPU in float32.

    compiled: through torch.compile, which builds a kernel for the size that it first sees.
    """
    net = load_net(weights).deployed().eval()
    step = torch.compile(net) if compiled else net

    def enlarge(pixels: Pixels) -> Pixels:
        torch.set_num_threads(threads)  # one number for all of torch, and each row has its own
        with torch.inference_mode():
            planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)
            big = step(planes).mul(255).round().clamp(0, 255).to(torch.uint8)
            return np.ascontiguousarray(big.permute(0, 2, 3, 1).numpy())

    return enlarge
