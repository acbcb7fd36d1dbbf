"""Networks trained with several branches that are deployed as plain 3x3 convolutions: structural re-parameterisation.

The branches of a layer are linear, so their sum is one convolution (RepVGG, Ding et al. 2021; ECBSR, Zhang et al.
2021). Here the sum is formed in weight space at each step, and the picture goes through that one convolution (SESR,
Bhardwaj et al. 2022): training costs about what the deployed network costs, and what is trained is what is deployed.
"""

import copy
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from srdeploy.learn.base import Net, begin_as_nearest, he_conv

N = TypeVar("N", bound=nn.Module)


class FoldingConv(nn.Module):
    """A 3x3 convolution trained as 3x3 + (1x1 to `expansion` times the channels, then 3x3) + 1x1 + identity.

    (N, inputs, H, W) -> (N, outputs, H, W), zero padding. The identity is there when inputs == outputs,
    unless `skip` is False.
    """

    def __init__(self, inputs: int, outputs: int, gain: float, skip: bool = True, expansion: int = 4) -> None:
        super().__init__()
        wide = expansion * max(inputs, outputs)
        self.plain = he_conv(inputs, outputs, 3, gain)
        self.point = nn.Parameter(torch.zeros(outputs, inputs))
        self.widen = nn.Parameter(torch.randn(wide, inputs) / inputs**0.5)
        self.narrow = nn.Parameter(torch.randn(outputs, wide, 3, 3) * (0.1 * gain / (9 * wide) ** 0.5))
        self.skip = skip and inputs == outputs

    def kernel(self) -> Tensor:
        """The one kernel that does what all branches do: (outputs, inputs, 3, 3)."""
        identity = torch.eye(self.point.shape[0]).to(self.point) if self.skip else 0
        point = self.point + identity
        center = nn.functional.pad(point[:, :, None, None], (1, 1, 1, 1))
        wide = torch.einsum("owyx,wi->oiyx", self.narrow, self.widen)
        return self.plain.weight + wide + center

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return nn.functional.conv2d(x, self.kernel(), self.plain.bias, padding=1)

    def folded(self) -> nn.Conv2d:
        """The same layer as a plain convolution."""
        kernel = self.kernel().detach()
        conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        conv.load_state_dict({"weight": kernel, "bias": self.plain.bias.detach()})  # type: ignore[union-attr]
        return conv


class FoldingNet(Net):
    """`depth` folding convolutions of `width` channels with ReLU between an entry and a PixelShuffle; luma.

    As deployed: 3x3 to width, depth times 3x3, 3x3 to scale**2, PixelShuffle, and nothing else.
    """

    def __init__(self, scale: int, width: int, depth: int, gain: float = 0.3) -> None:
        super().__init__(scale, 1)
        layers: list[nn.Module] = [he_conv(1, width, 3, 1.0), nn.ReLU()]
        for _ in range(depth):
            # The identity carries the signal; the rest begins small, so that depth does not make it grow.
            layers += [FoldingConv(width, width, gain), nn.ReLU()]
        layers.append(he_conv(width, scale * scale, 3, 0.02))
        self.body = nn.Sequential(*layers)
        begin_as_nearest(self.body)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, scale*H, scale*W)."""
        big: Tensor = self.shuffle(self.body(x))
        return big

    def deployed(self) -> Self:
        """The same function with every branch folded; parameters_count() of it is what the file holds."""
        return folded(self)


def folded(net: N) -> N:
    """A copy of `net` in which every folding convolution is a plain one."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, FoldingConv):
                setattr(module, name, child.folded())
    return net
