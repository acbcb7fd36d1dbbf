"""Muon: steps of orthogonalised momentum for the kernels of a network, Adam for the rest.

Jordan et al. 2024 (Muon); Kingma and Ba 2015 (Adam). A kernel (outputs, inputs, h, w) is taken as a matrix (outputs,
inputs*h*w). torch.optim.Muon takes matrices only, and Lightning one optimizer; hence this class.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_BETAS = (0.9, 0.999)
_TINY = 1e-8
_SMALLEST_SIDE = 16


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of `matrix` (rows, columns), by five Newton-Schulz steps.

    The polynomial's coefficients are those of Jordan et al.: singular values come out within about 0.7 to 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.T if tall else x
    return result


def is_kernel(parameter: Tensor) -> bool:
    """Whether Muon steps this parameter: both sides of its matrix have 16 numbers or more."""
    if parameter.ndim < 2:
        return False
    rows = parameter.shape[0]
    return min(rows, parameter.numel() // rows) >= _SMALLEST_SIDE


class Muon(torch.optim.Optimizer):
    """Muon at `muon_rate` for the parameters that are kernels (`is_kernel`), Adam at `adam_rate` for the others."""

    def __init__(self, net: nn.Module, adam_rate: float, muon_rate: float) -> None:
        parameters = list(net.parameters())
        groups = [
            {"params": [p for p in parameters if not is_kernel(p)], "lr": adam_rate, "muon": False},
            {"params": [p for p in parameters if is_kernel(p)], "lr": muon_rate, "muon": True},
        ]
        super().__init__([group for group in groups if group["params"]], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, where given, computes the loss and the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        (self._muon if group["muon"] else self._adam)(parameter, parameter.grad, group["lr"])
        return loss

    def _muon(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(_MOMENTUM).add_(gradient)
        ahead = gradient + _MOMENTUM * state["momentum"]  # Nesterov's
        matrix = ahead.reshape(ahead.shape[0], -1)
        stretch = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        parameter.add_(orthogonalised(matrix).reshape(parameter.shape), alpha=-rate * stretch)

    def _adam(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - _BETAS[0])
        state["square"].lerp_(gradient.square(), 1 - _BETAS[1])
        count = float(state["step"])
        mean = state["mean"] / (1 - _BETAS[0] ** count)
        size = (state["square"] / (1 - _BETAS[1] ** count)).sqrt_().add_(_TINY)
        parameter.addcdiv_(mean, size, value=-rate)
