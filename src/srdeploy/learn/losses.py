"""Losses of training: functions of (result, target), both float (N, C, H, W) in 0..1, to a scalar."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def charbonnier(result: Tensor, target: Tensor) -> Tensor:
    """Charbonnier et al. 1994: mean sqrt(d**2 + eps**2), eps = 1e-3: L1 that is smooth at zero."""
    return torch.sqrt((result - target).square() + 1e-6).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "charbonnier": charbonnier,
    "l1": nn.functional.l1_loss,
    "l2": nn.functional.mse_loss,
}
"""Every loss that a recipe can name."""
