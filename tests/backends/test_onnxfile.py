"""Facts and weights from the bytes of a file, without an engine and without onnx."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.backends.onnxfile import read_model, read_spec
from srdeploy.errors import ModelError

onnx = pytest.importorskip("onnx")


def test_every_shipped_file_says_what_it_is() -> None:
    for path in zoo.MODELS.glob("*.onnx"):
        assert path.name.startswith(read_spec(path).name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["raw_data", "float_data", "half"])
def test_weights_that_are_no_numbers_are_refused(value: float, field: str, model_file: Callable[..., Path]) -> None:
    path = model_file(precision="fp16" if field == "half" else "fp32")
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights.flat[-1] = value
    tensor.ClearField("raw_data")
    if field == "float_data":
        tensor.float_data.extend(weights.ravel().tolist())
    else:
        tensor.raw_data = weights.tobytes()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not finite"):
        open_session(path)


def test_what_is_no_model(tmp_path: Path, model_file: Callable[..., Path]) -> None:
    data = model_file().read_bytes()
    for content in (b"\xff" * 99, b"\x0f\x00", data[:-3], b"text"):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(ModelError):
            read_model(tmp_path / "x.onnx")
