"""What a result's video is: encoder, tags and container, all of it decided before the first frame."""

import contextlib
import os
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError

from srdeploy.errors import OutputError
from srdeploy.media.base import EncodeOptions, one_line
from srdeploy.media.colour import assumed_matrix, gray_to_yuv, rgb_to_yuv
from srdeploy.media.containers import ANY_TAGS
from srdeploy.media.encoders import choose_encoder, hdr_parameters
from srdeploy.media.frames import frame_from_picture
from srdeploy.media.limits import steady_rate
from srdeploy.media.stream_copy import StreamCopy
from srdeploy.media.video_reader import VideoReader
from srdeploy.picture import ColorTags, Frame, Picture
from srdeploy.quiet import captured_stderr
from srdeploy.shortage import is_shortage, too_little

FORMATS = {
    ".avi": "avi",
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mp4",
    ".ts": "mpegts",
    ".webm": "webm",
}
"""FFmpeg's muxers by the suffix of the result."""


class VideoTarget:
    """How frames of the size `size` become the video of `path`, which is otherwise like the source of `like`.

    notes: what had to be changed. width, height: what is encoded, with a pixel more where the encoder needs even sides.
    Raises OutputError when the encoder is unknown or cannot hold the size or the depth.
    """

    def __init__(self, path: Path, like: VideoReader, size: tuple[int, int], options: EncodeOptions) -> None:
        self.path = path
        self.notes: list[str] = []
        self._like = like
        self._size = size
        self.format = FORMATS.get(path.suffix.lower()) or ("yuv4mpegpipe" if like.is_y4m else "nut")
        self._choice = choose_encoder(path, like.form, *size, options)
        self.width, self.height = self._choice.width, self._choice.height
        self.codec = self._choice.encoder.name
        self._color = self._tags(like.color)
        self._threads = options.threads or os.cpu_count() or 1
        hdr = hdr_parameters(like.mastering_display, like.content_light)
        self._options = self._choice.options(options, hdr, self._color.chroma_location)
        if self.format == "avi":
            self._options["bf"] = "0"  # it has no place for an order of showing
        if hdr and not self._choice.encoder.hdr:
            self.notes.append(
                f"{self._choice.encoder.name} here does not carry the HDR metadata; type --codec libx265 to keep it"
            )
        if (self.width, self.height) != size:
            self.notes.append(
                f"{path.name} is {self.width}x{self.height}, not {size[0]}x{size[1]}: "
                f"{self._choice.encoder.name} needs even sides here, so the edge is repeated by one pixel"
            )

    def settings(self) -> dict[str, Any]:
        """All that the encoded bytes depend on, as JSON can hold it."""
        return {
            "encoder": self._choice.encoder.name,
            "options": self._options,
            "threads": self._threads,
            "pixel_format": self._choice.pixel_format,
            "size": [self.width, self.height],
            "color": [getattr(self._color, name) for name in ColorTags.__dataclass_fields__],
            "libraries": [av.__version__, *(".".join(map(str, v)) for v in av.library_versions.values())],
        }

    def encoder(self) -> Any:
        """A new encoder for a stretch of frames. Raises OutputError when it does not open, as without its hardware."""
        context = av.CodecContext.create(self._choice.encoder.name, "w")
        context.options = dict(self._options)
        self._configure(context)
        self._open(context)
        return context

    def image(self, frame: Frame) -> Any:
        """A frame as the encoder takes it, with its pts and duration."""
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} for a video of {self._size}")
        image = frame_from_picture(self._converted(picture), self._choice.pixel_format, self.width, self.height)
        if self._choice.encoded != self._choice.pixel_format:
            image = image.reformat(format=self._choice.encoded)
        image.pts, image.time_base, image.duration = frame.pts, self._like.time_base, frame.duration
        image.color_range = {None: 0, False: 1, True: 2}[self._color.full_range]
        image.colorspace = 2 if self._color.matrix is None else self._color.matrix
        return image

    def open(self, file: Any, copy: StreamCopy) -> tuple[Any, Any]:
        """The container of the result, its head written, and its video stream; all other streams are those of `copy`.

        file: a path or a binary file object. Raises OutputError when the container cannot hold a stream.
        """
        container: Any = av.open(
            file,
            "w",
            format=self.format,
            # Without it every file of Matroska's has a random number in it.
            options={"fflags": "+bitexact"},
            container_options=copy.container_options(),
            **ANY_TAGS,
        )
        try:
            video = copy.add_streams(container, lambda: self._add_video(container))
            self._open(video.codec_context)
            container.start_encoding()
        except BaseException:
            with contextlib.suppress(FFmpegError, OSError):
                container.close()
            raise
        return container, video

    def _open(self, context: Any) -> None:
        chatter: list[str] = []
        try:
            with captured_stderr(chatter):
                context.open()
        except FFmpegError as error:
            if is_shortage(error) or any("malloc of size" in line for line in chatter):  # as x264 says it
                raise too_little(f"to encode {self.width}x{self.height} pixels") from None
            name, said = self._choice.encoder.name, one_line(error)
            raise OutputError(f"{name} does not open here ({said}); type --codec libx264, or without --codec") from None

    def _add_video(self, container: Any) -> Any:
        like, name = self._like, self._choice.encoder.name
        try:
            stream = container.add_stream(name, rate=like.rate, options=dict(self._options))
        except ValueError:
            instead = self.path.with_suffix(".mkv").name
            raise OutputError(f"{self.path.suffix} cannot hold video of {name}; type: -o {instead}") from None
        self._configure(stream.codec_context)
        # AVI counts frames and has no times: limits.steady_rate found the one rate that they are shown at.
        stream.time_base = 1 / steady_rate(like) if self.format == "avi" else like.time_base
        if name == "libx265" and container.format.name in {"mp4", "mov"}:
            stream.codec_context.codec_tag = "hvc1"  # the only tag that Apple's players take
        if like.display_matrix is not None:
            a, b, u, c, d, v, x, y, w = like.display_matrix
            scale = self._size[0] / like.width
            stream.set_display_matrix((a, b, u, c, d, v, round(x * scale), round(y * scale), w))
        return stream

    def _configure(self, context: Any) -> None:
        context.width, context.height, context.pix_fmt = self.width, self.height, self._choice.encoded
        context.time_base = self._like.time_base
        if self._like.rate is not None:
            context.framerate = self._like.rate
        context.thread_count = self._threads
        context.thread_type = ThreadType.FRAME  # slices would cost quality and are PyAV's default
        # One head in the container holds for all stretches: their encoders are told alike.
        context.flags |= Flags.global_header
        if self._like.sample_aspect_ratio is not None:
            context.sample_aspect_ratio = self._like.sample_aspect_ratio
        context.colorspace = 2 if self._color.matrix is None else self._color.matrix
        context.color_primaries = self._color.primaries or 2
        context.color_trc = self._color.transfer or 2
        context.color_range = {None: 0, False: 1, True: 2}[self._color.full_range]

    def _tags(self, color: ColorTags) -> ColorTags:
        """The result's colour tags: the source's, and what players would have guessed at the source's size."""
        form, layout = self._like.form, self._choice.layout
        if form.layout == "rgb" and layout == "yuv":
            return ColorTags(assumed_matrix(None, self._size[1]), 1, 1, False, 1)
        if layout == "yuv" and form.layout == "yuv" and color.matrix is None:
            matrix = assumed_matrix(None, self._like.height)
            name = {1: "BT.709", 6: "BT.601"}[matrix]
            self.notes.append(f"{self._like.path.name} does not say its colour matrix; {name} is assumed and tagged")
            return ColorTags(matrix, color.primaries, color.transfer, color.full_range, color.chroma_location)
        return color

    def _converted(self, picture: Picture) -> Picture:
        choice = self._choice
        if picture.layout == choice.layout:
            return picture
        if picture.layout == "rgb" and choice.layout == "yuv":
            return rgb_to_yuv(picture, self._color, choice.subsampling)
        if picture.layout == "gray" and choice.layout == "yuv":
            return gray_to_yuv(picture, choice.subsampling)
        raise ValueError(f"a picture of layout {picture.layout} for a video of {choice.pixel_format}")
