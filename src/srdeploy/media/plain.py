"""A video enlarged by a script as people write it, with nothing of srdeploy's pipeline: for comparison."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from srdeploy.picture import Pixels


def enlarge_plainly(source: Path, result: Path, luma: Callable[[Pixels], Pixels], options: dict[str, str]) -> int:
    """Decode, enlarge, encode, one frame after the other; the number of frames. The sound is copied after them.

    luma: (1, H, W, 1) uint8 to its enlargement. Chroma goes through OpenCV's bicubic, the video to x264 with `options`.
    For 4:2:0 of 8 bits with even sides.
    """
    frames = 0
    with av.open(str(source)) as given, av.open(str(result), "w") as made:
        video: Any = given.streams.video[0]
        video.thread_type = "AUTO"
        stream: Any = made.add_stream("libx264", rate=video.average_rate, options=options)
        sound = [made.add_stream_from_template(s) for s in given.streams.audio]
        for frame in given.decode(video):
            planes: Any = frame.to_ndarray(format="yuv420p")
            height, width = frame.height, frame.width
            y = luma(planes[None, :height, :, None])[0, :, :, 0]
            u, v = planes[height:].reshape(2, height // 2, width // 2)
            size = y.shape[1] // 2, y.shape[0] // 2
            chroma = [cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in (u, v)]
            big = np.concatenate([y.reshape(-1), *(plane.reshape(-1) for plane in chroma)])
            if not frames:
                stream.width, stream.height, stream.pix_fmt = y.shape[1], y.shape[0], "yuv420p"
            image = av.VideoFrame.from_ndarray(big.reshape(-1, y.shape[1]), format="yuv420p")
            image.pts, image.time_base = frame.pts, frame.time_base
            made.mux(stream.encode(image))
            frames += 1
        made.mux(stream.encode(None))
        if sound:
            given.seek(0)
            for packet in given.demux(given.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = sound[0]
                    made.mux(packet)
    return frames
