"""Pictures and videos in files: the only door to OpenCV, PyAV and Pillow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srdeploy.errors import InputError, OutputError
from srdeploy.media.base import DEFAULT_OPTIONS, MAX_PIXELS, PIPE, EncodeOptions, Reader, Writer, work_folder
from srdeploy.media.kinds import ANIMATIONS, VIDEO_SUFFIXES, is_gif, is_media, read_bytes, result_suffix, sniff
from srdeploy.media.names import files_of, is_sequence

__all__ = [
    "VIDEO_SUFFIXES",
    "EncodeOptions",
    "Reader",
    "Writer",
    "claimed_pixels",
    "is_media",
    "is_whole",
    "open_reader",
    "open_writer",
    "result_suffix",
    "sniff",
]


def open_reader(
    path: Path,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    target: Path | None = None,
    start: float | None = None,
    end: float | None = None,
    deinterlace: bool = False,
) -> Reader:
    """Open a picture, an animation or a video, told apart by content.

    threads: the decoder's (None = one for each core). max_pixels: larger pictures and frames are refused.
    target: where the result will go; an animated PNG is read as a video for one that is no picture, an animated GIF as
    pictures for one that is an animation of them. start, end: seconds between which frames of a video are read.
    deinterlace: interlaced frames of a video become progressive ones. PIPE is standard input.

    Raises InputError when the file is missing, empty, damaged, or neither.
    """
    if path == PIPE or is_sequence(path):
        return _video(path, threads, max_pixels, start, end, deinterlace)
    kind = sniff(path)
    if kind == "apng" and target is not None and target.suffix.lower() in VIDEO_SUFFIXES:
        kind = "video"
    if kind == "video" and target is not None and _as_pictures(path, target) and start is None and end is None:
        kind = "agif"
    if kind == "video":
        return _video(path, threads, max_pixels, start, end, deinterlace)
    if start is not None or end is not None:
        raise InputError(f"{path} is no video, and --start and --end are for videos; leave them out")
    if kind in ANIMATIONS or kind == "agif":
        from srdeploy.media.animation import AnimationReader

        animation = AnimationReader(path, kind[1:], max_pixels)
        if kind != "aavif" or animation.frames != 1:
            return animation
    from srdeploy.media.pictures import PictureReader

    return PictureReader(path, max_pixels)


def _as_pictures(path: Path, target: Path) -> bool:
    """Whether a GIF is to become an animated PNG or WebP, which hold its alpha and how often it plays."""
    return target.suffix.lower() in (".png", ".apng", ".webp") and is_gif(path)


def _video(
    path: Path, threads: int | None, max_pixels: int, start: float | None, end: float | None, deinterlace: bool
) -> Reader:
    from srdeploy.media import headers
    from srdeploy.media.video_reader import VideoReader

    reader = VideoReader(path, threads, start, end, deinterlace)
    try:
        headers.check_size(path, reader.width, reader.height, max_pixels)
    except InputError:
        reader.close()
        raise
    return reader


def open_writer(
    path: Path,
    like: Reader,
    width: int,
    height: int,
    options: EncodeOptions = DEFAULT_OPTIONS,
    key: Mapping[str, Any] | None = None,
    must_go_on: bool = False,
    overwrite: bool = False,
) -> Writer:
    """Open a result of `width` x `height` pixels; all that is not pixels comes from the source of `like`.

    The suffix of `path` names the format. key: what the bytes of a video depend on beside the source and the options;
    work on one, or on numbered pictures, that was stopped is gone on with when all of it is the same, and else started
    anew, or refused when it must_go_on. overwrite: numbered pictures that exist are replaced.

    Raises OutputError, before anything is computed, when the format cannot hold the size, the depth, the alpha or a
    stream of the source, or when `path` is the source itself.
    """
    if path != PIPE and like.path != PIPE and path.exists() and path.samefile(like.path):
        raise OutputError(f"{path} is the source itself; type -o with another name")
    from srdeploy.media.pictures import PictureReader, PictureWriter

    if isinstance(like, PictureReader) and path != PIPE:  # PyAV is for videos, and takes a tenth of a second to import
        _refuse_options(path, options)
        return PictureWriter(path, like, width, height)
    from srdeploy.media.video_reader import VideoReader

    if path == PIPE:
        if not isinstance(like, VideoReader):
            raise OutputError(f"-o - is for videos, and {like.path} is none; type -o with the name of a file")
        from srdeploy.media.pipes import PipeWriter

        return PipeWriter(like, width, height, options)
    if isinstance(like, VideoReader) and is_sequence(path):
        from srdeploy.media.sequence import SequenceWriter

        return SequenceWriter(path, like, width, height, key, must_go_on, overwrite)
    if isinstance(like, VideoReader):
        from srdeploy.media.video_writer import VideoWriter

        return VideoWriter(path, like, width, height, options, key, must_go_on)
    _refuse_options(path, options)
    from srdeploy.media.animation import AnimationReader, AnimationWriter

    if not isinstance(like, AnimationReader):
        raise TypeError(f"a reader of open_reader is needed, not {type(like).__name__}")
    return AnimationWriter(path, like, width, height)


def _refuse_options(path: Path, options: EncodeOptions) -> None:
    if options != EncodeOptions(threads=options.threads):
        raise OutputError(f"{path} is a picture and takes no --codec, --crf or --preset; leave them out")


def claimed_pixels(path: Path) -> int | None:
    """How many pixels a picture claims to have; None for a video, and for what cannot be read."""
    from srdeploy.media import headers

    try:
        kind = sniff(path)
        size = None if kind in {"video"} | ANIMATIONS else headers.claimed_size(read_bytes(path), kind)
    except InputError:
        return None
    return None if size is None else size[0] * size[1]


def is_whole(path: Path, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether a result of an earlier run is all there: a picture is decoded, a video's packets are counted.

    Numbered pictures are when they follow each other without a gap, and none of them waits for its name.
    max_pixels: what claims more is none of ours.
    """
    try:
        if is_sequence(path):
            return bool(files_of(path)) and not work_folder(path).exists()
        if sniff(path) == "video":
            from srdeploy.media.containers import is_whole_video

            return is_whole_video(path)
        reader = open_reader(path, max_pixels=max_pixels)
        try:
            return sum(1 for _ in reader) == reader.frames
        finally:
            reader.close()
    except InputError:
        return False
