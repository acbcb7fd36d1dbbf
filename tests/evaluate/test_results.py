"""Means, gains and documents of results."""

import csv
import math
from pathlib import Path

import pytest

from srdeploy.errors import OutputError
from srdeploy.evaluate import Evaluation, ImageScores, write_csv


def _result(model: str, *psnrs: float, fid: float = 1.0) -> Evaluation:
    images = tuple(ImageScores(f"p{i}, of mine", {"psnr_y": psnr}) for i, psnr in enumerate(psnrs))
    return Evaluation(model, 2, "folder", images, "protocol", {"fid": fid})


def test_the_gain_over_a_baseline() -> None:
    better, base = _result("a", 30.0, 32.0, fid=4), _result("bicubic", 28.0, 29.5, fid=6)
    assert better.mean == {"psnr_y": 31.0, "fid": 4}
    assert better.gain(base) == {"psnr_y": 2.25, "fid": -2}
    document = better.to_dict(base)
    assert document["baseline"] == {"model": "bicubic", "mean": {"psnr_y": 28.75, "fid": 6}}
    assert document["gain"] == {"psnr_y": 2.25, "fid": -2}
    assert document["images"][0] == {"name": "p0, of mine", "psnr_y": 30.0}
    assert _result("a", math.inf, 3.0).to_dict(base)["gain"]["psnr_y"] is None
    assert "gain" not in better.to_dict() and "notes" not in better.to_dict()


def test_a_csv_of_every_picture(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_csv(path, [_result("a", 30.0, 1 / 3), _result("b", math.inf, 2.0)])
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert rows == [
        ["model", "scale", "name", "psnr_y"],
        ["a", "2", "p0, of mine", "30.0"],
        ["a", "2", "p1, of mine", repr(1 / 3)],
        ["b", "2", "p0, of mine", "inf"],
        ["b", "2", "p1, of mine", "2.0"],
    ]
    with pytest.raises(OutputError, match="exists already; type --overwrite"):
        write_csv(path, [_result("a", 1.0)])
    write_csv(path, [_result("a", 1.0)], overwrite=True)
    assert len(path.read_text().splitlines()) == 2
    for wrong, words in ((tmp_path, "is a folder"), (tmp_path / "none" / "x.csv", "there is no folder")):
        with pytest.raises(OutputError, match=words):
            write_csv(wrong, [_result("a", 1.0)])
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
