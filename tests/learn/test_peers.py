"""What our files are measured against computes the same."""

from pathlib import Path

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.backends.plain import open_plain

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnxscript", reason="needs the extra train")


def test_the_plain_export_is_the_same_network_with_a_resize(tmp_path: Path) -> None:
    from srdeploy.learn.peers import export_plainly

    path = tmp_path / "plain.onnx"
    export_plainly(zoo.find_weights("srcnn-rgb-x4"), path)
    assert "Resize" in {node.op_type for node in onnx.load(path).graph.node}
    pixels = np.random.default_rng(0).integers(0, 256, (1, 21, 34, 3), np.uint8)
    ours = open_session(zoo.find("srcnn-rgb-x4"), "ort", "cpu", threads=1).run(pixels)
    apart = np.abs(ours.astype(int) - open_plain(path, 1)(pixels))
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 1e-3 * apart.size
