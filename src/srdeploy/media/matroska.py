"""The little of Matroska's layout (RFC 9559; EBML: RFC 8794) that FFmpeg does not check, or PyAV does not let write."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EBML, _SEGMENT, _SEEK_HEAD, _VOID = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0xEC
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_TRACKS, _TRACK, _VIDEO, _CLUSTER = 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = b"\x54\xb0", b"\x54\xba"

_HEAD = 1 << 22


@dataclass(frozen=True)
class _Element:
    """One element: its ID, where it begins, where its content begins and ends (None = to the end of the file)."""

    identity: int
    start: int
    content: int
    end: int | None


def is_cut_short(path: Path) -> bool:
    """Whether the file ends before its Segment does; False where the Segment does not say how long it is (live)."""
    with path.open("rb") as file:
        head = file.read(4096)
        size = file.seek(0, 2)
    segment = next((e for e in _elements(head, 0, len(head)) if e.identity == _SEGMENT), None)
    return segment is not None and segment.end is not None and segment.end > size


def set_display_size(path: Path, stream: int, width: int, height: int) -> bool:
    """Write the size at which track number `stream` (from 0) is shown into a file that FFmpeg's muxer made.

    The space is taken from the void that the muxer leaves before Info, so nothing after Tracks moves. False, and the
    file as it was, when there is too little of it or the layout is another.
    """
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD))
        segment = next((e for e in _elements(head, 0, len(head)) if e.identity == _SEGMENT), None)
        if segment is None:
            return False
        parts: dict[int, _Element] = {}
        for element in _elements(head, segment.content, len(head)):
            if element.identity == _CLUSTER:
                break
            parts.setdefault(element.identity, element)
        void, tracks = parts.get(_VOID), parts.get(_TRACKS)
        if void is None or void.end is None or tracks is None or tracks.end is None or void.start > tracks.start:
            return False
        shown = (
            _DISPLAY_WIDTH + b"\x84" + width.to_bytes(4, "big") + _DISPLAY_HEIGHT + b"\x84" + height.to_bytes(4, "big")
        )
        new = _with_video(head, tracks, stream, shown)
        growth = len(new) - (tracks.end - tracks.start)
        left = void.end - void.start - growth
        if left < 9:
            return False
        between = head[void.end : tracks.start]
        empty = bytes([_VOID, 1]) + (left - 9).to_bytes(7, "big") + bytes(left - 9)
        _move_seeks(head, parts.get(_SEEK_HEAD), void.end - segment.content, tracks.start - segment.content, growth)
        head[void.start : tracks.end] = empty + between + new
        file.seek(0)
        file.write(head)
    return True


def _with_video(data: bytearray, tracks: _Element, stream: int, addition: bytes) -> bytes:
    """The Tracks element with `addition` at the end of the Video element of one track."""
    entries = []
    number = -1
    for entry in _elements(data, tracks.content, tracks.end or len(data)):
        body = bytes(data[entry.content : entry.end])
        number += entry.identity == _TRACK
        if entry.identity == _TRACK and number == stream:
            children = []
            for child in _elements(body, 0, len(body)):
                inside = body[child.content : child.end] + (addition if child.identity == _VIDEO else b"")
                children.append(_encoded(child.identity, inside))
            body = b"".join(children)
        entries.append(_encoded(entry.identity, body))
    return _encoded(_TRACKS, b"".join(entries))


def _move_seeks(data: bytearray, head: _Element | None, first: int, last: int, by: int) -> None:
    """Take `by` from the positions in a SeekHead that point from `first` to `last` (from the Segment's content)."""
    if head is None:
        return
    for seek in _elements(data, head.content, head.end or len(data)):
        for field in _elements(data, seek.content, seek.end or len(data)):
            if seek.identity != _SEEK or field.identity != _SEEK_POSITION:
                continue
            position = int.from_bytes(data[field.content : field.end], "big")
            if first <= position <= last:
                moved = (position - by).to_bytes((field.end or 0) - field.content, "big")
                data[field.content : field.end] = moved


def _encoded(identity: int, content: bytes) -> bytes:
    """An element with a size of four bytes."""
    return (
        identity.to_bytes(-(-identity.bit_length() // 8), "big") + (len(content) | 1 << 28).to_bytes(4, "big") + content
    )


def _elements(data: bytes | bytearray, start: int, end: int) -> Iterator[_Element]:
    """The elements that stand side by side from `start` to `end`."""
    while start < end - 1:
        identity, at = _number(data, start, keep_marker=True)
        length, content = _number(data, at, keep_marker=False)
        if identity is None or content > end:
            return
        element = _Element(identity, start, content, None if length is None else content + length)
        yield element
        if element.end is None:
            return
        start = element.end


def _number(data: bytes | bytearray, position: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """An EBML variable-size integer and where it ends; None for the size "unknown" (all bits set)."""
    first = data[position] if position < len(data) else 0
    if first == 0:
        return None, position + 1
    width = 9 - first.bit_length()
    value = int.from_bytes(data[position : position + width], "big")
    if keep_marker:
        return value, position + width
    most = (1 << (7 * width)) - 1
    return (None if value & most == most else value & most), position + width
