"""Pictures and videos in files: the only door to OpenCV and PyAV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srdeploy.errors import OutputError
from srdeploy.media.base import DEFAULT_OPTIONS, EncodeOptions, Reader, Writer
from srdeploy.media.kinds import is_media, result_suffix, sniff

__all__ = ["EncodeOptions", "Reader", "Writer", "is_media", "open_reader", "open_writer", "result_suffix"]


def open_reader(path: Path, threads: int | None = None) -> Reader:
    """Open a picture or a video, told apart by content; `threads` are the decoder's (None = one for each core).

    Raises InputError when the file is missing, empty, damaged, or neither.
    """
    if sniff(path) == "video":
        from srdeploy.media.video_reader import VideoReader

        return VideoReader(path, threads)
    from srdeploy.media.pictures import PictureReader

    return PictureReader(path)


def open_writer(
    path: Path,
    like: Reader,
    width: int,
    height: int,
    options: EncodeOptions = DEFAULT_OPTIONS,
    key: Mapping[str, Any] | None = None,
    must_go_on: bool = False,
) -> Writer:
    """Open a result of `width` x `height` pixels; all that is not pixels comes from the source of `like`.

    The suffix of `path` names the format. key: what the bytes of a video depend on beside the source and the options;
    work on a video that was stopped is gone on with when all of it is the same, and else started anew, or refused when
    it must_go_on. Raises OutputError, before anything is computed, when the format cannot hold
    the size, the depth, the alpha or a stream of the source, or when `path` is the source itself.
    """
    if path.exists() and path.samefile(like.path):
        raise OutputError(f"{path} is the source itself; type -o with another name")
    from srdeploy.media.pictures import PictureReader, PictureWriter

    if isinstance(like, PictureReader):
        if options != EncodeOptions(threads=options.threads):
            raise OutputError(f"{path} is a picture and takes no --codec, --crf or --preset; leave them out")
        return PictureWriter(path, like, width, height)
    from srdeploy.media.video_reader import VideoReader
    from srdeploy.media.video_writer import VideoWriter

    if not isinstance(like, VideoReader):
        raise TypeError(f"a reader of open_reader is needed, not {type(like).__name__}")
    return VideoWriter(path, like, width, height, options, key, must_go_on)
