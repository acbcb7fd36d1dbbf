"""What a model file says of itself, read from its bytes without any engine; and whether its weights are numbers.

An ONNX file is a protobuf message (ModelProto of onnx.proto, Apache 2.0). Only the fields that are needed are read:
ModelProto.graph = 7 and .metadata_props = 14, GraphProto.initializer = 5, TensorProto.data_type = 2, .float_data = 4,
.raw_data = 9.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends.suspicion import refuse_hostile
from srdeploy.backends.wire import fields, messages
from srdeploy.errors import ModelError
from srdeploy.spec import ModelSpec, spec_from_metadata

MAX_BYTES = 1 << 31
"""A protobuf message ends at 2 GiB, and so does a model in one file."""

_GRAPH, _METADATA, _INITIALIZER = 7, 14, 5
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA = 2, 4, 9
_FLOATS: dict[object, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
"""TensorProto.DataType: FLOAT, FLOAT16, DOUBLE."""


def read_model(path: Path) -> tuple[bytes, ModelSpec]:
    """The bytes of an exported file and the facts stamped into it.

    Raises ModelError when it cannot be read, is no ONNX model, carries no facts, is hostile (see suspicion), or holds
    weights that are not finite: such a network runs, and gives black.
    """
    data = _read(path)
    try:
        metadata = dict(_metadata(data))
        spec = spec_from_metadata(metadata, str(path))
        refuse_hostile(data, str(path))
        broken = any(not np.isfinite(values).all() for values in _float_weights(data))
    except (ValueError, IndexError):
        raise ModelError(
            f"{path} is damaged or not an ONNX model; export it again, or for models that ship type: srdeploy info"
        ) from None
    if broken:
        raise ModelError(f"{path} holds weights that are not finite (NaN or infinite); export it from sound weights")
    return data, spec


def read_spec(path: Path) -> ModelSpec:
    """The facts stamped into an exported file. Raises ModelError as read_model."""
    return read_model(path)[1]


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path} is empty; export it again")
        if size >= MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes; a model in one file has less than 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def _metadata(data: bytes) -> Iterator[tuple[str, str]]:
    for entry in messages(memoryview(data), _METADATA):
        words = {number: bytes(value).decode() for number, value in fields(entry) if isinstance(value, memoryview)}
        yield words.get(1, ""), words.get(2, "")


def _float_weights(data: bytes) -> Iterator[np.ndarray[Any, Any]]:
    for graph in messages(memoryview(data), _GRAPH):
        for tensor in messages(graph, _INITIALIZER):
            found = list(fields(tensor))
            kind = next((value for number, value in found if number == _DATA_TYPE), 0)
            for number, value in found:
                if isinstance(value, memoryview) and kind in _FLOATS and number in (_RAW_DATA, _FLOAT_DATA):
                    # float_data, where float tensors may stand instead, is packed: the same bytes.
                    yield np.frombuffer(value, _FLOATS[kind] if number == _RAW_DATA else _FLOATS[1])
