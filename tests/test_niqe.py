"""NIQE: its parts against scipy and sampled distributions, and what it says of spoilt pictures."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, special

from srdeploy import niqe
from srdeploy.errors import InputError
from srdeploy.media.pictures import read_picture
from srdeploy.resample import imresize_uint8


def _texture(height: int = 288, width: int = 384, seed: int = 0) -> np.ndarray:
    """Gray levels with the 1/f spectrum of photographs."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / np.maximum(np.hypot(fy, fx), 1 / width)
    pixels = np.fft.irfft2(spectrum, (height, width))
    return np.clip(np.rint(128 + 45 * pixels / pixels.std()), 0, 255)


def test_local_normalisation_against_scipy() -> None:
    pixels = _texture(96, 192)
    offsets = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(offsets, offsets) / np.outer(offsets, offsets).sum()
    mean = ndimage.correlate(pixels, window, mode="nearest")
    deviation = np.sqrt(np.abs(ndimage.correlate(pixels**2, window, mode="nearest") - mean**2))
    normal, found = niqe._normalised(pixels)
    assert found == pytest.approx(deviation, abs=1e-6)
    assert normal == pytest.approx((pixels - mean) / (deviation + 1), abs=1e-6)


@pytest.mark.parametrize(("shape", "left", "right"), [(2.0, 1.0, 1.0), (0.8, 0.5, 2.0), (4.0, 3.0, 1.5)])
def test_the_fit_finds_what_was_sampled(shape: float, left: float, right: float) -> None:
    rng = np.random.default_rng(1)
    size = rng.gamma(1 / shape, size=400_000) ** (1 / shape)
    values = np.where(rng.random(400_000) < left / (left + right), -left * size, right * size)
    found = [float(x[0]) for x in niqe._asymmetric_gaussian(values.reshape(1, 400, 1000))]
    assert found == pytest.approx([shape, left, right], rel=0.02)


def test_the_distance_is_that_of_the_paper() -> None:
    pixels = _texture()
    pristine = niqe.load_pristine(niqe.SHIPPED)
    features, _ = niqe._features(pixels)
    assert features.shape == (12, 36)
    one = niqe._blocks(niqe._normalised(pixels)[0], 96)[5]  # block (1, 1): shape, width and the first product's mean
    alpha, left, right = (float(x[0]) for x in niqe._asymmetric_gaussian(one[None]))
    assert features[5, :2] == pytest.approx([alpha, (left + right) / 2])
    product = one * np.roll(one, 1, axis=1)
    alpha, left, right = (float(x[0]) for x in niqe._asymmetric_gaussian(product[None]))
    assert features[5, 3] == pytest.approx((right - left) * special.gamma(2 / alpha) / special.gamma(1 / alpha))
    difference = features.mean(axis=0) - pristine.mean
    inverse = np.linalg.pinv((np.cov(features.T) + pristine.covariance) / 2)
    assert niqe.niqe(pixels, pristine) == pytest.approx(math.sqrt(difference @ inverse @ difference))


def test_spoilt_pictures_are_less_natural(samples: Path) -> None:
    pristine = niqe.load_pristine(niqe.SHIPPED)
    rgb = read_picture(samples / "owl.png").planes[0]
    height, width = rgb.shape[:2]
    noise = np.random.default_rng(0).normal(0, 25, rgb.shape)
    soft = imresize_uint8(imresize_uint8(rgb, height // 4, width // 4), height, width)
    first, noisy, blurred = (
        niqe.niqe(niqe.gray_of(x), pristine) for x in (rgb, np.clip(rgb + noise, 0, 255).astype(np.uint8), soft)
    )
    assert first < min(noisy, blurred)


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    model = niqe.fit_pristine([_texture(384, 480, seed) for seed in range(12)])
    niqe.save_pristine(tmp_path / "mine.npz", model)
    again = niqe.load_pristine(tmp_path / "mine.npz")
    assert np.array_equal(again.mean, model.mean) and np.array_equal(again.covariance, model.covariance)
    noise = np.random.default_rng(0).integers(0, 256, (288, 384))
    assert niqe.niqe(_texture(seed=99), model) < niqe.niqe(noise, model)
    with pytest.raises(ValueError, match="at least 100 are needed"):
        niqe.fit_pristine([_texture()])
    np.savez(tmp_path / "other.npz", mu_pris_param=np.zeros(35), cov_pris_param=np.eye(36))
    with pytest.raises(InputError, match="36 numbers"):
        niqe.load_pristine(tmp_path / "other.npz")


def test_what_has_no_texture_has_no_niqe() -> None:
    pristine = niqe.load_pristine(niqe.SHIPPED)
    assert math.isnan(niqe.niqe(np.full((96, 192), 80.0), pristine))
    with pytest.raises(ValueError, match="two blocks of 96 x 96"):
        niqe.niqe(np.zeros((190, 190)), pristine)


def test_gray_is_matlabs() -> None:
    rgb = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (10, 20, 30)]], np.uint8)
    assert niqe.gray_of(rgb).tolist() == [[76, 150, 29, 255, 18]]
