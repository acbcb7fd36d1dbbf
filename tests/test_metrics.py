"""PSNR, SSIM, MSE, entropy and luma against scikit-image's own; MS-SSIM against pytorch-msssim's."""

import math
from functools import partial

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.measure import shannon_entropy
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from srdeploy.metrics import entropy, luma, mae, ms_ssim, mse, psnr, shave, ssim

their_ssim = partial(structural_similarity, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def _pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = np.cumsum(rng.normal(0, 9, shape), axis=1) + 128
    return np.clip(a, 0, 255).astype(np.uint8), np.clip(a + rng.normal(0, 12, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(11, 11), (12, 61), (97, 131), (64, 40, 3), (33, 35, 1)])
def test_equal_to_scikit_image(shape: tuple[int, ...]) -> None:
    a, b = _pair(shape)
    axis = 2 if len(shape) == 3 else None
    assert ssim(a, b) == pytest.approx(their_ssim(a, b, data_range=255, channel_axis=axis), abs=1e-10)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-10)
    x, y = a / 255, b / 255
    assert ssim(x, y, peak=1) == pytest.approx(their_ssim(x, y, data_range=1, channel_axis=axis), abs=1e-10)
    assert psnr(x, y, peak=1) == pytest.approx(psnr(a, b), abs=1e-9)


@pytest.mark.parametrize("shape", [(192, 208), (176, 240, 3)])
def test_ms_ssim_equals_pytorch_msssim(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("pytorch_msssim")
    a, b = _pair(shape)
    planes = [torch.from_numpy(np.atleast_3d(x).transpose(2, 0, 1)[:, None].astype(np.float64)) for x in (a, b)]
    expected = theirs.ms_ssim(*planes, data_range=255)
    assert ms_ssim(a, b) == pytest.approx(float(expected), abs=1e-6)  # its window is of single precision
    assert ms_ssim(a / 255, b / 255, peak=1) == pytest.approx(ms_ssim(a, b), abs=1e-9)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-9)


def test_ms_ssim_of_odd_sides_repeats_the_last_pixel() -> None:
    a, b = _pair((353, 361))
    wide = [np.pad(x, ((0, 31), (0, 23)), mode="symmetric") for x in (a, b)]  # mirrored: as each scale would repeat it
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(*wide), abs=2e-3)
    with pytest.raises(ValueError, match="at least 176 x 176"):
        ms_ssim(a[:175], b[:175])
    assert ms_ssim(a, 255 - a) == 0  # a negative structure counts as none


def test_mse_mae_and_entropy() -> None:
    a, b = _pair((40, 64, 3))
    assert mse(a, b) == pytest.approx(mean_squared_error(a, b), rel=1e-12)
    assert mae(a, b) == pytest.approx(np.abs(a.astype(int) - b).mean(), rel=1e-12)
    assert entropy(a) == pytest.approx(shannon_entropy(a), abs=1e-12)
    assert entropy(np.arange(256, dtype=np.uint8)) == 8
    assert str(entropy(np.full((5, 5), 7, np.uint8))) == "0.0"


def test_unsigned_differences_do_not_wrap() -> None:
    black, white = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0
    one = black.copy()
    one[0, 0] = 1
    assert psnr(one, black) == pytest.approx(20 * math.log10(255) + 10 * math.log10(256))


def test_equal_pictures() -> None:
    a, _ = _pair((20, 20))
    assert psnr(a, a) == math.inf
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)


def test_shapes_must_agree_and_hold_a_window() -> None:
    a, _ = _pair((20, 20))
    for measure in (psnr, ssim, ms_ssim, mse, mae):
        with pytest.raises(ValueError, match="one shape"):
            measure(a, a[:19])
    with pytest.raises(ValueError, match="at least 11"):
        ssim(a[:10], a[:10])


def test_luma_is_bt601_in_studio_range() -> None:
    rgb = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    assert luma(rgb) == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=1e-9)
    picture, _ = _pair((9, 14, 3))
    assert luma(picture) == pytest.approx(rgb2ycbcr(picture)[..., 0], abs=1e-9)
    assert luma(picture.astype(np.float32)) == pytest.approx(luma(picture), abs=1e-4)


def test_shave() -> None:
    pixels = np.arange(7 * 9).reshape(7, 9)
    assert np.array_equal(shave(pixels, 3), pixels[3:4, 3:6])
    assert np.array_equal(shave(pixels, 0), pixels)
    with pytest.raises(ValueError, match="leaves nothing"):
        shave(pixels, 4)
