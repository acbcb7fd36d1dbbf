"""Files of FFmpeg's kinds, opened with care, and what they say that PyAV does not show."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from srdeploy.errors import InputError
from srdeploy.media.base import MAX_PIXELS, one_line
from srdeploy.media.kinds import has_cut_index, sniff
from srdeploy.media.matroska import is_cut_short
from srdeploy.media.names import RATE, files_of, is_sequence, number_of
from srdeploy.media.pipes import Counted

ANY_TAGS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
"""Words for av.open by which tags that are no UTF-8 are copied as they are; from PyAV 19 on it does so unasked."""


def open_container(path: Path, pipe: Counted | None = None) -> InputContainer:
    """Open a video file, or `pipe`, for demuxing. Raises InputError when it is missing, no video, or has no index."""
    sequence = files_of(path) if pipe is None and is_sequence(path) else []
    if pipe is None and not sequence:
        sniff(path)
        if has_cut_index(path):
            raise InputError(f"{path} ends inside its index (moov), so streams may be missing; fetch or make it again")
    # "file:" keeps a colon in a name from being read as a protocol; the list keeps a playlist from opening others.
    options = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    kind = None
    if sequence:
        kind = "image2"
        first = str(number_of(path, sequence[0]))
        options |= {"start_number": first, "framerate": str(RATE), "pattern_type": "sequence"}
    try:
        opened: InputContainer = av.open(pipe or f"file:{path}", "r", format=kind, options=options, **ANY_TAGS)
        return opened
    except FFmpegError as error:
        if pipe is not None:
            raise InputError(
                f"standard input is no video that is read as it comes ({one_line(error)}); send Y4M, NUT or Matroska"
            ) from None
        raise InputError(
            f"{path} is not a whole picture or video: {one_line(error)} (an mp4 cut before its end has no index); "
            "fetch or make it again"
        ) from None


def is_whole_video(path: Path) -> bool:
    """Whether every packet that the file's index knows of can be read. Decodes nothing. Raises InputError."""
    packets: Counter[int] = Counter()
    with open_container(path) as container:
        try:
            for packet in container.demux():
                if packet.is_corrupt:
                    return False
                packets[packet.stream_index] += packet.size > 0
        except FFmpegError:
            return False
        if container.streams.best("video") is None or not packets:
            return False
        if "mp4" in container.format.name and any(packets[s.index] < len(s.index_entries) for s in container.streams):
            return False
        return "matroska" not in container.format.name or not is_cut_short(path)


def chroma_location(stream: Any) -> int | None:
    """FFmpeg's AVChromaLocation of a video stream.

    PyAV does not show it, but a Matroska header made for the stream tells it: ChromaSitingHorz (0x55B7) and
    ChromaSitingVert (0x55B8), where 1 is collocated and 2 is half a sample in.
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska", container_options={"allow_raw_vfw": "1"}) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            blob = header.getvalue()
    except (FFmpegError, ValueError):
        return None
    across, down = (blob.partition(element + b"\x81")[2][:1] for element in (b"\x55\xb7", b"\x55\xb8"))
    return {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}.get((_number(across), _number(down)))


def _number(byte: bytes) -> int:
    return byte[0] if byte else 0
