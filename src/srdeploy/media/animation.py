"""Animated WebP, PNG, AVIF and GIF as pictures, frames and times kept, by Pillow: FFmpeg reads no animated WebP, and
video keeps no alpha."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srdeploy.errors import OutputError
from srdeploy.media import headers, pillow
from srdeploy.media.base import MAX_PIXELS, Finishing, part_path
from srdeploy.media.encode import encode, format_of
from srdeploy.media.kinds import read_bytes
from srdeploy.picture import Frame, Picture

MILLISECOND = Fraction(1, 1000)
SUFFIXES = frozenset({".png", ".apng", ".webp"})
"""Of results that hold an animation as pictures do."""


class AnimationReader:
    """The frames of an animation, each whole (what it leaves standing is drawn in); see base.Reader.

    pts and durations count in milliseconds. loop: how many times it plays, 0 without end.
    """

    def __init__(self, path: Path, kind: str, max_pixels: int = MAX_PIXELS) -> None:
        self.path = path
        self.notes: list[str] = []
        self._data, self._kind = read_bytes(path, max_pixels), kind
        with pillow.opened(path, self._data, kind) as image:
            self.frames: int | None = int(getattr(image, "n_frames", 1))
            self.width, self.height = image.size
            self.depth = 8
            headers.check_size(path, self.width, self.height, max_pixels)
            self.loop = _plays(image.info, kind)
            self.info = {k: image.info[k] for k in ("icc_profile", "exif", "xmp") if image.info.get(k)}
            depth = self._data[24] if kind == "png" else headers.avif_depth(self._data) if kind == "avif" else 8
            if depth > 8:
                self.notes.append(f"{path.name} is an animation of {depth} bits; 8 are read")

    def __iter__(self) -> Iterator[Frame]:
        # Each frame is drawn over the one before it, so the image stays open from the first to the last; but not the
        # lock and the silence around it while others work.
        image: Any = None
        time = 0
        for number in range(self.frames or 1):
            with pillow.guarded(self.path, self._kind):
                if image is None:
                    image = Image.open(io.BytesIO(self._data), formats=[self._kind.upper()])
                    if number == 0 and image.info.get("default_image"):
                        image.seek(1)  # a picture for readers that know no animation
                elif image.tell() + 1 < image.n_frames:
                    image.seek(image.tell() + 1)
                else:
                    return
                image.load()
                duration = round(float(image.info.get("duration", 0)))
                pixels = np.asarray(image.convert("RGBA"))
            alpha = np.ascontiguousarray(pixels[..., 3])
            picture = Picture(
                "rgb", (np.ascontiguousarray(pixels[..., :3]),), alpha=None if alpha.min() == 255 else alpha
            )
            yield Frame(picture, time, MILLISECOND, duration, key=True)
            time += duration

    def close(self) -> None:
        """Let go of the file's bytes."""
        self._data = b""


def _plays(info: dict[str, Any], kind: str) -> int:
    """How many times it plays, 0 without end: a GIF says how often it is played again, once where it says nothing."""
    if kind != "gif":
        return int(info.get("loop", 0))
    return int(info["loop"]) + (info["loop"] > 0) if "loop" in info else 1


class AnimationWriter(Finishing):
    """An animated WebP (lossless) or PNG, of frames that are held compressed until the last; see base.Writer."""

    def __init__(self, path: Path, like: AnimationReader, width: int, height: int) -> None:
        if path.suffix.lower() not in SUFFIXES:
            kinds = "animated pictures become .png, .apng or .webp"
            raise OutputError(f"{kinds}, not {path.suffix}; type: -o {path.with_suffix('.png').name}")
        largest = format_of(path.with_suffix(".png") if path.suffix.lower() == ".apng" else path).largest
        if max(width, height) > largest:
            raise OutputError(f"{path.suffix} ends at {largest} pixels a side and the result has {width}x{height}")
        if width * height * (like.frames or 1) > 8 * MAX_PIXELS:
            raise OutputError(f"{path} would hold {like.frames} frames of {width}x{height}; type -o with .mp4")
        self.path = path
        self._done = False
        self.notes: list[str] = []
        self._like, self._size = like, (width, height)
        self._frames: list[bytes] = []
        self._durations: list[int] = []
        self._part = part_path(path)

    def write(self, frame: Frame) -> None:
        """Take a frame. Raises ValueError for one of another size."""
        if (frame.picture.width, frame.picture.height) != self._size:
            raise ValueError(f"a frame of {frame.picture.width}x{frame.picture.height} for one of {self._size}")
        self._frames.append(encode(Path("frame.png"), frame.picture))
        self._durations.append(frame.duration)

    def finish(self) -> None:
        """Write the animation, if that is not done yet."""
        if self._done:
            return
        if not self._frames:
            raise OutputError(f"{self.path} would hold no frame; nothing was written")
        try:
            self._save()
            self._part.replace(self.path)
        except OSError as refused:
            raise OutputError(f"cannot write {self.path}: {refused.strerror or refused}") from None
        self._done = True

    def leave(self) -> None:
        """See base.Finishing."""
        self._part.unlink(missing_ok=True)

    def _save(self) -> None:
        opaque = all(data[25] == 2 for data in self._frames)  # PNG's colour type
        frames = (self._image(data, opaque) for data in self._frames)
        first = next(frames)
        webp = self.path.suffix.lower() == ".webp"
        options: dict[str, Any] = {"lossless": True} if webp else {"default_image": False}
        options |= self._like.info
        if not webp and "xmp" in options:
            del options["xmp"]
        first.save(
            self._part,
            "WEBP" if webp else "PNG",
            save_all=True,
            append_images=frames if webp else list(frames),  # PNG's encoder looks through them twice
            duration=self._durations,
            loop=self._like.loop,
            **options,
        )

    @staticmethod
    def _image(data: bytes, opaque: bool) -> Any:
        return Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB" if opaque else "RGBA")
