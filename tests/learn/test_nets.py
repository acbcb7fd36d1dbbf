"""Networks: shapes, published sizes, and constant parts against somebody else's implementation."""

import pytest

torch = pytest.importorskip("torch")

from srdeploy.errors import ModelError  # noqa: E402
from srdeploy.learn.nets import ESPCN, NETWORKS, SRCNN, Bicubic, build_net  # noqa: E402

EVERY = [(name, scale) for name, kind in NETWORKS.items() for scale in kind.scales]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_shape(name: str, scale: int) -> None:
    net = build_net(name, scale)
    x = torch.rand(2, net.channels, 13, 17)
    assert net(x).shape == (2, net.channels, 13 * scale, 17 * scale)
    assert net.channels == NETWORKS[name].channels


def test_sizes_are_the_published_ones() -> None:
    # Dong et al. 2016, table 5: 8,032 and 57,184 weights; biases (64 + 32 + 1) come on top.
    assert build_net("srcnn-9-1-5", 4).parameters_count() == 8_032 + 97
    assert build_net("srcnn-9-5-5", 4).parameters_count() == 57_184 + 97
    # Shi et al. 2016: 5x5x64, 3x3x64x32, 3x3x32x16, with biases.
    assert build_net("espcn", 4).parameters_count() == 1_600 + 18_432 + 4_608 + 64 + 32 + 16


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_is_torchs(scale: int, channels: int) -> None:
    x = torch.rand(1, channels, 11, 9)
    theirs = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    assert float((Bicubic(scale, channels, a=-0.75)(x) - theirs).abs().max()) < 1e-6


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_espcn_begins_near_nearest_neighbour(scale: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, 12, 12)
    near = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert float((ESPCN(scale)(x) - near).detach().abs().mean()) < 0.2


def test_srcnn_begins_near_bicubic() -> None:
    torch.manual_seed(0)
    net, x = SRCNN(3, 5), torch.rand(1, 1, 12, 12)
    assert float((net(x) - net.enlarge(x)).detach().abs().mean()) < 0.2


def test_unknown_networks_and_scales_are_refused() -> None:
    with pytest.raises(ModelError, match="no network 'edsr'"):
        build_net("edsr", 4)
    with pytest.raises(ModelError, match="no scale 5"):
        build_net("espcn", 5)
