"""The int8 file of a shipped model, fitted to the sample pictures: proved, repeatable, or not there."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srdeploy import export as export_module
from srdeploy import parity, small, zoo
from srdeploy import quantize as quantize_module
from srdeploy.backends import open_session
from srdeploy.checking import check_file
from srdeploy.errors import InputError, ParityError
from srdeploy.export import export
from srdeploy.graph.channels import channels_of
from srdeploy.graph.files import load_model, read_spec
from srdeploy.quantize import TOLERANCE_DB, Quantized
from srdeploy.rounding import PAIR
from srdeploy.trial import Trial

onnx = pytest.importorskip("onnx")

NAME = "espcn-x4"


@pytest.fixture
def torchless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made from the shipped float file, which is quicker."""
    from srdeploy.errors import MissingExtra

    def missing(path: Path, size: object) -> None:
        raise MissingExtra("torch is needed")

    monkeypatch.setattr(export_module, "_checkpoint", missing)


@pytest.mark.usefixtures("torchless")
def test_proved_int8_files_twice_the_same(repository: Path, tmp_path: Path) -> None:
    samples = repository / "samples"
    for folder in ("a", "b"):
        made = export(NAME, ("fp32", "int8"), False, tmp_path / folder, calibrate=samples)
    for file, kind in zip(made.files[1:], ("int8", "int8-trt"), strict=True):
        path = tmp_path / "b" / f"{NAME}.{kind}.onnx"
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
        session = open_session(path, "ort", "cpu")
        assert (file.path, file.precision, session.spec.precision) == (path, "int8", "int8")
        assert file.parity.passed and "convolutions in int8" in file.parity.arithmetic
        assert session.spec.quality_loss_db["ort/int8"] <= TOLERANCE_DB
        assert any(re.fullmatch(rf"{kind}, ranges by .* dB of PSNR lost on 4 pictures", note) for note in made.notes)
        assert session.run(np.zeros((1, 9, 7, 1), np.uint8)).shape == (1, 36, 28, 1)
        found = check_file(path)
        assert found.parity.passed and file.parity.tolerance == {"psnr_db": 40.0}
        assert found.parity.tolerance == {"psnr_db": 40.0, "stamped_db": file.parity.psnr_db}
        assert channels_of(load_model(path))
        assert _pair_sums(path) <= PAIR


def _pair_sums(path: Path) -> int:
    """The most that two weights sum to whose products AVX2 adds in 16 bits: neighbours among a place's channels."""
    most = 0
    for tensor in load_model(path).graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            levels = onnx.numpy_helper.to_array(tensor).astype(int)
            assert levels.shape[1] % 2 == 0
            most = max(most, int(np.abs(levels[:, ::2] + levels[:, 1::2]).max()))
    assert most > 0
    return most


@pytest.mark.usefixtures("torchless")
@pytest.mark.parametrize("name", zoo.names())
def test_what_ships_in_int8_is_the_default(name: str, tmp_path: Path) -> None:
    """Fitted to photographs that are not there: the same network, proved anew.

    The proof's last digits follow the number of threads that a sum was made by, so they are compared as numbers.
    """
    shipped = [zoo.MODELS / f"{name}.{kind}.onnx" for kind in ("int8", "int8-trt")]
    if not all(path.is_file() for path in shipped):
        pytest.skip(f"{name} does not ship in int8")
    made = export(name, ("int8",), False, tmp_path)
    for file, there in zip(made.files[1:], shipped, strict=True):
        now, then = load_model(file.path), load_model(there)
        assert now.graph == then.graph
        proof, proved = (read_spec(model, "").parity for model in (now, then))
        assert proof is not None and proved is not None and proof.psnr_db == pytest.approx(proved.psnr_db, abs=1e-6)
        assert replace(proof, psnr_db=None) == replace(proved, psnr_db=None)
    said = [note.partition(" of ")[0] for note in made.notes if note.startswith("int8")]
    assert said == ["int8 is what ships", "int8-trt is what ships"]


@pytest.mark.usefixtures("torchless")
def test_other_weights_are_fitted_to_the_pictures_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = small._shipped
    monkeypatch.setattr(small, "_shipped", lambda facts: known(replace(facts, weights_sha256="others")))
    made = export(NAME, ("int8",), False, tmp_path)
    assert any("fitted to the 3 pictures that ship; for your own type --calibrate" in note for note in made.notes)
    assert [file.path.name for file in made.files] == [f"{NAME}.{kind}.onnx" for kind in ("fp32", "int8", "int8-trt")]


@pytest.mark.usefixtures("torchless")
def test_a_default_that_does_not_do_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "_shipped", lambda facts: ({}, []))
    monkeypatch.setitem(parity.TOLERANCE, ("int8", "uint8"), {"psnr_db": 90.0})  # type: ignore[index]
    with pytest.raises(ParityError, match=r"fitted to the pictures that ship: type --calibrate DIR$"):
        export(NAME, ("int8",), False, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("torchless")
def test_a_loss_above_tolerance_leaves_no_file(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_module, "METHODS", ["minmax"])
    monkeypatch.setattr(Trial, "quantized", lambda *asked: (None, 0.3))
    monkeypatch.setattr(Trial, "ranked_alone", lambda self, method, parts, names: names)
    with pytest.raises(ParityError, match=r"loses 0\.30 dB of PSNR on 4 pictures .*; type --fp16") as caught:
        export(NAME, ("int8",), False, tmp_path / "out", calibrate=repository / "samples")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("torchless")
def test_a_folder_without_pictures_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="type --"):
        export(NAME, ("int8",), False, tmp_path / "out", calibrate=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("torchless")
def test_a_missing_folder_names_the_option_to_type(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*none; type --calibrate and a folder of pictures"):
        export(NAME, ("int8",), False, tmp_path / "out", calibrate=tmp_path / "none")


@pytest.mark.parametrize("enough", [1, 2, 5, 6, None])
def test_the_first_that_is_good_enough_is_found(enough: int | None) -> None:
    """By bisection: of six, each losing less than the one before."""
    asked: list[int] = []

    def measure(count: int) -> Quantized:
        asked.append(count)
        good = enough is not None and count >= enough
        return Quantized(count, "minmax", 6, 0.03 - count / 1000 if good else 0.2 - count / 100, 1)

    before = Quantized(0, "minmax", 6, 0.3, 1)
    found = quantize_module._first_good(before, 6, measure)
    assert found.model == (enough or 6) and len(asked) <= 4
    assert quantize_module._first_good(before, 0, measure) is before
    nearly = Quantized(0, "minmax", 6, 0.095, 1)  # what costs speed must be worth it
    assert quantize_module._first_good(nearly, 6, lambda count: Quantized(count, "minmax", 6, 0.09, 1)) is nearly
