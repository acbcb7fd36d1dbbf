"""The adversarial term: each side's gradient reaches only that side, and each side learns."""

import pytest

torch = pytest.importorskip("torch")

from srdeploy.learn.adversary import Critic, adversarial_terms  # noqa: E402


def test_each_gradient_reaches_whom_it_is_meant_for() -> None:
    torch.manual_seed(0)
    critic = Critic(1)
    result = torch.rand(2, 1, 32, 32, requires_grad=True)
    fooled, told = adversarial_terms(critic, result, torch.rand(2, 1, 32, 32))
    fooled.backward(retain_graph=True)
    assert result.grad is not None and float(result.grad.abs().max()) > 0
    assert all(p.grad is None for p in critic.parameters())
    result.grad = None
    told.backward()
    assert result.grad is None
    assert all(p.grad is not None for p in critic.parameters())


def test_the_critic_learns_to_tell() -> None:
    torch.manual_seed(0)
    critic = Critic(3)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    first = last = 0.0
    for step in range(40):
        real = torch.rand(4, 3, 32, 32)
        soft = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
        _, told = adversarial_terms(critic, soft, real)
        optimizer.zero_grad()
        told.backward()
        optimizer.step()
        first, last = (float(told.detach()) if step == 0 else first), float(told.detach())
    assert last < 0.7 * first
