"""What --precision auto takes: the fastest whose stamped loss is small enough, and of what is installed and present."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srdeploy
from srdeploy import zoo
from srdeploy.backends import openvino, session
from srdeploy.errors import DeviceError, MissingExtra, ModelError, SrdeployError
from srdeploy.graph.files import load_model, read_spec, stamp_and_save
from srdeploy.jobs import Choices, Done, Job, run_job
from srdeploy.picture import Picture
from srdeploy.upscale import opening

pytest.importorskip("onnx")
pytest.importorskip("openvino")


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """ship(loss of int8, of bf16): a folder of shipped files, of which int8 is one by name alone; None: not stamped."""

    def make(int8: float | None = None, bf16: float | None = None, small: bool = True) -> Path:
        shipped = {kind: zoo.find("espcn-x2", pixels=kind) for kind in ("uint8", "float")}
        folder = tmp_path / "models"
        folder.mkdir()
        for path in shipped.values():
            (folder / path.name).write_bytes(path.read_bytes())
        model = load_model(shipped["uint8"])
        spec = read_spec(model, "espcn-x2")
        if bf16 is not None:
            stamp_and_save(model, replace(spec, quality_loss_db={"openvino/bf16": bf16}), folder / "espcn-x2.fp32.onnx")
        if int8 is not None:
            model = load_model(zoo.find("espcn-x2", precision="fp16")) if small else model
            facts = replace(spec, precision="int8", quality_loss_db={"ort/int8": int8})
            stamp_and_save(model, facts, folder / "espcn-x2.int8.onnx")
        monkeypatch.setattr(zoo, "MODELS", folder)
        monkeypatch.setattr(zoo.find, "__defaults__", (*zoo.find.__defaults__[:-1], folder))  # type: ignore[index]
        return folder

    return make


def fast(monkeypatch: pytest.MonkeyPatch, int8: bool = True, bf16: bool = False) -> None:
    monkeypatch.setattr(opening, "is_fast_int8", lambda: int8)
    monkeypatch.setattr(opening, "is_fast_bf16", lambda: bf16)


def without(monkeypatch: pytest.MonkeyPatch, *engines: str) -> None:
    def missing() -> list[str]:
        raise MissingExtra("not installed; type: pip install it")

    for name in engines:
        rows = dict.fromkeys(session.ENGINES[name]().rows, missing)
        opens = session.ENGINES[name]().open
        monkeypatch.setitem(session.ENGINES, name, lambda rows=rows, opens=opens: session.Engine(opens, rows))


def taken(**options: Any) -> tuple[str, str, tuple[str, ...]]:
    upscaler = srdeploy.open("espcn-x2", device="cpu", threads=1, **options)
    assert upscaler.log.take()[1] == ()  # nothing is told before something is enlarged
    upscaler(np.zeros((8, 8, 3), np.uint8))
    return upscaler.session.path.name, upscaler.session.backend, upscaler.log.take()[1]


def test_int8_when_it_loses_little(ship: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ship(int8=0.0412)
    fast(monkeypatch)
    name, backend, (note,) = taken()
    assert (name, backend) == ("espcn-x2.int8.onnx", "openvino")
    assert note.startswith("--precision auto took int8 on openvino: 0.041 dB of PSNR lost")
    assert taken(backend="ort")[:2] == ("espcn-x2.int8.onnx", "ort")
    assert taken(precision="fp32") == ("espcn-x2.fp32.onnx", "ort", ())
    without(monkeypatch, "openvino")
    assert taken()[:2] == ("espcn-x2.int8.onnx", "ort")
    deep = np.full((8, 8, 3), 500, np.uint16)  # which int8 files do not take: the float file does
    upscaler = srdeploy.open("espcn-x2", device="cpu", threads=1)
    for _ in range(2):
        assert upscaler(deep).shape == (16, 16, 3)
    assert upscaler.log.take()[1] == ("16-bit pixels are computed in fp32 on ort: int8 files take 8 bits",)
    upscaler(deep.astype(np.uint8))
    upscaler(deep)
    (note,) = upscaler.log.take()[1]
    assert note.startswith("--precision auto took int8 on ort")


@pytest.mark.parametrize("reason", ["loses much", "no such processor", "no such file", "no smaller"])
def test_fp32_otherwise(reason: str, ship: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ship(int8={"loses much": 0.0501, "no such file": None}.get(reason, 0.01), bf16=0.001, small=reason != "no smaller")
    fast(monkeypatch, int8=reason != "no such processor")
    assert taken() == ("espcn-x2.fp32.onnx", "ort", ())
    without(monkeypatch, "ort")
    assert taken() == ("espcn-x2.fp32.onnx", "openvino", ())


def test_a_file_given_by_its_path_is_what_it_is(ship: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = ship(int8=0.01) / "espcn-x2.fp32.onnx"
    fast(monkeypatch)
    assert taken()[0] == "espcn-x2.int8.onnx"
    assert srdeploy.open(str(path), device="cpu", threads=1).session.path == path


@pytest.mark.skipif(not openvino.has_bf16(), reason="this processor has no bf16")
def test_bf16_where_it_is_fast(ship: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ship(bf16=0.002)
    fast(monkeypatch, bf16=True)
    upscaler = srdeploy.open("espcn-x2", device="cpu", threads=1)
    assert (upscaler.session.backend, upscaler.session.arithmetic) == ("openvino", "bf16")
    upscaler(np.zeros((8, 8, 3), np.uint8))
    assert "took bf16 on openvino: 0.002 dB" in upscaler.log.take()[1][0]
    assert taken(backend="ort")[:2] == ("espcn-x2.fp32.onnx", "ort")
    without(monkeypatch, "openvino")
    assert taken()[:2] == ("espcn-x2.fp32.onnx", "ort")
    with pytest.raises(DeviceError, match="type: --backend openvino"):
        srdeploy.open(str(folder / "espcn-x2.fp32.onnx"), precision="bf16", backend="ort")


def test_what_was_asked_for_and_cannot_be_had(ship: Callable[..., Path]) -> None:
    ship()
    with pytest.raises(ModelError, match="does not ship as int8"):
        srdeploy.open("espcn-x2", precision="int8")
    with pytest.raises(SrdeployError, match="cuda"):
        srdeploy.open("espcn-x2", device="cuda")


def test_the_precision_reported_is_that_of_the_pixels(
    ship: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An int8 file takes 8 bits: deeper pictures went through fp32, and that is said."""
    ship(int8=0.01)
    fast(monkeypatch)
    for name, dtype in (("a.png", np.uint8), ("b.png", np.uint16)):
        pixels = np.arange(12 * 12 * 3, dtype=dtype).reshape(12, 12, 3)
        srdeploy.write_picture(tmp_path / name, Picture("rgb", (pixels,), 8 * pixels.itemsize))
    upscaler = srdeploy.open("espcn-x2", device="cpu", threads=1)
    said = []
    for name in ("a.png", "b.png"):
        done = run_job(Job(tmp_path / name, tmp_path / f"big-{name}"), upscaler, Choices(), lambda *_: None)
        assert isinstance(done, Done)
        said.append((done.precision, done.backend))
    assert said[1] == ("fp32", "ort")
    assert said[0] == (upscaler.session.arithmetic, "openvino")
