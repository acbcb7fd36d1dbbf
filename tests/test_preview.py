"""`--preview`: one frame, bicubic beside the network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import srdeploy
from srdeploy.errors import InputError, OutputError
from srdeploy.preview import preview


@pytest.mark.parametrize("form", ["yuv420p", "gbrp", "gray"])
def test_both_halves_show_the_same_frame(form: str, tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(f"-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -c:v ffv1 -pix_fmt {form}", clip)
    upscaler = srdeploy.open("espcn-x2", threads=1)
    said = preview(clip, 0.5, upscaler)
    assert "25 frames" in said
    picture = srdeploy.read_picture(tmp_path / "clip_x2.preview.png").planes[0].astype(int)
    assert picture.shape[:2] == (96, 256)
    left, right = picture[:, :128], picture[:, 128:]
    assert 0 < np.abs(left - right).mean() < 12
    with pytest.raises(OutputError, match="--overwrite"):
        preview(clip, 0.5, upscaler)
    with pytest.raises(InputError, match="no frame"):
        preview(clip, 5, upscaler, overwrite=True)
