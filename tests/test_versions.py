"""The files that ship, in the engine of two years ago and in today's: they load in both, and give the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.graph.files import OPSET, load_model

onnx = pytest.importorskip("onnx")

THEN = "onnxruntime==1.20.1"
"""Of November 2024, and the oldest that pyproject.toml allows."""

SCRIPT = """
import sys
import numpy as np, onnxruntime
assert onnxruntime.__version__ == sys.argv[1], onnxruntime.__version__
given, made = dict(np.load(sys.argv[2])), {}
for path in sys.argv[4:]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    pixels = given[str(max(side for side in value.shape if side in (1, 3)))]
    if value.type == "tensor(float)":
        pixels = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    (made[path],) = session.run(None, {value.name: pixels})
np.savez(sys.argv[3], **made)
"""


def test_the_operator_set_is_the_same_in_all_files() -> None:
    for path in zoo.MODELS.glob("*.onnx"):
        model = load_model(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)], path
        assert model.ir_version == 8, path


def test_the_engine_of_two_years_ago_gives_the_same(aside: Callable[[str], Path], tmp_path: Path) -> None:
    files = sorted(map(str, zoo.MODELS.glob("*.onnx")))
    picture = np.random.default_rng(5).integers(0, 256, (1, 24, 32, 3), np.uint8)
    picture = np.sort(picture, axis=2)  # slopes, as pictures have them
    np.savez(tmp_path / "given.npz", **{"1": picture[..., :1], "3": picture})
    words = [THEN.partition("==")[2], tmp_path / "given.npz", tmp_path / "made.npz", *files]
    environment = {**os.environ, "PYTHONPATH": str(aside(THEN))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    assert set(made) == set(files)
    for path in files:
        session = open_session(Path(path), "ort", "cpu", threads=1)
        pixels = picture[..., : session.spec.channels]
        if session.spec.pixels == "float":
            now, then = session.run(pixels.astype(np.float32) / np.float32(255)), made[path].transpose(0, 2, 3, 1)
            assert np.abs(now - then).max() < 1e-5, path
        else:
            if ".int8-trt." in path:
                continue  # TensorRT's form: it loads, and its sums in float are not those that files for CPUs pin
            apart = np.abs(session.run(pixels).astype(int) - made[path])
            assert apart.max() <= 1, path
            assert np.count_nonzero(apart) <= 1e-3 * apart.size, path
