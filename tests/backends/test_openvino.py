"""OpenVINO behind the same seam: the same network within stated bounds, exact tiles, and precisions that are named."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srdeploy import tiling, zoo
from srdeploy.backends import open_session, openvino
from srdeploy.backends.base import Session
from srdeploy.errors import DeviceError, MissingExtra, ModelError

pytest.importorskip("openvino")

ModelFile = Callable[..., Path]


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def tiled(session: Session, given: np.ndarray, tile: int) -> np.ndarray:
    scale, halo = session.spec.scale, session.spec.halo
    assert halo is not None
    _, height, width, channels = given.shape
    result = np.zeros((1, height * scale, width * scale, channels), np.float32)
    for box in tiling.plan(height, width, tile, halo):
        r, c = box.rows, box.columns
        big = session.run(given[:, r.read : r.read + r.size, c.read : c.read + c.size])
        y, x = (r.keep - r.read) * scale, (c.keep - c.read) * scale
        kept = big[:, y : y + (r.keep_end - r.keep) * scale, x : x + (c.keep_end - c.keep) * scale]
        result[:, r.keep * scale : r.keep_end * scale, c.keep * scale : c.keep_end * scale] = kept
    return result


@pytest.mark.parametrize("name", ["espcn-x2", "espcn-x3", "fast-x4", "srcnn-rgb-x4"])
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_shipped_models_agree_with_onnx_runtime(name: str, kind: str) -> None:
    """Before rounding within 1e-5, so after it no more than a level, and that at rounding boundaries alone."""
    path = zoo.find(name, pixels=kind)
    engines = [open_session(path, backend, "cpu", 1) for backend in ("ort", "openvino")]
    given = pixels(2, 53, 71, engines[0].spec.channels)
    if kind == "float":
        ours, theirs = (engine.run(given.astype(np.float32) / np.float32(255)) for engine in engines)
        assert np.abs(ours - theirs).max() <= 1e-5
    else:
        ours, theirs = (engine.run(given).astype(int) for engine in engines)
        assert np.abs(ours - theirs).max() <= 1
        assert np.mean(ours != theirs) < 5e-4
    assert (engines[1].backend, engines[1].device, engines[1].arithmetic) == ("openvino", "cpu", "fp32")


@pytest.mark.parametrize("tile", [32, 77])
@pytest.mark.parametrize("name", ["espcn-x4", "srcnn-rgb-x4"])
def test_tiles_are_the_whole_within_1e5(name: str, tile: int) -> None:
    """OpenVINO may choose another kernel for another size, which sums in another order: the bound is fp32's own."""
    session = open_session(zoo.find(name, pixels="float"), "openvino", "cpu", 1)
    given = pixels(1, 101, 130, session.spec.channels).astype(np.float32) / np.float32(255)
    assert np.abs(tiled(session, given, tile) - session.run(given)).max() <= 1e-5


def test_results_go_where_they_are_wanted(model_file: ModelFile) -> None:
    for channels in (1, 3):
        for backend in ("ort", "openvino"):
            session = open_session(model_file(channels), backend, "cpu", 1)
            given = pixels(1, 9, 14, channels)
            expected = session.run(given)
            wide = np.full((1, 18, 30, channels + 2), 7, np.uint8)
            part = wide[:, :, 1:29, 1 : channels + 1]
            assert session.run(given, part) is part
            assert np.array_equal(part, expected)
            assert (wide[..., 0] == 7).all() and (wide[..., -1] == 7).all() and (wide[:, :, 0] == 7).all()
            with pytest.raises(ModelError, match="`out` is"):
                session.run(given, wide)


def test_bf16_is_taken_only_when_asked_for(model_file: ModelFile) -> None:
    path = zoo.find("espcn-x4")
    if not openvino.has_bf16():
        with pytest.raises(DeviceError, match="this processor has none"):
            open_session(path, "openvino", "cpu", 1, "bf16")
        pytest.skip("this processor has no bf16")
    given = pixels(1, 40, 40, 1)
    exact, half = (open_session(path, "openvino", "cpu", 1, precision) for precision in (None, "bf16"))
    assert (exact.arithmetic, half.arithmetic) == ("fp32", "bf16")
    off = np.abs(exact.run(given).astype(int) - half.run(given))
    assert np.mean(off > 0) > 0 and off.max() < 20
    with pytest.raises(DeviceError, match=r"is fp16; type -m"):
        open_session(model_file(precision="fp16"), "openvino", "cpu", 1, "bf16")
    with pytest.raises(DeviceError, match="type: --backend openvino"):
        open_session(path, "ort", "cpu", 1, "bf16")


def test_half_weights_say_what_computes_them(model_file: ModelFile) -> None:
    session = open_session(model_file(precision="fp16"), "openvino")
    assert session.arithmetic == "fp16 weights, fp32 arithmetic"


def test_sizes_threads_and_devices(model_file: ModelFile) -> None:
    session = open_session(model_file(), "openvino")
    pictures = [pixels(1, 20 + i, 30 + 2 * i, 1) for i in range(6)]
    expected = [session.run(given) for given in pictures]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            if not np.array_equal(session.run(pictures[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    with pytest.raises(DeviceError, match="openvino runs on the CPU"):
        open_session(model_file(), "openvino", "cuda")


def test_it_neither_calls_home_nor_writes_there(model_file: ModelFile, tmp_path: Path) -> None:
    """`import openvino` sends an event and writes an identifier into the home folder, if it can."""
    program = (
        "import sys, pathlib\nfrom srdeploy.backends import open_session\n"
        "open_session(pathlib.Path(sys.argv[1]), 'openvino')\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(model_file())],
        capture_output=True, text=True, check=True, env={"HOME": str(home), "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert not list(home.iterdir())


def test_broken_files_and_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is text\n" * 40)
    with pytest.raises(ModelError, match="damaged"):
        open_session(path, "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'srdeploy\[openvino\]'"):
        openvino.devices()
