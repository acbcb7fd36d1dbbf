"""The whole road: every network of the table from torch to tiles, and real clips through the command."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from srdeploy import parity  # noqa: E402
from srdeploy.export import Export, export  # noqa: E402
from srdeploy.learn.nets import NETWORKS, build_net  # noqa: E402
from srdeploy.learn.weights import save_net  # noqa: E402
from srdeploy.media.pictures import read_picture  # noqa: E402
from srdeploy.picture import Picture  # noqa: E402
from srdeploy.upscale import Upscaler, open_upscaler  # noqa: E402

SCALE = {"srcnn-9-1-5": 2, "srcnn-9-5-5": 3}
"""Networks that work on the enlarged picture are tested at scales that keep this quick; the others at 4."""

SIDE = {"srresnet": 112}
"""The network that does by far the most work is first compared on smaller squares of the same pictures."""


@pytest.fixture(scope="module", params=NETWORKS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Export]:
    """A network with fresh weights, exported in every kind of file, compared on the pictures that ship."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    torch.manual_seed(7)
    save_net(build_net(name, SCALE.get(name, 4)), folder / "net.safetensors", name, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "SIDE", SIDE.get(name, parity.SIDE))
        return name, folder, export(str(folder / "net.safetensors"), ("fp32", "fp16"), True, folder)


def test_parity_of_every_file(made: tuple[str, Path, Export]) -> None:
    _, _, result = made
    parities = {file.path.name.split(".", 1)[1]: file.parity for file in result.files}
    assert set(parities) == {"fp32.onnx", "fp32.float.onnx", "fp16.onnx", "fp16.float.onnx"}
    assert parities["fp32.float.onnx"].max_abs <= 1e-5
    assert parities["fp32.onnx"].levels_off[">1"] == 0
    assert parities["fp32.onnx"].levels_off["1"] <= 2e-5  # one in 100,000, and one tie on these small pictures
    for kind in ("fp16.onnx", "fp16.float.onnx"):
        assert parities[kind].arithmetic == "fp16, rounded after each node"
        assert np.isfinite(parities[kind].max_abs)
        assert (parities[kind].psnr_db or np.inf) >= 55


def test_parity_on_photographs(made: tuple[str, Path, Export], shared: Path, tmp_path: Path) -> None:
    name, folder, _ = made
    for picture in ("baby", "butterfly"):
        (tmp_path / f"{picture}.png").symlink_to(shared / "data" / "test" / "set5" / f"{picture}.png")
    files = export(str(folder / "net.safetensors"), ("fp32",), True, tmp_path / "out", tmp_path).files
    uint8, floats = (file.parity for file in files)
    assert floats.max_abs <= 1e-5, name
    assert uint8.levels_off["1"] <= 1e-5 + 2e-6, name
    assert uint8.levels_off[">1"] == 0, name


def test_tiled_is_whole(made: tuple[str, Path, Export], samples: Path) -> None:
    name, folder, _ = made
    rgb = np.tile(read_picture(samples / "facade.png").planes[0], (1, 2, 1))[:131, :203]
    picture = Picture("rgb", (np.ascontiguousarray(rgb),))
    session = open_upscaler(str(folder / f"{name}.fp32.onnx")).session
    whole = Upscaler(session, "none")(picture).planes[0]
    assert whole.shape == (131 * session.spec.scale, 203 * session.spec.scale, 3)
    for tile in (64, 100, 160):
        np.testing.assert_array_equal(Upscaler(session, tile)(picture).planes[0], whole)


CLIPS = {
    "realshort.mp4": (320, 240),  # H.264 and AAC
    "carphone_pristine.mp4": (176, 144),  # pixel aspect 128:117, no sound
    "video_90.mov": (568, 320),  # turned
    "bear-vp9-odd-dimensions.webm": (161, 121),
    "h265_10bits.mp4": (200, 200),
}


def _probe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_frames", "-select_streams", "v:0", "-of", "json"]
    done = subprocess.run([*command, str(path)], check=True, capture_output=True, text=True)
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def _hash_of_copies(path: Path) -> str:
    """Hash of every packet that is not video, as it stands in the file."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a?", "-c", "copy", "-f", "streamhash", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(name: str, shared: Path, tmp_path: Path) -> None:
    from srdeploy.jobs import Choices, Done, Job, run_job

    source, result = shared / "data" / "video" / name, tmp_path / name
    width, height = CLIPS[name]
    done = run_job(Job(source, result), open_upscaler("espcn-x4"), Choices(), lambda *_: None)
    assert isinstance(done, Done)
    before, after = _probe(source), _probe(result)
    assert (after["streams"][0]["width"], after["streams"][0]["height"]) == (4 * width, 4 * height)
    assert len(after["frames"]) == len(before["frames"]) == done.frames
    assert [f.get("pts_time") for f in after["frames"]] == [f.get("pts_time") for f in before["frames"]]
    assert after["streams"][0].get("duration") == before["streams"][0].get("duration")
    for key in ("pix_fmt", "color_range", "sample_aspect_ratio", "time_base"):
        if key == "color_range" and key not in before["streams"][0]:
            continue  # what an untagged source was read as is tagged in the result
        assert after["streams"][0].get(key) == before["streams"][0].get(key), key
    if name == "realshort.mp4":
        assert _hash_of_copies(source) == _hash_of_copies(result) != ""
    play = ["ffmpeg", "-v", "error", "-i", str(result), "-f", "null", "-"]
    assert subprocess.run(play, check=True, capture_output=True, text=True).stderr == ""


def test_every_shipped_model_runs(samples: Path) -> None:
    from srdeploy import zoo

    picture = read_picture(samples / "owl.png")
    for name in zoo.names():
        up = open_upscaler(name)
        assert up(picture).width == picture.width * up.scale
