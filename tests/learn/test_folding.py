"""Folding networks: what is deployed is what was trained, in plain convolutions only."""

import pytest

torch = pytest.importorskip("torch")

from srdeploy.learn.folding import FoldingConv, FoldingNet  # noqa: E402


def _shaken(net: "torch.nn.Module") -> "torch.nn.Module":
    """Every number moved, as training moves them."""
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return net


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_folded_is_trained(scale: int) -> None:
    net = _shaken(FoldingNet(scale, 16, 8))
    x = torch.rand(1, 1, 24, 31)
    assert float((net(x) - net.deployed()(x)).detach().abs().max()) < 1e-5


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (4, 8)])
def test_one_kernel_is_the_sum_of_the_branches(inputs: int, outputs: int) -> None:
    layer = _shaken(FoldingConv(inputs, outputs, 0.3))
    x = torch.rand(2, inputs, 9, 10)
    conv = torch.nn.functional.conv2d
    branches = conv(x, layer.plain.weight, layer.plain.bias, padding=1)
    branches = branches + conv(conv(x, layer.widen[:, :, None, None]), layer.narrow, padding=1)
    branches = branches + conv(x, layer.point[:, :, None, None])
    if inputs == outputs:
        branches = branches + x
    assert float((layer(x) - branches).detach().abs().max()) < 1e-5


def test_deployed_is_plain() -> None:
    net = FoldingNet(4, 16, 8)
    deployed = net.deployed()
    assert {type(m).__name__ for m in deployed.body} == {"Conv2d", "ReLU"}
    assert deployed.parameters_count() == 21_040 <= 30_000
    assert net.parameters_count() > 100_000
