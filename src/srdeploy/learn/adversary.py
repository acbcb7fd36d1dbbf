"""The adversarial term of a loss: a critic that learns to tell results from real pictures (Goodfellow et al. 2014).

Used as in SRGAN (Ledig et al. 2017): PSNR alone makes soft pictures; a small adversarial term makes them crisp, at a
cost in dB (ibid.). Critic and network learn in the same step: each term's gradient reaches only whom it is meant for.
"""

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """A patch critic (Isola et al. 2017): (N, C, H, W), 0..1, to a logit for each 8x8 pixels; above 0 is "real".

    Spectral normalisation (Miyato et al. 2018) keeps it from running away from the network.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        layers: list[nn.Module] = []
        inputs = channels
        for outputs in (width, 2 * width, 4 * width):
            layers += [norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.body = nn.Sequential(*layers, norm(nn.Conv2d(inputs, 1, 3, padding=1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H // 8, W // 8)."""
        logits: Tensor = self.body(x * 2 - 1)
        return logits


def adversarial_terms(critic: Critic, result: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What the network pays for being told apart, and what the critic pays for not telling: two scalars.

    result, target: float (N, C, H, W), 0..1. The non-saturating logistic loss. Gradients of the first reach `result`
    and not the critic, those of the second the critic and not `result`.
    """
    frozen = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    seen = torch.func.functional_call(critic, frozen, (result,))
    fooled = nn.functional.softplus(-seen).mean()
    real, made = critic(target), critic(result.detach())
    told = nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean()
    return fooled, told
