"""One closed segment of a video after another: what is encoded depends on its own frames alone, wherever it is made."""

from collections.abc import Mapping
from typing import Any

from srdeploy.media.segments import Packet
from srdeploy.media.video_reader import VideoReader
from srdeploy.media.video_target import VideoTarget
from srdeploy.picture import Frame

SEGMENT_FRAMES = 100
"""Frames of one segment, each of which begins with a key frame. Players seek by those, and a stop costs as much."""


class SegmentEncoder:
    """Encodes the frames of one segment at a time, with an encoder of its own. frames: how many it has of this one.

    Raises ValueError for a frame of another size than the target's, OutputError when the encoder does not open, and
    FFmpegError.
    """

    def __init__(self, target: VideoTarget) -> None:
        self._target = target
        self._encoder: Any = None
        self._durations: dict[int, int] = {}
        self.frames = 0

    def encode(self, frame: Frame) -> list[Packet]:
        """The packets that the encoder gives now; the frame's own may come later."""
        image = self._target.image(frame)
        self._durations[frame.pts] = frame.duration
        if self._encoder is None:
            self._encoder = self._target.encoder()
        self.frames += 1
        return self._packets(self._encoder.encode(image))

    def end(self) -> list[Packet]:
        """The packets that are still inside the encoder. The next frame begins another segment."""
        if self._encoder is None:
            return []
        packets = self._packets(self._encoder.encode(None))
        self._encoder, self.frames = None, 0
        return packets

    def _packets(self, encoded: list[Any]) -> list[Packet]:
        return [Packet(p.pts, self._durations.pop(p.pts, 0), p.is_keyframe, bytes(p)) for p in encoded]


def settings_of(target: VideoTarget, like: VideoReader, key: Mapping[str, Any]) -> dict[str, Any]:
    """All that the bytes of a video depend on, as JSON can hold it; key: what made its pixels, such as the model."""
    return {
        "source": like.identity(),
        "segment": SEGMENT_FRAMES,
        "result": target.path.suffix.lower(),
        "video": target.settings(),
        **key,
    }
