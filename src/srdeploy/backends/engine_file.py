"""Files of built engines: one line that says what is inside, a checksum, and the engine as TensorRT gave it.

srdeploy engine 1
{"spec": {...}, "build": {...}, "precision": ..., "sha256": ..., "bytes": ...}
<bytes>
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srdeploy.atomic import atomic
from srdeploy.errors import ModelError
from srdeploy.spec import METADATA_KEY, ModelSpec, spec_from_metadata

MAGIC = b"srdeploy engine 1\n"

_MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class EngineFile:
    """spec: the facts of the graph that it was built from, with the engine's own parity. build: every input to the
    build by name, those of the machine included. precision: what the engine's layers compute in, as it says itself.
    plan: the engine."""

    spec: ModelSpec
    build: Mapping[str, Any]
    precision: str
    plan: bytes


def write_engine(path: Path, engine: EngineFile) -> int:
    """Write an engine, whole by rename; its size in bytes. OutputError when it cannot be written."""
    header = {
        "spec": json.loads(engine.spec.to_json()),
        "build": dict(engine.build),
        "precision": engine.precision,
        "sha256": _checksum(engine.plan),
        "bytes": len(engine.plan),
    }
    data = MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n" + engine.plan
    with atomic(path) as part:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
    return len(data)


def read_engine(path: Path) -> EngineFile:
    """Read an engine; ModelError in one line when it is not one of ours, cut, or not what its checksum says."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ModelError(
                    f"{path} is not an engine that srdeploy built; an engine of another tool carries no facts; type: "
                    "srdeploy export and the .onnx it was made from, with --tensorrt"
                )
            line = file.readline(_MAX_HEADER)
            plan = file.read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    try:
        header = json.loads(line)
        spec, build, precision = header["spec"], header["build"], str(header["precision"])
        expected, size = header["sha256"], header["bytes"]
        if not isinstance(build, dict):
            raise TypeError("build")
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path} is damaged: its first lines do not parse; build it again") from None
    if len(plan) != size or _checksum(plan) != expected:
        raise ModelError(f"{path} is damaged: its {len(plan)} bytes are not the {size} written; build it again")
    return EngineFile(spec_from_metadata({METADATA_KEY: json.dumps(spec)}, str(path)), build, precision, plan)


def _checksum(plan: bytes) -> str:
    return hashlib.sha256(plan).hexdigest()
