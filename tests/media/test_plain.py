"""The plain script that the pipeline is compared with does the same work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.media import open_reader
from srdeploy.media.plain import enlarge_plainly


def test_every_frame_and_the_sound(tmp_path: Path, ffmpeg: Callable[..., None], probe: Callable[[Path], Any]) -> None:
    source, result = tmp_path / "in.mp4", tmp_path / "out.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.4 -f lavfi -i sine=440:duration=0.4 -c:a aac", source)

    def luma(pixels: Any) -> Any:
        return np.repeat(np.repeat(pixels, 2, 1), 2, 2)

    assert enlarge_plainly(source, result, luma, {"crf": "0", "preset": "ultrafast"}) == 10
    for small, big in zip(open_reader(source), open_reader(result), strict=True):
        assert small.pts * small.time_base == big.pts * big.time_base
        assert np.array_equal(luma(small.picture.planes[0][None, :, :, None])[0, :, :, 0], big.picture.planes[0])
    hashes = [[p["data_hash"] for p in probe(path)["packets"] if p["stream_index"] == 1] for path in (source, result)]
    assert hashes[0] == hashes[1]
