"""A video like its source, with other frames: every time, stream, tag and chapter as it was."""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.codec.context import ThreadType
from av.error import FFmpegError

from srdeploy.errors import OutputError
from srdeploy.media.base import DEFAULT_OPTIONS, EncodeOptions, one_line, part_path, partial_path
from srdeploy.media.colour import assumed_matrix, gray_to_yuv, rgb_to_yuv
from srdeploy.media.encoders import choose_encoder, hdr_parameters
from srdeploy.media.frames import frame_from_picture
from srdeploy.media.kinds import VIDEO_SUFFIXES
from srdeploy.media.matroska import set_display_size
from srdeploy.media.stream_copy import StreamCopy
from srdeploy.media.video_reader import VideoReader
from srdeploy.picture import ColorTags, Frame, Picture

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


class VideoWriter:
    """Encodes frames of `width` x `height` into `path` and copies all else from the source of `like`; see base.Writer.

    Frames are given in the order of their pts, in the source's time_base; each keeps its pts and duration. Sound,
    subtitles, other videos, attachments, chapters, metadata and dispositions are copied; the colour tags, the sample
    aspect ratio and the display matrix (its shift scaled with the size) are the source's.

    Raises OutputError when the container cannot hold a stream or the encoder the size or the depth, all of it before
    the first frame; later, when the disk is full.
    """

    def __init__(
        self, path: Path, like: VideoReader, width: int, height: int, options: EncodeOptions = DEFAULT_OPTIONS
    ) -> None:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            known = " ".join(sorted(VIDEO_SUFFIXES))
            raise OutputError(f"cannot write {path}: no video of the kind '{path.suffix}'; type one of {known}")
        self.path = path
        self.notes: list[str] = []
        self._like = like
        self._size = (width, height)
        self._options = options
        self._choice = choose_encoder(path, like.form, width, height, options)
        self._color = self._tags(like.color)
        self._durations: dict[int, int] = {}
        self._held: Any = None
        self._millis = path.suffix.lower() in {".mkv", ".webm"}
        self._done = False
        self._first_dts: int | None = None
        self._span: tuple[int, int] | None = None
        self._part = part_path(path)
        self._copy = StreamCopy(like, path)
        try:
            self._container = self._open()
        except BaseException:
            self._copy.close()
            self._part.unlink(missing_ok=True)
            raise
        self.notes += self._copy.notes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._done:
                self._finish(self.path, float("inf"))
        finally:
            self._copy.close()
            if not self._done:
                with contextlib.suppress(FFmpegError, OSError):
                    self._container.close()
                self._part.unlink(missing_ok=True)

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises ValueError when its size is not the writer's, OutputError when the disk is full."""
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} for a video of {self._size}")
        image = frame_from_picture(
            self._converted(picture), self._choice.pixel_format, self._choice.width, self._choice.height
        )
        image.pts = frame.pts
        image.time_base = self._like.time_base
        image.duration = frame.duration
        image.color_range = self._stream.codec_context.color_range
        image.colorspace = self._stream.codec_context.colorspace
        if self._millis and (frame.pts * self._like.time_base * 1000).denominator != 1:
            self._millis = False
            self.notes.append(f"{self.path.suffix} keeps times to the millisecond; those of the source are finer")
        start, end = self._span or (frame.pts, frame.pts)
        self._span = min(start, frame.pts), max(end, frame.pts + frame.duration)
        self._durations[frame.pts] = frame.duration
        with self._errors():
            self._mux(self._stream.encode(image))

    def keep_partial(self) -> Path | None:
        """Finish with the frames so far and what was copied to their end; see base.Writer."""
        if self._span is None:
            return None
        path = partial_path(self.path)
        self._copy.forgive_damage()
        self._finish(path, float(self._span[1] * self._like.time_base))
        return path

    def _open(self) -> Any:
        with self._errors():
            name = _FORMATS[self.path.suffix.lower()]
            container = av.open(
                f"file:{self._part}",
                "w",
                format=name,
                container_options=self._copy.container_options(),
                metadata_errors="surrogateescape",
            )
            try:
                self._copy.add_streams(container, lambda: self._add_video(container))
                container.start_encoding()
            except BaseException:
                with contextlib.suppress(FFmpegError, OSError):
                    container.close()
                raise
        if (self._choice.width, self._choice.height) != self._size:
            self.notes.append(
                f"{self.path.name} is {self._choice.width}x{self._choice.height}, not {self._size[0]}x{self._size[1]}: "
                f"{self._choice.encoder.name} needs even sides here, so the edge is repeated by one pixel"
            )
        return container

    def _add_video(self, container: Any) -> Any:
        like, choice = self._like, self._choice
        hdr = hdr_parameters(like.mastering_display, like.content_light)
        if hdr and not choice.encoder.hdr:
            self.notes.append(
                f"{choice.encoder.name} here does not carry the HDR metadata; type --codec libx265 to keep it"
            )
        try:
            stream = container.add_stream(
                choice.encoder.name,
                rate=like.rate,
                options=choice.options(self._options, hdr, self._color.chroma_location),
            )
        except ValueError:
            instead = self.path.with_suffix(".mkv").name
            raise OutputError(
                f"{self.path.suffix} cannot hold video of {choice.encoder.name}; type: -o {instead}"
            ) from None
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = choice.width, choice.height, choice.pixel_format
        context.time_base = stream.time_base = like.time_base
        context.thread_count = self._options.threads or 0
        context.thread_type = ThreadType.FRAME  # slices would cost quality and are PyAV's default
        if choice.encoder.name == "libx265" and container.format.name in {"mp4", "mov"}:
            context.codec_tag = "hvc1"  # the only tag that Apple's players take
        if like.sample_aspect_ratio is not None:
            context.sample_aspect_ratio = like.sample_aspect_ratio
        context.colorspace = 2 if self._color.matrix is None else self._color.matrix
        context.color_primaries = self._color.primaries or 2
        context.color_trc = self._color.transfer or 2
        context.color_range = {None: 0, False: 1, True: 2}[self._color.full_range]
        if like.display_matrix is not None:
            a, b, u, c, d, v, x, y, w = like.display_matrix
            scale = self._size[0] / like.width
            stream.set_display_matrix((a, b, u, c, d, v, round(x * scale), round(y * scale), w))
        self._stream = stream
        return stream

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

    def _mux(self, packets: list[Any]) -> None:
        """Mux encoded packets one late: the last one's duration is known only when there is no other."""
        for packet in packets:
            packet.time_base = self._like.time_base
            packet.duration = self._durations.pop(packet.pts, 0)
            if self._first_dts is None:
                self._first_dts = packet.dts
            if self._held is not None:
                self._mux_with_copies(self._held)
            self._held = packet

    def _mux_with_copies(self, packet: Any) -> None:
        for copied in self._copy.packets_until(float(packet.dts * packet.time_base)):
            self._container.mux_one(copied)
        self._container.mux_one(packet)

    def _finish(self, path: Path, until: float) -> None:
        """Encode what is inside the encoder, copy what comes before `until` seconds, and give the file its name."""
        if self._span is None:
            raise OutputError(f"{self.path} would hold no frame; nothing was written")
        with self._errors():
            self._mux(self._stream.encode(None))
            last = self._held
            if self._container.format.name in {"mp4", "mov"} and last.duration and self._first_dts is not None:
                # MP4 stores steps of decoding time; the last one makes their sum the length of what is shown.
                length = self._span[1] - self._span[0]
                last.duration = max(1, length - (last.dts - self._first_dts))
            self._mux_with_copies(last)
            for copied in self._copy.packets_until(until):
                self._container.mux_one(copied)
            self._container.close()
            self._show_aspect()
        try:
            self._part.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from None
        self._done = True

    def _show_aspect(self) -> None:
        """Matroska's own field for the sample aspect ratio, without which VP9 has none."""
        aspect = self._like.sample_aspect_ratio
        if self.path.suffix.lower() not in {".mkv", ".webm"} or aspect is None or aspect == 1:
            return
        width = round(self._choice.width * aspect)
        if not set_display_size(self._part, self._stream.index, width, self._choice.height):
            self.notes.append(f"{self.path.name} does not carry the sample aspect ratio {aspect}; type: -o NAME.mp4")

    @contextlib.contextmanager
    def _errors(self) -> Any:
        """FFmpeg's and the system's errors as one line about the result."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {self.path}: {one_line(error)}") from None
