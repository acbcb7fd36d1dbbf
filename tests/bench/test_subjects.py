"""What a row is of: pictures of many sizes and of one are the same work."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srdeploy.bench import subjects
from srdeploy.bench.suite import FOLDER, Row
from srdeploy.errors import ModelError
from srdeploy.upscale import Upscaler


def test_pictures_of_many_sizes_and_of_one_have_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[tuple[int, Upscaler, tuple[int, ...]]] = []

    def see(upscaler: Upscaler, picture: np.ndarray) -> np.ndarray:
        met.append((sizes, upscaler, picture.shape))
        return picture

    monkeypatch.setattr(Upscaler, "__call__", see)
    for sizes in (30, 1):
        row = Row("sizes", "ort", "fast-x4", device="cpu", threads=1, batch=30, sizes=sizes)
        subject = subjects.open_row(row, tmp_path)
        assert (subject.facts["sizes"], subject.facts["batch"]) == (sizes, 30)
        for _ in range(2):
            assert subject.run(lambda: None) == 30
    shapes = {
        kind: [shape for sizes, _, shape in met[start : start + 30]] for kind, start in (("many", 0), ("one", 60))
    }
    assert len(set(shapes["many"])) == 30 and len(set(shapes["one"])) == 1
    pixels = {kind: sum(height * width for height, width, _ in found) for kind, found in shapes.items()}
    assert abs(pixels["many"] / pixels["one"] - 1) < 0.01
    assert met[0][1] is not met[30][1], "each run opens the model anew, or sizes would be known to it"


def test_a_folder_of_pictures_goes_to_a_folder(tmp_path: Path) -> None:
    row = Row("sizes", "ort", "fast-x2", device="cpu", threads=1, batch=3, sizes=3, file=FOLDER)
    subject = subjects.open_row(row, tmp_path)
    firsts: list[int] = []
    assert subject.run(lambda: firsts.append(1)) == 3 and firsts == [1]
    assert subject.facts["file"] == FOLDER
    assert len(list(tmp_path.rglob("*.png"))) == 3, "results are removed, sources stay for the next run"


def test_a_network_of_one_size_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = SimpleNamespace(spec=SimpleNamespace(size=(48, 64)), path=Path("theirs.fp32.onnx"))
    monkeypatch.setattr(subjects, "_open", lambda row, folder: SimpleNamespace(session=session))
    with pytest.raises(ModelError, match="takes 64x48 pixels only; type --size 64x48"):
        subjects.open_row(Row("network", "ort", "theirs.fp32.onnx", height=270, width=480), tmp_path)
