"""Protobuf's wire format (protobuf.dev/programming-guides/encoding), read without a schema."""

from collections.abc import Iterator


def messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of one field that are messages, texts or bytes, in order."""
    return (value for number, value in fields(data) if number == wanted and isinstance(value, memoryview))


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a message; ValueError or IndexError when it is cut or none."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if not key >> 3:  # as in a file of zeros, which would be read for minutes
            raise ValueError("field 0")
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if length is None:
            if wire != 2:
                raise ValueError(f"wire type {wire}")
            length, at = _varint(data, at)
        if at + length > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + length]
        at += length


def numbers(packed: memoryview) -> list[int]:
    """A packed repeated field of integers."""
    found, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
