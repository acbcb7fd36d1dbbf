"""The networks that srdeploy trains, and the one table that lists them.

Every network maps a float picture (N, C, H, W), 0..1, to (N, C, scale*H, scale*W), not clipped. Convolutions pad with
zeros, so that sizes are kept; the bicubic enlargement inside SRCNN repeats the border instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from srdeploy.errors import ModelError
from srdeploy.learn.base import Bicubic, Net, begin_as_nearest, he_conv
from srdeploy.learn.folding import FoldingNet
from srdeploy.learn.residual import AttentionNet, SRResNet


class SRCNN(Net):
    """SRCNN f1-f2-f3 of Dong et al. 2016 (TPAMI): three convolutions on the bicubically enlarged luma.

    The published network predicts the picture itself. This one has the same layers and predicts what bicubic lacks:
    the enlarged picture is added at the end (residual learning, Kim et al. 2016), which trains in fewer steps.
    """

    def __init__(self, scale: int, middle: int) -> None:
        super().__init__(scale, 1)
        self.enlarge = Bicubic(scale, 1, a=-0.5)
        self.body = nn.Sequential(
            he_conv(1, 64, 9, 1.0), nn.ReLU(), he_conv(64, 32, middle, 1.0), nn.ReLU(), he_conv(32, 1, 5, 0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, scale*H, scale*W)."""
        big: Tensor = self.enlarge(x)
        better: Tensor = big + self.body(big)
        return better


class SRCNNRgb(Net):
    """SRCNN 9-5-5 in RGB on the low-resolution picture, enlarged by bicubic (a = -0.75) at its end."""

    def __init__(self, scale: int) -> None:
        super().__init__(scale, 3)
        self.body = nn.Sequential(
            he_conv(3, 64, 9, 1.0), nn.ReLU(), he_conv(64, 32, 5, 1.0), nn.ReLU(), he_conv(32, 3, 5, 0.1)
        )
        self.enlarge = Bicubic(scale, 3, a=-0.75)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale*H, scale*W)."""
        big: Tensor = self.enlarge(x + self.body(x))
        return big


class ESPCN(Net):
    """ESPCN of Shi et al. 2016 (CVPR): 5x5x64, 3x3x32, 3x3 to scale**2 channels, PixelShuffle; luma.

    ReLU stands in for the paper's tanh: CPU engines run it nearly twice as fast.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(scale, 1)
        self.body = nn.Sequential(
            he_conv(1, 64, 5, 1.0), nn.ReLU(), he_conv(64, 32, 3, 1.0), nn.ReLU(), he_conv(32, scale * scale, 3, 0.1)
        )
        begin_as_nearest(self.body)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, scale*H, scale*W)."""
        big: Tensor = self.shuffle(self.body(x))
        return big


@dataclass(frozen=True)
class NetworkType:
    """One row of the table: what it is, at which scales, and how it is built."""

    summary: str
    channels: int
    scales: tuple[int, ...]
    build: Callable[[int], Net]


NETWORKS: dict[str, NetworkType] = {
    "srcnn-9-1-5": NetworkType("SRCNN 9-1-5, luma, after bicubic", 1, (2, 3, 4), lambda scale: SRCNN(scale, 1)),
    "srcnn-9-5-5": NetworkType("SRCNN 9-5-5, luma, after bicubic", 1, (2, 3, 4), lambda scale: SRCNN(scale, 5)),
    "srcnn-rgb-9-5-5": NetworkType("SRCNN 9-5-5, RGB, before bicubic", 3, (2, 3, 4), SRCNNRgb),
    "espcn": NetworkType("ESPCN, luma, PixelShuffle", 1, (2, 3, 4), ESPCN),
    "fold-16x8": NetworkType("8 folding 3x3 of 16, luma", 1, (2, 3, 4), lambda scale: FoldingNet(scale, 16, 8)),
    "fold-16x11": NetworkType("11 folding 3x3 of 16, luma", 1, (2, 3, 4), lambda scale: FoldingNet(scale, 16, 11)),
    "fold-32x14": NetworkType("14 folding 3x3 of 32, luma", 1, (2, 3, 4), lambda scale: FoldingNet(scale, 32, 14, 0.1)),
    "srresnet": NetworkType("SRResNet, 16 blocks of 64, RGB", 3, (2, 3, 4), SRResNet),
    "attention-48x6": NetworkType(
        "6 blocks of 48 with parameter-free attention, luma", 1, (2, 3, 4), lambda scale: AttentionNet(scale, 48, 6)
    ),
    "attention-64x6": NetworkType(
        "6 blocks of 64 with parameter-free attention, luma", 1, (2, 3, 4), lambda scale: AttentionNet(scale, 64, 6, 2)
    ),
}
"""Every network that a recipe can name. Adding one is a class above and a row here."""


def build_net(network: str, scale: int) -> Net:
    """Build a network of the table with fresh weights (from torch's global generator).

    Raises ModelError for a name that is not in the table or a scale that it does not have.
    """
    kind = NETWORKS.get(network)
    if kind is None:
        raise ModelError(f"no network '{network}'; the table has: {', '.join(NETWORKS)}")
    if scale not in kind.scales:
        raise ModelError(f"network '{network}' has no scale {scale}; it has: {', '.join(map(str, kind.scales))}")
    return kind.build(scale)
