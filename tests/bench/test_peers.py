"""Peers do the same work as srdeploy: same weights, same pixels out. What the CLI's test covers is not here again."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.bench.peers import open_peer
from srdeploy.bench.subjects import open_row, still
from srdeploy.bench.suite import Row
from srdeploy.errors import DeviceError, MissingExtra, ModelError


def _result(peer: str, model: str, folder: Path) -> np.ndarray:
    subject = open_peer(Row("network", peer, model, device="cpu", height=24, width=32, threads=1, peer=True), folder)
    assert subject.result is not None
    return subject.result()


@pytest.mark.parametrize("model", ["fast-x4", "srcnn-rgb-x4"])
def test_ncnn_gives_the_same_pixels(model: str, tmp_path: Path) -> None:
    for library in ("ncnn", "pnnx"):
        pytest.importorskip(library, reason="a peer that is not needed for anything else")
    session = open_session(zoo.find(model), "ort", "cpu", threads=1)
    ours = session.run(still(24, 32, session.spec.channels))
    assert np.abs(_result("ncnn", model, tmp_path).astype(int) - ours).max() <= 1


def test_pytorch_in_half_precision_and_on_a_device_that_is_not_there(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a peer")
    row = Row("network", "pytorch", "espcn-x4", "fp16", height=24, width=32, threads=1, peer=True, device="cpu")
    subject = open_peer(row, tmp_path)
    assert (subject.facts["precision"], subject.facts["device"]) == ("fp16", "cpu")
    assert subject.result is not None
    apart = np.abs(subject.result().astype(int) - _result("onnxruntime", "espcn-x4", tmp_path))
    assert 0 < apart.max() <= 2, "half precision, of the same network"
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="finds no CUDA"):
        open_peer(replace(row, device="cuda"), tmp_path)


@pytest.mark.parametrize("engine", ["ort", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_bare_engine_computes_what_our_session_does(engine: str, precision: str, tmp_path: Path) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the engine itself")
    row = Row("network", f"bare {engine}", "fast-x4", precision, "cpu", 24, 32, 1, peer=True)
    bare = open_peer(row, tmp_path)
    ours = open_row(replace(row, backend=engine, peer=False), tmp_path)
    assert bare.path == ours.path and bare.result is not None and ours.result is not None
    assert np.abs(bare.result().astype(int) - ours.result()).max() <= (engine == "openvino")


def test_a_library_that_is_missing_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingExtra, match=r"srdeploy\[peers\]"):
        _result("ncnn", "fast-x4", tmp_path)


def test_a_filter_that_this_ffmpeg_lacks(tmp_path: Path, samples: Path) -> None:
    row = Row("video", "ffmpeg", "nonesuch", file=str(samples / "clip.mp4"), peer=True)
    with pytest.raises(ModelError, match="no filter nonesuch"):
        open_peer(row, tmp_path)
