"""What bf16 loses is measured on pictures of the person's, and stamped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srdeploy import loss, zoo
from srdeploy.backends import open_session, openvino
from srdeploy.backends.onnxfile import read_spec
from srdeploy.calibration import calibration_pairs
from srdeploy.export import export

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")

pytestmark = pytest.mark.skipif(not openvino.has_bf16(), reason="this processor has no bf16")


def test_the_loss_of_bf16_is_measured() -> None:
    path = zoo.find("espcn-x2")
    pairs = calibration_pairs(None, 1, 2, 1)
    (lost,) = loss.engine_losses(path, pairs).values()
    assert -0.01 < lost < 0.05
    exact = open_session(path, "ort", "cpu")
    assert loss.psnr_lost(exact, exact, pairs) == 0


def test_an_export_stamps_it(foreign_rgb: Callable[[int, int, float], Any], samples: Path, tmp_path: Path) -> None:
    source = tmp_path / "theirs-x2.onnx"
    onnx.save(foreign_rgb(18, 8, 0.05), source)
    made = export(str(source), data=samples, out=tmp_path / "measured").files[0]
    assert set(read_spec(made.path).quality_loss_db) == {"openvino/bf16"}
    assert made.bytes == made.path.stat().st_size
    assert read_spec(made.path).parity == made.parity
    plain = export(str(source), out=tmp_path / "plain").files[0]
    assert read_spec(plain.path).quality_loss_db == {}


def test_the_default_model_says_it() -> None:
    assert 0 < read_spec(zoo.find()).quality_loss_db["openvino/bf16"] < 0.05
