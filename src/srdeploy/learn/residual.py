"""The two larger networks: SRResNet, the classic one, and a small modern one with parameter-free attention.

Both predict what bicubic enlargement lacks, so a training begins at bicubic's quality and only gets better.
"""

from typing import Self

import torch
from torch import Tensor, nn

from srdeploy.learn.base import Bicubic, Net, he_conv
from srdeploy.learn.folding import FoldingConv, folded


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, and the input added: (N, width, H, W) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(he_conv(width, width, 3, 1.0), nn.ReLU(), he_conv(width, width, 3, 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H, W)."""
        better: Tensor = x + self.body(x)
        return better


class SRResNet(Net):
    """SRResNet of Ledig et al. 2017 (CVPR): 16 residual blocks of 64 channels, PixelShuffle, RGB.

    As in EDSR (Lim et al. 2017) there is no batch normalisation; ReLU stands for PReLU; bicubic is added at the end.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(scale, 3)
        width = 64
        self.head = nn.Sequential(he_conv(3, width, 9, 1.0), nn.ReLU())
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(16)), he_conv(width, width, 3, 0.5))
        steps = [2, 2] if scale == 4 else [scale]
        tail: list[nn.Module] = []
        for step in steps:
            tail += [he_conv(width, width * step * step, 3, 1.0), nn.PixelShuffle(step), nn.ReLU()]
        self.tail = nn.Sequential(*tail, he_conv(width, 3, 9, 0.1))
        self.enlarge = Bicubic(scale, 3, a=-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale*H, scale*W)."""
        first = self.head(x)
        big: Tensor = self.enlarge(x) + self.tail(first + self.body(first))
        return big


class AttentionBlock(nn.Module):
    """Three folding 3x3 convolutions whose result, through an odd sigmoid, weighs itself plus the input.

    Parameter-free attention: (result + x) * (sigmoid(result) - 1/2), of SPAN (Wan et al. 2024, CVPR workshops).
    """

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            FoldingConv(width, width, 0.3, expansion=expansion), nn.SiLU(),
            FoldingConv(width, width, 0.3, expansion=expansion), nn.SiLU(),
            FoldingConv(width, width, 0.1, skip=False, expansion=expansion),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H, W)."""
        result = self.body(x)
        # The outer residual is ours: without it the signal would fade with each block before anything is learnt.
        better: Tensor = x + (result + x) * (torch.sigmoid(result) - 0.5)
        return better


class AttentionNet(Net):
    """`depth` attention blocks of `width` channels, all their results mixed by 1x1, then PixelShuffle; luma.

    The layout is SPAN's (first, last and all blocks feed the end); deployed, every branch is one 3x3 convolution.
    """

    def __init__(self, scale: int, width: int, depth: int, expansion: int = 4) -> None:
        super().__init__(scale, 1)
        self.head = he_conv(1, width, 3, 1.0)
        self.blocks = nn.ModuleList(AttentionBlock(width, expansion) for _ in range(depth))
        self.mix = he_conv(width * (depth + 1), width, 1, 0.5)
        self.tail = nn.Sequential(
            he_conv(width, width, 3, 1.0), nn.SiLU(), he_conv(width, scale * scale, 3, 0.1), nn.PixelShuffle(scale)
        )
        self.enlarge = Bicubic(scale, 1, a=-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, scale*H, scale*W)."""
        feature = self.head(x)
        features = [feature]
        for block in self.blocks:
            feature = block(feature)
            features.append(feature)
        big: Tensor = self.enlarge(x) + self.tail(self.mix(torch.cat(features, dim=1)))
        return big

    def deployed(self) -> Self:
        """The same function with every branch folded."""
        return folded(self)
