"""Networks that copy pixels, and FFV1: what comes out is known exactly, and ffmpeg decodes it, not we.

Luma is then nearest enlargement, chroma a bicubic worked out here from where its samples stand; at scale 1 all is as
it was.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srdeploy.backends import open_session
from srdeploy.jobs import Choices, Job, run_job
from srdeploy.media import EncodeOptions
from srdeploy.spec import ModelSpec
from srdeploy.upscale import Upscaler

onnx = pytest.importorskip("onnx")
WIDTH, HEIGHT, FRAMES = 46, 34, 3
SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


def copying(folder: Path, scale: int) -> Upscaler:
    """An upscaler whose network repeats every pixel scale * scale times: a 1x1 convolution and a shuffle."""
    from srdeploy.graph.files import stamp_and_save
    from srdeploy.graph.pixels import wrap_pixels

    node, make, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    steps = [node("Conv", ["input", "w"], ["c"]), node("DepthToSpace", ["c"], ["output"], blocksize=scale, mode="CRD")]
    if scale == 1:
        steps = [node("Conv", ["input", "w"], ["output"])]
    graph = onnx.helper.make_graph(
        steps,
        "copy",
        [make("input", float32, ["batch", 1, "height", "width"])],
        [make("output", float32, ["batch", 1, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(np.ones((scale * scale, 1, 1, 1), np.float32), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    paths = {}
    for pixels in ("uint8", "float"):
        spec = ModelSpec(f"copy-x{scale}", scale, 1, 0, 1, "fp32", pixels, scale * scale, 64, "0" * 64)  # type: ignore[arg-type]
        paths[pixels] = folder / f"copy-x{scale}.{pixels}.onnx"
        stamp_and_save(wrap_pixels(model, quantize=True) if pixels == "uint8" else model, spec, paths[pixels])
    return Upscaler(open_session(paths["uint8"], threads=1), deep=lambda: open_session(paths["float"], threads=1))


def planes(path: Path, form: str, width: int, height: int) -> list[list[npt.NDArray[np.int64]]]:
    """Y, U, V of every frame, as ffmpeg decodes them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-f", "rawvideo", "-pix_fmt", form, "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    across, down = SUBSAMPLING[form[3:6]]
    sizes = [(height, width), *[(-(-height // down), -(-width // across))] * 2]
    samples = np.frombuffer(data, "<u2" if "10" in form else "u1").astype(np.int64)
    frames = samples.reshape(FRAMES, -1)
    ends = np.cumsum([h * w for h, w in sizes])[:-1]
    return [[p.reshape(s) for p, s in zip(np.split(f, ends), sizes, strict=True)] for f in frames]


def keys(distance: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Keys' kernel, a = -1/2, in the form of his paper."""
    s = np.abs(distance)
    near, far = 1.5 * s**3 - 2.5 * s**2 + 1, -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2
    return np.where(s < 1, near, np.where(s < 2, far, 0.0))


def along(length: int, scale: int, step: int, sited: float) -> npt.NDArray[Any]:
    """The matrix that enlarges one side of chroma, whose samples stand `sited` behind the first of `step` of luma's."""
    k = np.arange(length * scale)
    there = step * k + sited  # among the result's luma samples
    here = (there + 0.5) / scale - 0.5  # among the source's
    at = (here - sited) / step
    result = np.zeros((k.size, length))
    for tap in range(-3, 4):
        index = np.floor(at).astype(int) + tap
        np.add.at(result, (k, np.clip(index, 0, length - 1)), keys(at - index))
    return result


def bicubic(plane: npt.NDArray[Any], scale: int, form: str) -> npt.NDArray[Any]:
    across, down = SUBSAMPLING[form[3:6]]
    rows = along(plane.shape[0], scale, down, 0.5 if down == 2 else 0.0)
    columns = along(plane.shape[1], scale, across, 0.0)  # left: on the first of its two
    peak = 1023 if "10" in form else 255
    return np.clip(rows @ plane @ columns.T, 0, peak)


@pytest.mark.parametrize("form", ["yuv420p", "yuv444p", "yuv422p", "yuv420p10le", "yuv444p10le"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_copied_pixels(scale: int, form: str, tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    source, result = tmp_path / "in.mkv", tmp_path / "out.mkv"
    ffmpeg(
        f"-f lavfi -i testsrc2=size={WIDTH}x{HEIGHT}:rate=25 -frames:v {FRAMES} -c:v ffv1 -pix_fmt {form}",
        "-color_range tv",
        source,
    )
    choices = Choices(encode=EncodeOptions(codec="ffv1", threads=1))
    run_job(Job(source, result), copying(tmp_path, scale), choices, lambda *_: None)
    before = planes(source, form, WIDTH, HEIGHT)
    after = planes(result, form, WIDTH * scale, HEIGHT * scale)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new[0], np.kron(old[0], np.ones((scale, scale), int)))
        for plane in (1, 2):
            # Rounded to the nearest, whatever it is of a half.
            assert np.abs(new[plane] - bicubic(old[plane], scale, form)).max() <= (0.5001 if scale > 1 else 0)
