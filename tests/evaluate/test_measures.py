"""Which metrics there are, what each needs, and what is refused before anything is computed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from srdeploy.errors import InputError
from srdeploy.evaluate import METRICS, evaluate, metrics_named
from srdeploy.evaluate.measures import GROUPS, Measures


def test_names_and_groups() -> None:
    assert metrics_named("psnr_y, niqe") == ["psnr_y", "niqe"]
    assert metrics_named("fid,sets,psnr_y") == ["fid", "kid", "is", "precision", "recall", "psnr_y"]
    assert metrics_named("all") == list(METRICS)
    assert set().union(*GROUPS.values()) == set(METRICS)
    for text, word in (("psnr_y,vmaf", "vmaf"), (" , ", "none given")):
        with pytest.raises(InputError, match=f"no such metric: {word}; there are: psnr_y"):
            metrics_named(text)


def test_everything_that_needs_no_network(samples: Path) -> None:
    result = evaluate("bicubic", samples, 4, metrics=metrics_named("arithmetic,niqe"))
    mean = result.mean
    assert list(mean) == [*GROUPS["arithmetic"], "niqe"]
    for image in result.images:  # the formulas hang together
        assert image.scores["psnr_y"] == pytest.approx(10 * np.log10(255**2 / image.scores["mse_y"]))
        assert image.scores["mae_rgb"] ** 2 <= image.scores["mse_rgb"]
        assert image.scores["ssim_y"] < image.scores["msssim_y"] < 1
        assert 0 < image.scores["entropy"] <= 8
    assert result.to_dict()["notes"] == ["niqe: against the model that ships; compare only with values that it gave"]


@pytest.mark.parametrize(
    ("metric", "side", "words"), [("msssim_y", 183, "176 x 176"), ("niqe", 199, "96 x 192"), ("lpips", 39, "32 x 32")]
)
def test_small_pictures_are_refused_with_their_sizes(
    tmp_path: Path, metric: str, side: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srdeploy.learn.require_networks", lambda: None)
    monkeypatch.setattr(Measures, "_open_networks", lambda self: None)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((side, side), np.uint8))
    with pytest.raises(InputError, match=rf"a\.png is too small for {metric}: .* {words} must be left") as error:
        evaluate("bicubic", tmp_path, 4, metrics=["psnr_y", metric])
    assert "\n" not in str(error.value)


def test_refused_before_the_first_picture(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "no.npz").write_bytes(b"PK")
    for metrics, weights, words in (
        (["is"], {}, "is needs at least 20 pictures and there are 4"),
        (["niqe"], {"nique": samples}, "no weights are named 'nique'; type one of: niqe=PATH"),
        (["niqe"], {"niqe": tmp_path / "none.npz"}, "no file at"),
        (["niqe"], {"niqe": tmp_path / "no.npz"}, "is not an .npz with mu_pris_param"),
        (["niqe"], {"niqe": samples}, "do not make a model for NIQE: .* sharp blocks"),
    ):
        with pytest.raises(InputError, match=words):
            Measures(metrics, 4, weights)
