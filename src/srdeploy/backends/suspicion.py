"""What an ONNX file must not be, told from its bytes before an engine reads it.

Fields of onnx.proto (Apache 2.0): GraphProto.node = 1, .initializer = 5; NodeProto.op_type = 4, .attribute = 5;
AttributeProto.t = 5, .g = 6, .tensors = 10, .graphs = 11; TensorProto.dims = 1, .data_type = 2, .raw_data = 9,
.external_data = 13, .data_location = 14.
"""

from collections.abc import Iterator
from math import prod

from srdeploy.backends.wire import fields, messages, numbers
from srdeploy.errors import ModelError

_GRAPH, _NODE, _INITIALIZER, _OP_TYPE, _ATTRIBUTE = 7, 1, 5, 4, 5
_DIMS, _DATA_TYPE, _RAW_DATA, _EXTERNAL = 1, 2, 9, (13, 14)
_TENSORS, _GRAPHS = (5, 10), (6, 11)
_LOOPS = (b"Loop", b"Scan", b"SequenceMap")
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of one element, by TensorProto.DataType; kinds that are not here are not judged."""

_DEEPEST = 32
"""Graphs inside graphs; networks have none or one."""


def refuse_hostile(data: bytes, path: str) -> None:
    """Raise ModelError for weights in other files, tensors that claim more than they have, loops, and graphs in graphs.

    ValueError or IndexError when `data` is no protobuf message.
    """
    for graph in messages(memoryview(data), _GRAPH):
        for node in _nodes(graph, path, 0):
            for number, value in fields(node):
                if number == _OP_TYPE and isinstance(value, memoryview) and bytes(value) in _LOOPS:
                    raise ModelError(f"{path} computes in a {bytes(value).decode()}, which may not end; it is not run")


def _nodes(graph: memoryview, path: str, depth: int) -> Iterator[memoryview]:
    if depth > _DEEPEST:
        raise ModelError(f"{path} has graphs inside graphs, more than {_DEEPEST} deep; it is not run")
    for number, value in fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == _INITIALIZER:
            _check_tensor(value, path)
        elif number == _NODE:
            yield value
            for attribute in messages(value, _ATTRIBUTE):
                for kind, held in fields(attribute):
                    if kind in _TENSORS and isinstance(held, memoryview):
                        _check_tensor(held, path)
                    elif kind in _GRAPHS and isinstance(held, memoryview):
                        yield from _nodes(held, path, depth + 1)


def _check_tensor(tensor: memoryview, path: str) -> None:
    dims: list[int] = []
    kind = size = raw = 0
    for number, value in fields(tensor):
        if number in _EXTERNAL and value:
            raise ModelError(f"{path} keeps weights in another file, and no other file is opened; export it again")
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else numbers(value)
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif isinstance(value, memoryview):
            size += len(value)
            raw = max(raw, len(value)) if number == _RAW_DATA else raw
        else:
            size += 1
    claimed = prod(dims)
    if claimed > size if not raw else claimed * _BYTES.get(kind, 0) > raw:
        raise ModelError(f"{path} claims {claimed:,} weights where it has {size:,} bytes; export it again")
