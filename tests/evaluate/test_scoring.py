"""The evaluation protocol: published bicubic rows, an independent computation, and what it refuses."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srdeploy import zoo
from srdeploy.backends.onnxfile import read_spec
from srdeploy.calibration import calibration_pairs
from srdeploy.errors import InputError, ModelError, OutputError
from srdeploy.evaluate import DEFAULT, PROTOCOL, Save, Upscale, evaluate
from srdeploy.media.pictures import read_picture
from srdeploy.page.pairs import pairs_of
from srdeploy.parity import pictures_for
from srdeploy.picture import Picture
from srdeploy.resample import imresize_uint8


def nearest(scale: int) -> Upscale:
    return lambda picture: Picture("rgb", (picture.planes[0].repeat(scale, 0).repeat(scale, 1),))


@pytest.mark.parametrize(
    ("name", "scale", "published"),
    [
        ("set5", 2, 33.68),
        ("set5", 3, 30.41),
        ("set5", 4, 28.43),
        ("set14", 4, 26.09),
        ("b100", 4, 25.96),
    ],
)
def test_the_published_bicubic_row(shared: Path, name: str, scale: int, published: float) -> None:
    result = evaluate("bicubic", shared / "data" / "test" / name, scale, metrics=["psnr_y"])
    assert len(result.images) == {"set5": 5, "set14": 14, "b100": 100}[name]
    assert result.mean["psnr_y"] == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("scale", "psnr", "ssim"), [(2, 30.24, 0.8688), (3, 27.55, 0.7742)])
def test_set14_is_near_the_literature(shared: Path, scale: int, psnr: float, ssim: float) -> None:
    # The usual Set14 is cropped and has other copies of some pictures: hence the wider margin, as at x4 (26.09, 26.00).
    result = evaluate("bicubic", shared / "data" / "test" / "set14", scale, metrics=["psnr_y", "ssim_y"])
    assert result.mean["psnr_y"] == pytest.approx(psnr, abs=0.1)
    assert result.mean["ssim_y"] == pytest.approx(ssim, abs=0.003)


def test_ssim_of_the_published_bicubic_row(shared: Path) -> None:
    mean = evaluate("bicubic", shared / "data" / "test" / "set5", 4).mean
    assert mean["ssim_y"] == pytest.approx(0.8104, abs=0.001)
    assert mean["psnr_rgb"] < mean["psnr_y"]


def test_every_step_by_other_means(tmp_path: Path, samples: Path) -> None:
    rgb = cv2.imread(str(samples / "facade.png"))[:, :, ::-1]  # 243 x 321: x4 cuts 3 rows and 1 column
    cv2.imwrite(str(tmp_path / "facade.png"), rgb[:, :, ::-1])
    scores = evaluate(nearest(4), tmp_path, 4).images[0].scores
    high = rgb[:240, :320]
    result = imresize_uint8(high, 60, 80).repeat(4, 0).repeat(4, 1)
    high, result = high[4:-4, 4:-4], result[4:-4, 4:-4]
    y, y_result = rgb2ycbcr(high)[..., 0], rgb2ycbcr(result)[..., 0]
    settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert scores == pytest.approx(
        {
            "psnr_y": peak_signal_noise_ratio(y, y_result, data_range=255),
            "ssim_y": structural_similarity(y, y_result, **settings),
            "psnr_rgb": peak_signal_noise_ratio(high, result, data_range=255),
            "ssim_rgb": structural_similarity(high, result, channel_axis=2, **settings),
        },
        abs=1e-9,
    )


def test_bicubic_is_rounded_between_and_after(tmp_path: Path, samples: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(str(samples / "owl.png")))

    def bicubic(picture: Picture) -> Picture:
        low = picture.planes[0]
        assert low.dtype == np.uint8 and low.shape == (120, 160, 3)
        return Picture("rgb", (imresize_uint8(low, 240, 320),))

    assert evaluate("bicubic", tmp_path, 2).mean == evaluate(bicubic, tmp_path, 2).mean


def test_gray_pictures_and_the_document(tmp_path: Path, samples: Path) -> None:
    gray = cv2.imread(str(samples / "hills.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "b.png"), gray)
    cv2.imwrite(str(tmp_path / "a.bmp"), np.full((48, 48), 77, np.uint8))
    (tmp_path / "README.md").write_text("not a picture")
    seen: list[tuple[int, int]] = []
    result = evaluate(nearest(3), tmp_path, 3, "nearest-x3", on_image=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    document = json.loads(result.to_json())
    assert list(document) == ["model", "scale", "protocol", "data", "mean", "images"]
    assert (document["model"], document["scale"], document["protocol"]) == ("nearest-x3", 3, PROTOCOL)
    flat, hills = document["images"]
    assert (flat["name"], flat["psnr_y"], flat["ssim_rgb"]) == ("a", None, pytest.approx(1))  # equal: infinite PSNR
    assert document["mean"]["psnr_y"] is None
    assert set(hills) == {"name", *DEFAULT}
    # Y of gray is 219/255 of it, so its errors are smaller by that much: 1.32 dB.
    assert hills["psnr_y"] - hills["psnr_rgb"] == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)
    assert document["mean"]["ssim_y"] == pytest.approx((flat["ssim_y"] + hills["ssim_y"]) / 2)


def test_a_result_of_another_size_is_the_models_fault(samples: Path) -> None:
    with pytest.raises(ModelError, match=r"x4 was asked for, but the model made 120 x 160 of 60 x 80 .* --scale"):
        evaluate(nearest(2), samples, 4)


def test_refused_in_one_line(tmp_path: Path, samples: Path) -> None:
    empty, text, small, deep = (tmp_path / name for name in ("empty", "text", "small", "deep"))
    for folder in (empty, text, small, deep):
        folder.mkdir()
    (text / "photo.png").write_text("no pixels here\n")
    cv2.imwrite(str(small / "dot.png"), np.zeros((18, 40, 3), np.uint8))
    cv2.imwrite(str(deep / "deep.png"), np.zeros((64, 64, 3), np.uint16))
    for folder, words in (
        (tmp_path / "nowhere", "no such folder"),
        (samples / "owl.png", "is a file"),
        (empty, "no picture"),
        (text, "photo.png"),
        (small, "too small"),
        (deep, "16 bits"),
    ):
        with pytest.raises(InputError, match=words) as error:
            evaluate("bicubic", folder, 4)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"no such metric: vmaf; there are: psnr_y.* groups of them: arithmetic"):
        evaluate("bicubic", samples, 4, metrics=["psnr_y", "vmaf"])


def test_results_are_saved_uncut_and_whole(tmp_path: Path, samples: Path) -> None:
    (tmp_path / "in" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), cv2.imread(str(samples / "facade.png"))[:50, :70])
    place = Save(tmp_path / "out")
    evaluate(nearest(4), tmp_path / "in", 4, metrics=["psnr_y"], save=place)
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "a.png",
        "more/b.png",
    ]
    low = imresize_uint8(cv2.imread(str(samples / "facade.png"))[:48, :68, ::-1], 12, 17)
    saved = read_picture(tmp_path / "out" / "more" / "b.png").planes[0]
    assert np.array_equal(saved, low.repeat(4, 0).repeat(4, 1))

    with pytest.raises(OutputError, match=r"a\.png exists already; type --overwrite"):
        evaluate(nearest(4), tmp_path / "in", 4, metrics=["psnr_y"], save=place)
    evaluate(nearest(4), tmp_path / "in", 4, metrics=["psnr_y"], save=Save(place.folder, overwrite=True))


def test_results_are_not_saved_where_they_would_do_harm(tmp_path: Path, samples: Path) -> None:
    picture = cv2.imread(str(samples / "owl.png"))
    for name in ("a.png", "a.bmp"):
        cv2.imwrite(str(tmp_path / name), picture)
    for folder, words in (
        (tmp_path, "the pictures to measure are in there"),
        (tmp_path / "deeper", "the pictures to measure are in there"),
        (samples / "owl.png", "it is a file"),
        (tmp_path.parent / f"{tmp_path.name}-out", "two pictures in .* are named a; rename one"),
    ):
        with pytest.raises(OutputError, match=words):
            evaluate("bicubic", tmp_path, 4, metrics=["psnr_y"], save=Save(folder))
    assert not (tmp_path / "deeper").exists()


def test_a_folder_that_cannot_be_read_is_not_left_out(
    tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures would be missing in the mean, and nobody would know. Root reads everything: the system refuses."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "owl.png").write_bytes((samples / "owl.png").read_bytes())
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    takers: tuple[Callable[[], object], ...] = (
        lambda: evaluate("bicubic", tmp_path, 4),
        lambda: calibration_pairs(tmp_path, 1, 4, 1),
        lambda: pictures_for(read_spec(zoo.find("espcn-x4")), tmp_path),
        lambda: list(pairs_of(tmp_path, tmp_path)),
    )
    for take in takers:
        with pytest.raises(InputError, match=r"cannot read .*inner: Permission denied"):
            take()
