"""What media tests share: ffprobe's and ffmpeg's word, and a nearest-neighbour enlarger that needs no network."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.media import EncodeOptions, open_reader, open_writer
from srdeploy.picture import Picture


@pytest.fixture(scope="session")
def probe(ffmpeg: Callable[..., None]) -> Callable[[Path], dict[str, Any]]:
    """What ffprobe says of a file: streams, format, chapters, and every packet with a hash of its bytes."""

    def run(path: Path) -> dict[str, Any]:
        show = ("-show_streams", "-show_format", "-show_chapters", "-show_packets", "-show_data_hash", "sha256")
        command = ["ffprobe", "-v", "error", "-of", "json", *show, str(path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    return run


def nearest(picture: Picture, scale: int) -> Picture:
    """Every pixel repeated; chroma cut to what an odd size needs."""
    height, width = picture.height * scale, picture.width * scale

    def big(plane: Any, across: int, down: int) -> Any:
        grown = np.repeat(np.repeat(plane, scale, 0), scale, 1)
        return grown[: -(-height // down), : -(-width // across)]

    luma, *chroma = picture.planes
    planes = (big(luma, 1, 1), *(big(c, *picture.subsampling) for c in chroma))
    alpha = None if picture.alpha is None else big(picture.alpha, 1, 1)
    return replace(picture, planes=planes, alpha=alpha)


@pytest.fixture(scope="session")
def enlarge_file() -> Callable[..., list[str]]:
    """Enlarge a file by nearest neighbour through our reader and writer; the notes of both."""

    def run(source: Path, result: Path, scale: int = 2, options: EncodeOptions | None = None, **how: Any) -> list[str]:
        reader = open_reader(source, threads=1, target=result, **how)
        try:
            size = reader.width * scale, reader.height * scale
            with open_writer(result, reader, *size, options or EncodeOptions()) as writer:
                for frame in reader:
                    writer.write(replace(frame, picture=nearest(frame.picture, scale)))
        finally:
            reader.close()
        return reader.notes + writer.notes

    return run
