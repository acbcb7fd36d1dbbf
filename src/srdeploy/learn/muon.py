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


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U V^T of the singular value decompositions U S V^T of `matrices` (..., rows, columns).

    Five Newton-Schulz steps with the polynomial of Jordan et al.: singular values come out within about 0.7 to 1.2. On
    CUDA they are computed in bf16, as theirs are.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if x.is_cuda:
        x = x.bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    x = x.to(matrices.dtype)
    result: Tensor = x.mT if tall else x
    return result


def is_kernel(parameter: Tensor) -> bool:
    """Whether Muon steps this parameter: both sides of its matrix have 16 numbers or more."""
    if parameter.ndim < 2:
        return False
    rows = parameter.shape[0]
    return min(rows, parameter.numel() // rows) >= _SMALLEST_SIDE


class Muon(torch.optim.Optimizer):
    """Muon at `muon_rate` for the parameters that are kernels (`is_kernel`), Adam at `adam_rate` for the others.

    compiled: matrices are orthogonalised by compiled code, replayed as CUDA graphs on a GPU.
    """

    def __init__(self, net: nn.Module, adam_rate: float, muon_rate: float, compiled: bool = False) -> None:
        self.orthogonalised = orthogonalised
        if compiled:
            self.orthogonalised = torch.compile(orthogonalised, mode="reduce-overhead", dynamic=False)
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
                parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
                if parameters:
                    (self._muon if group["muon"] else self._adam)(parameters, group["lr"])
        return loss

    # Everything is done to all tensors at once: a network of a hundred small ones would else wait for a thousand
    # launches a step on a GPU.

    def _muon(self, parameters: list[Tensor], rate: float) -> None:
        gradients = [_gradient(parameter) for parameter in parameters]
        momenta = [self._kept(parameter, "momentum") for parameter in parameters]
        torch._foreach_mul_(momenta, _MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=_MOMENTUM)  # Nesterov's
        alike: dict[torch.Size, list[int]] = {}
        for index, parameter in enumerate(parameters):
            alike.setdefault(parameter.shape, []).append(index)
        for shape, indices in alike.items():
            matrices = torch.stack([ahead[index].reshape(shape[0], -1) for index in indices])
            stretch = max(1.0, matrices.shape[-2] / matrices.shape[-1]) ** 0.5
            steps = [step.reshape(shape) for step in self.orthogonalised(matrices).unbind()]
            torch._foreach_add_([parameters[index] for index in indices], steps, alpha=-rate * stretch)

    def _adam(self, parameters: list[Tensor], rate: float) -> None:
        gradients = [_gradient(parameter) for parameter in parameters]
        means = [self._kept(parameter, "mean") for parameter in parameters]
        squares = [self._kept(parameter, "square") for parameter in parameters]
        counts = []
        for parameter in parameters:
            state = self.state[parameter]
            state["step"] = state.get("step", torch.zeros(())) + 1
            counts.append(float(state["step"]))
        torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - _BETAS[1])
        sizes = torch._foreach_div(squares, [1 - _BETAS[1] ** count for count in counts])
        torch._foreach_sqrt_(sizes)
        torch._foreach_add_(sizes, _TINY)
        torch._foreach_addcdiv_(parameters, means, sizes, [-rate / (1 - _BETAS[0] ** count) for count in counts])

    def _kept(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        kept: Tensor = state[name]
        return kept


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
