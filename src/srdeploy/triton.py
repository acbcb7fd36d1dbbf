"""A model repository for NVIDIA's Triton Inference Server: a folder for each model, with numbered versions.

The layout and the configuration are those of Triton's documentation ("Model Repository", "Model Configuration"); the
configuration's text format is protobuf's of the message `inference.ModelConfig`.
"""

import filecmp
import json
import shutil
import tempfile
from pathlib import Path

from srdeploy.atomic import atomic
from srdeploy.errors import OutputError
from srdeploy.spec import ModelSpec

MAX_BATCH = 8
"""Pictures of one size that the server may put together; a GPU is busy with fewer at the sizes of video."""

KEPT_VERSIONS = 2
"""Versions that the server offers: the new one, and the one before it to go back to."""


def add_to_repository(file: Path, spec: ModelSpec, repository: Path) -> Path:
    """Add an exported file as the next version of its model; give the path under which the server finds it.

    An .onnx file becomes REPOSITORY/NAME.PRECISION[.float]/VERSION/model.onnx, an engine .../model.plan. A
    configuration that is there already is kept, since people tune theirs, and so is a last version of the same bytes.
    Raises OutputError when the repository cannot be written.
    """
    engine = file.suffix == ".engine"
    name = file.stem if not engine else f"{spec.name}.{spec.precision}.engine"
    model = repository / name
    try:
        model.mkdir(parents=True, exist_ok=True)
        config = model / "config.pbtxt"
        if not config.exists():
            with atomic(config) as part:
                part.write_text(_config(name, spec, "tensorrt" if engine else "onnxruntime"), encoding="utf-8")
        numbers = [int(path.name) for path in model.iterdir() if path.is_dir() and path.name.isdecimal()]
        inside = "model.plan" if engine else "model.onnx"
        last = model / str(max(numbers, default=0)) / inside
        if last.is_file() and filecmp.cmp(file, last, shallow=False):
            return last
        # A server may be polling the folder: the version appears with the model in it, or not at all.
        with tempfile.TemporaryDirectory(prefix=".part-", dir=model) as folder:
            whole = Path(folder) / "version"
            whole.mkdir()
            shutil.copyfile(file, whole / inside)
            return whole.rename(model / str(max(numbers, default=0) + 1)) / inside
    except OSError as error:
        raise OutputError(f"cannot write to {model}: {error.strerror or error}; type another --triton") from None


def _config(name: str, spec: ModelSpec, backend: str) -> str:
    if spec.pixels == "uint8":
        kind, dims = "TYPE_UINT8", f"[ -1, -1, {spec.channels} ]"
    else:
        kind, dims = "TYPE_FP32", f"[ {spec.channels}, -1, -1 ]"
    border = f"data_type: {kind}\n    dims: {dims}"
    return f"""name: {json.dumps(name)}
backend: "{backend}"
max_batch_size: {MAX_BATCH}
input [
  {{
    name: "input"
    {border}
  }}
]
output [
  {{
    name: "output"
    {border}
  }}
]
dynamic_batching {{ }}
version_policy {{ latest {{ num_versions: {KEPT_VERSIONS} }} }}
"""
