"""What every network is, how its layers begin, and the bicubic enlargement that some contain."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from srdeploy.resample import phases


class Net(nn.Module):
    """A network that knows its scale and its channels (1 = luma, 3 = RGB).

    It maps a float picture (N, channels, H, W), 0..1, to (N, channels, scale*H, scale*W), not clipped.
    """

    def __init__(self, scale: int, channels: int) -> None:
        super().__init__()
        self.scale = scale
        self.channels = channels

    def parameters_count(self) -> int:
        """Trained numbers in the network; constant filters (bicubic) are not counted."""
        return sum(p.numel() for p in self.parameters())

    def deployed(self) -> Self:
        """The network as it is exported: the same function, with what only training needs folded away."""
        return self


def he_conv(inputs: int, outputs: int, size: int, gain: float) -> nn.Conv2d:
    """A convolution that keeps the size, initialised by He et al. 2015 times `gain` (1 before a ReLU)."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    with torch.no_grad():
        conv.weight.mul_(gain)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def begin_as_nearest(body: nn.Sequential) -> None:
    """Let the first channel of each convolution carry the picture unchanged, and the last layer repeat it.

    Luma is never negative, so ReLU lets it pass: the network begins as nearest-neighbour enlargement and need not
    first learn to copy, at which plain ReLU networks die (their last layers fall silent and stay so).
    """
    convolutions = [layer for layer in body if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for conv in convolutions[:-1]:
            conv.weight[0] = 0
            conv.weight[0, 0, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
        last = convolutions[-1]
        last.weight[:, 0] = 0
        last.weight[:, 0, last.kernel_size[0] // 2, last.kernel_size[1] // 2] = 1


class Bicubic(nn.Module):
    """Enlarge by an integer scale: (N, C, H, W) -> (N, C, scale*H, scale*W), centred, border repeated.

    Cubic convolution of Keys 1981 with parameter `a`, written as one depthwise 5x5 convolution to scale**2 channels and
    a PixelShuffle: at an integer scale there are scale**2 fixed kernels, and engines run this several times
    faster than their own Resize. a = -0.75 equals torch.nn.functional.interpolate(mode="bicubic"), a = -0.5 MATLAB.
    """

    kernel: Tensor

    def __init__(self, scale: int, channels: int, a: float) -> None:
        super().__init__()
        rows = torch.from_numpy(np.asarray(phases(scale, 0.0, a), dtype=np.float64))
        kernel = torch.einsum("pi,qj->pqij", rows, rows).reshape(scale * scale, 1, 5, 5)
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1).float(), persistent=False)
        self.channels = channels
        self.pad = nn.ReplicationPad2d(2)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, scale*H, scale*W)."""
        if torch.is_autocast_enabled(x.device.type):
            # Mixed precision is for what is learned: the picture itself keeps its bits.
            with torch.autocast(x.device.type, enabled=False):
                return self._enlarged(x)
        return self._enlarged(x)

    def _enlarged(self, x: Tensor) -> Tensor:
        big: Tensor = self.shuffle(nn.functional.conv2d(self.pad(x), self.kernel, groups=self.channels))
        return big
