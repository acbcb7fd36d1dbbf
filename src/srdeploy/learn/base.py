"""What every network is, and how its layers begin."""

from typing import Self

import torch
from torch import nn


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
