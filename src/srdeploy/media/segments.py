"""Encoded video on disk in closed segments: what was done stays done when a run is stopped, however it was.

A work folder holds `manifest.jsonl` and one file of packets for each segment. The manifest's first line says what the
bytes depend on; each further line is one closed segment: its file's name and SHA-256, and for each packet in
decoding order its pts, duration, whether it is a key frame, and its size. A segment's line is written only when
its file is safe on the disk; a line that is torn ends what counts, and a file that is not as its line says is no
segment. Files are named by the segment's number: made on many machines, later ones may be closed before earlier ones.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from srdeploy.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: two runs into one result are not told apart there
    fcntl = None  # type: ignore[assignment]

_MANIFEST = "manifest.jsonl"


class Packet(NamedTuple):
    """One encoded frame; pts and duration count in the source's time_base."""

    pts: int
    duration: int
    key: bool
    data: bytes


@dataclass(frozen=True)
class Segment:
    """A closed segment as its line in the manifest has it; packets: (pts, duration, key, size) of each."""

    file: str
    sha256: str
    packets: tuple[tuple[int, int, int, int], ...]


class Segments:
    """The work folder of one result, held by one run at a time.

    The open segment, which follows those that are closed, grows by `add` until `close_segment`; `put` closes any.
    Raises OutputError when another run holds the folder, and OSError when the disk does not take what is written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._closed: dict[int, Segment] = {}
        self._next = 0
        self._settings = json.loads(json.dumps(settings))
        folder.mkdir(exist_ok=True)
        # Unbuffered, so that what a full disk refused is not written later.
        self._manifest = (folder / _MANIFEST).open("r+b" if (folder / _MANIFEST).exists() else "w+b", buffering=0)
        self._open: Any = None
        self._packets: list[tuple[int, int, int, int]] = []
        self._hash = hashlib.sha256()
        try:
            self._lock()
        except BaseException:
            self._manifest.close()
            raise
        self.found: Mapping[str, Any] | None = self._read()

    @property
    def closed(self) -> list[Segment]:
        """The closed segments before which none is missing."""
        numbers = itertools.takewhile(self._closed.__contains__, itertools.count())
        return [self._closed[number] for number in numbers]

    @property
    def frames(self) -> int:
        """Frames in closed segments, later than a missing one or not."""
        return sum(len(segment.packets) for segment in self._closed.values())

    def length_of(self, number: int) -> int | None:
        """How many frames the segment of that number, from 0 on, has; None when it is not closed."""
        found = self._closed.get(number)
        return None if found is None else len(found.packets)

    def differences(self) -> list[str]:
        """In which settings the work that was found here was made otherwise, such as "crf: 18 then, 20 now"."""
        then, now = _flat(self.found or self._settings), _flat(self._settings)
        return [
            f"{key}: {then.get(key, 'none')} then, {now.get(key, 'none')} now"
            for key in sorted({*then, *now})
            if then.get(key) != now.get(key)
        ]

    @property
    def size(self) -> int:
        """Bytes in closed segments."""
        return sum(packet[3] for segment in self.closed for packet in segment.packets)

    @property
    def last_pts(self) -> int:
        """When the last frame in closed segments, of which there are some, is shown."""
        return max(packet[0] for packet in self.closed[-1].packets)

    def go_on(self, result: Path, must: bool) -> None:
        """Go on after the last closed segment, or forget what there is when it was made otherwise.

        must: raise OutputError, naming `result`, instead of forgetting.
        """
        differences = self.differences()
        if must and differences and self.frames:
            raise OutputError(
                f"{self.frames} frames of {result} were made otherwise ({'; '.join(differences)}); type the "
                "same again, or leave --resume out to start anew"
            )
        if self.found is None or differences:
            self._closed = {}
            self._manifest.seek(0)
            self._manifest.truncate()
            self._append({"settings": self._settings})
        self._next = len(self.closed)
        kept = {_MANIFEST, *(segment.file for segment in self._closed.values())}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def add(self, packet: Packet) -> None:
        """Append a packet to the open segment."""
        if self._open is None:
            self._open = (self.folder / "open").open("wb")
            self._packets, self._hash = [], hashlib.sha256()
        self._open.write(packet.data)
        self._hash.update(packet.data)
        self._packets.append((packet.pts, packet.duration, int(packet.key), len(packet.data)))

    def close_segment(self) -> None:
        """Make the open segment safe: its bytes, its name, then its line in the manifest."""
        if self._open is None:
            return
        file = f"{self._next:06}"
        self._open.flush()
        os.fsync(self._open.fileno())
        self._open.close()
        self._open = None
        (self.folder / "open").rename(self.folder / file)
        segment = Segment(file, self._hash.hexdigest(), tuple(self._packets))
        self._append({"file": file, "sha256": segment.sha256, "packets": segment.packets})
        self._closed[self._next] = segment
        self._next += 1

    def put(self, number: int, packets: Iterable[Packet]) -> None:
        """Close the segment of that number, all of whose packets are given."""
        self._next = number
        for packet in packets:
            self.add(packet)
        self.close_segment()

    def forget_rest(self) -> None:
        """Keep only the segments before the one that would be closed next."""
        self._closed = {number: segment for number, segment in self._closed.items() if number < self._next}

    def packets(self) -> Iterator[Packet]:
        """All packets of the closed segments, in decoding order. Raises OutputError when a file has changed."""
        for segment in self.closed:
            digest = hashlib.sha256()
            with (self.folder / segment.file).open("rb") as file:
                for pts, duration, key, size in segment.packets:
                    data = file.read(size)
                    digest.update(data)
                    yield Packet(pts, duration, bool(key), data)
            if digest.hexdigest() != segment.sha256:
                raise OutputError(
                    f"{self.folder / segment.file} has changed since it was written; remove that file and go on "
                    "with --resume"
                )

    def reordering(self) -> int:
        """By how many frames decoding must run ahead of showing."""
        most = 0
        for segment in self.closed:
            rank = {pts: place for place, pts in enumerate(sorted(packet[0] for packet in segment.packets))}
            most = max(most, *(index - rank[packet[0]] for index, packet in enumerate(segment.packets)))
        return most

    def leave(self) -> None:
        """Let go of the folder, which stays when there is anything in it to go on with."""
        if not self._closed:
            self.remove()
        else:
            self._close()

    def remove(self) -> None:
        """Let go of the folder and remove it."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        if self._open is not None:
            with contextlib.suppress(OSError):
                self._open.close()
        self._manifest.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another run is making this result in {self.folder}; wait for it, or type another -o"
            ) from None

    def _read(self) -> Mapping[str, Any] | None:
        """Read the manifest, and keep what holds; None where there is none."""
        settings: Mapping[str, Any] | None = None
        end = 0
        for line in self._manifest.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                if settings is None:
                    settings = record["settings"]
                else:
                    packets = tuple(tuple(packet) for packet in record["packets"])
                    segment = Segment(record["file"], record["sha256"], packets)
                    self._closed[int(segment.file)] = segment
            except (ValueError, KeyError, TypeError):
                break
            end += len(line)
        self._manifest.seek(end)
        self._manifest.truncate()
        self._closed = {number: segment for number, segment in self._closed.items() if self._is_whole(segment)}
        return settings

    def _is_whole(self, segment: Segment) -> bool:
        try:
            return _digest(self.folder / segment.file) == segment.sha256
        except OSError:
            return False

    def _append(self, record: Mapping[str, Any]) -> None:
        end = self._manifest.tell()
        line = json.dumps(record).encode() + b"\n"
        try:
            while line:
                line = line[self._manifest.write(line) :]
            os.fsync(self._manifest.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._manifest.seek(end)
                self._manifest.truncate()
            raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key} ") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
