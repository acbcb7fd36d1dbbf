"""From torch to ONNX: the same result, a clean graph, the same bytes twice."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch

from srdeploy.backends.ort_graph import open_graph
from srdeploy.graph.files import OPSET, parse_model
from srdeploy.learn.convert import onnx_from_net, run_net
from srdeploy.learn.nets import NETWORKS, build_net

CLEAN = {"Add", "Concat", "Conv", "DepthToSpace", "Mul", "Pad", "Relu", "Sigmoid", "Sub"}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_becomes_the_same_function(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(7)
    scale = 4 if "rgb" in name else 3
    net = build_net(name, scale)
    data = onnx_from_net(net)
    assert capfd.readouterr() == ("", "")
    model = parse_model(data, name)
    assert {node.op_type for node in model.graph.node} <= CLEAN
    assert [entry.version for entry in model.opset_import] == [OPSET] and model.ir_version <= 10
    run = open_graph(data)
    for batch, height, width in ((1, 24, 37), (2, 33, 20)):
        picture = np.random.default_rng(height).random((batch, net.channels, height, width), dtype=np.float32)
        result = run({"input": picture})["output"]
        assert result.shape == (batch, net.channels, scale * height, scale * width)
        assert np.abs(result - run_net(net, picture)).max() <= 1e-5


def test_twice_gives_the_same_bytes_without_a_path(repository: Path) -> None:
    torch.manual_seed(1)
    net = NETWORKS["espcn"].build(2)
    first = onnx_from_net(net)
    assert first == onnx_from_net(net)
    for secret in (str(repository), str(Path.home()), "site-packages", "nets.py", ".py"):
        assert secret.encode() not in first


def test_a_network_that_computes_sizes_is_refused() -> None:
    from srdeploy.errors import ModelError
    from srdeploy.learn.nets import Net

    class Reshaping(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, c, h, w = x.shape
            return x.reshape(n, c * h, w).reshape(n, c, h, w) + x

    with pytest.raises(ModelError, match="computes sizes"):
        onnx_from_net(Reshaping(1, 1))
