"""Muon: orthogonal steps for kernels, Adam for the rest (against torch's own)."""

import pytest

torch = pytest.importorskip("torch")

from srdeploy.learn.muon import Muon, is_kernel, orthogonalised  # noqa: E402


@pytest.mark.parametrize("shape", [(16, 144), (64, 16), (32, 32)])
def test_singular_values_come_out_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    rows, columns = torch.linalg.qr(torch.randn(shape[0], 8))[0], torch.linalg.qr(torch.randn(shape[1], 8))[0]
    matrix = rows @ torch.diag(torch.logspace(-1, 0, 8)) @ columns.T
    values = torch.linalg.svdvals(orthogonalised(matrix))[:8]
    assert float(values.min()) > 0.5 and float(values.max()) < 1.3
    # What it nears is U V^T: the same directions.
    assert float((rows.T @ orthogonalised(matrix) @ columns).diagonal().min()) > 0.5


def test_which_parameters_are_kernels() -> None:
    assert is_kernel(torch.zeros(16, 16, 3, 3)) and is_kernel(torch.zeros(32, 800))
    assert (
        not is_kernel(torch.zeros(64))
        and not is_kernel(torch.zeros(16, 1, 3, 3))
        and not is_kernel(torch.zeros(3, 800))
    )


def test_the_rest_is_torchs_adam() -> None:
    torch.manual_seed(2)
    net = torch.nn.Linear(5, 3)
    theirs = torch.nn.Linear(5, 3)
    theirs.load_state_dict(net.state_dict())
    ours, adam = Muon(net, 1e-2, 1.0), torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for _ in range(20):
        x = torch.randn(7, 5)
        for layer, optimizer in ((net, ours), (theirs, adam)):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()
    assert torch.allclose(net.weight, theirs.weight, atol=1e-6) and torch.allclose(net.bias, theirs.bias, atol=1e-6)


def test_a_step_has_the_size_of_its_rate_whatever_the_gradient() -> None:
    for size in (1e-6, 1e6):
        torch.manual_seed(3)
        net = torch.nn.Conv2d(16, 16, 3)
        before = net.weight.detach().clone()
        optimizer = Muon(net, 1e-3, 0.1)
        (net(torch.randn(2, 16, 8, 8)).sum() * size).backward()
        optimizer.step()
        moved = torch.linalg.matrix_norm((net.weight.detach() - before).reshape(16, -1), ord=2)
        assert 0.05 < float(moved) < 0.13
