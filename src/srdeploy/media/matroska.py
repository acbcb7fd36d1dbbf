"""The little of Matroska's layout (RFC 9559, EBML: RFC 8794) that FFmpeg does not check or write."""

from pathlib import Path

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067


def is_cut_short(path: Path) -> bool:
    """Whether the file ends before its Segment does; False where the Segment does not say how long it is (live)."""
    with path.open("rb") as file:
        head = file.read(4096)
        size = file.seek(0, 2)
    position = 0
    while position < len(head) - 12:
        element, start = _vint(head, position, keep_marker=True)
        length, start = _vint(head, start, keep_marker=False)
        if element == _SEGMENT:
            return length is not None and start + length > size
        if element != _EBML or length is None:
            return False
        position = start + length
    return False


def _vint(data: bytes, position: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """An EBML variable-size integer and where it ends; None for the size "unknown" (all bits set)."""
    first = data[position] if position < len(data) else 0
    width = 9 - first.bit_length()
    if first == 0:
        return None, position + 1
    value = int.from_bytes(data[position : position + width], "big")
    if keep_marker:
        return value, position + width
    value &= (1 << (7 * width)) - 1
    return (None if value == (1 << (7 * width)) - 1 else value), position + width
