"""Files that appear together, proved; or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import export as export_module
from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.checking import check_file
from srdeploy.errors import MissingExtra, ModelError, ParityError
from srdeploy.export import export
from srdeploy.graph.files import OPSET, load_model, read_spec

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from srdeploy.learn.nets import build_net
    from srdeploy.learn.weights import save_net

    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    save_net(build_net("espcn", 2), path, "tiny-x2", "espcn")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one small picture, so that proofs are quick."""
    from srdeploy.media.pictures import write_picture
    from srdeploy.picture import Picture

    y, x = np.mgrid[:40, :56]
    pixels = np.stack([(x * 4 + y) % 256, (x * y) % 256, 255 - y * 5], axis=2).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    write_picture(tmp_path / "pictures" / "pattern.png", Picture("rgb", (pixels,)))
    return tmp_path / "pictures"


@pytest.fixture
def theirs(tmp_path: Path, foreign_rgb: Callable[[int, int, float], Any]) -> Path:
    """Somebody's RGB network, with names of its own."""
    path = tmp_path / "theirs.onnx"
    onnx.save(foreign_rgb(11, 6, 0.1), path)
    return path


def test_a_checkpoint_becomes_proved_files(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    made = export(str(checkpoint), ("fp16",), True, tmp_path / "out", data)
    names = [file.path.name for file in made.files]
    assert names == [f"tiny-x2.{p}{k}.onnx" for p in ("fp32", "fp16") for k in ("", ".float")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    references = ["best.safetensors", "best.safetensors", "tiny-x2.fp32.onnx", "tiny-x2.fp32.float.onnx"]
    for file, reference in zip(made.files, references, strict=True):
        model = load_model(file.path)
        spec = read_spec(model, file.path.name)
        assert (spec.name, spec.scale, spec.channels, spec.halo, spec.multiple) == ("tiny-x2", 2, 1, 4, 1)
        assert (spec.reference, spec.parity) == (reference, file.parity)
        assert file.parity.passed and file.bytes == file.path.stat().st_size
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        assert open_session(file.path).spec == spec
    sizes = {file.path.name: file.bytes for file in made.files}
    for kind in ("", ".float"):
        assert sizes[f"tiny-x2.fp16{kind}.onnx"] < 0.55 * sizes[f"tiny-x2.fp32{kind}.onnx"]
    document = json.loads(json.dumps([file.to_dict() for file in made.files]))
    assert set(document[0]) == {"path", "precision", "bytes", "parity"}
    assert check_file(made.files[2].path, data=data).parity.passed


def test_twice_gives_the_same_bytes_and_no_path(checkpoint: Path, data: Path, tmp_path: Path, repository: Path) -> None:
    for folder in ("a", "b"):
        export(str(checkpoint), ("fp16",), False, tmp_path / folder, data)
    for path in (tmp_path / "a").iterdir():
        content = path.read_bytes()
        assert content == (tmp_path / "b" / path.name).read_bytes()
        for secret in (str(tmp_path), str(repository), str(Path.home()), "site-packages"):
            assert secret.encode() not in content


def test_anybodys_onnx_is_wrapped_and_proved(theirs: Path, data: Path, tmp_path: Path) -> None:
    made = export(str(theirs), ("fp32", "fp16"), False, tmp_path / "out", data)
    assert [file.path.name for file in made.files] == ["theirs.fp32.onnx", "theirs.fp16.onnx"]
    session = open_session(made.files[0].path)
    assert [entry.version for entry in load_model(made.files[0].path).opset_import] == [OPSET]
    assert (session.spec.channels, session.spec.halo, session.spec.reference) == (3, 1, "theirs.onnx")
    assert session.run(np.zeros((1, 9, 7, 3), np.uint8)).shape == (1, 18, 14, 3)
    with pytest.raises(ModelError, match="already"):
        export(str(made.files[0].path), out=tmp_path / "again", data=data)


def test_a_broken_conversion_leaves_nothing(
    theirs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = export_module.mixed_from_onnx

    def wrong(*asked: Any) -> Any:
        mixed = right(*asked)
        half = mixed.model
        values = onnx.numpy_helper.to_array(half.graph.initializer[0]) * np.float16(1.1)
        half.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, half.graph.initializer[0].name))
        return mixed

    monkeypatch.setattr(export_module, "mixed_from_onnx", wrong)
    with pytest.raises(ParityError, match=r"theirs.fp16.onnx differs from theirs.fp32.onnx.*pattern.png at x"):
        export(str(theirs), ("fp16",), True, tmp_path / "out", data)
    assert not (tmp_path / "out").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(ParityError):
        export(str(theirs), ("fp16",), True, tmp_path / "kept", data)
    assert not list((tmp_path / "kept").iterdir())


def test_what_cannot_be_exported(tmp_path: Path, theirs: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"\x80\x04N.")
    for source, message in (
        (tmp_path / "net.pth", "no checkpoint of torch"),
        (tmp_path / "none.onnx", "there is no file"),
        (tmp_path / "none.safetensors", "there is no file"),
    ):
        with pytest.raises(ModelError, match=message):
            export(str(source), out=tmp_path / "out")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.safetensors").write_text("no weights")
    for source in (tmp_path / "empty.onnx", tmp_path / "text.safetensors"):
        with pytest.raises(ModelError):
            export(str(source), out=tmp_path / "out")
    with pytest.raises(ModelError, match="precision bf16"):
        export(str(theirs), ("bf16",), out=tmp_path / "out")
    with pytest.raises(ModelError, match="type --int8 too"):
        export(str(theirs), calibrate=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_torch_a_shipped_model_comes_from_its_proved_file(
    theirs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    export(str(theirs), ("fp32",), True, shipped, data)
    for path in list(shipped.iterdir()):
        path.rename(shipped / path.name.replace("theirs", "theirs-x2"))
    (shipped / "theirs-x2.safetensors").write_bytes(b"weights")
    files = {suffix: shipped / f"theirs-x2{suffix}" for suffix in (".safetensors", ".fp32.float.onnx")}
    monkeypatch.setattr(zoo, "resolve", lambda model, scale: "theirs-x2")
    monkeypatch.setattr(zoo, "find_weights", lambda name: files[".safetensors"])
    monkeypatch.setattr(zoo, "find", lambda *asked: files[".fp32.float.onnx"])

    def missing(path: Path, size: Any) -> Any:
        raise MissingExtra("torch is needed")

    monkeypatch.setattr(export_module, "_checkpoint", missing)
    made = export("theirs-x2", ("fp16",), False, tmp_path / "out", data)
    assert "torch is not installed" in made.notes[0]
    assert [file.parity.reference for file in made.files] == ["theirs-x2.fp32.float.onnx", "theirs.fp32.onnx"]
