"""Measures through networks, with small random weights, against the answers of the libraries themselves."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from scipy.linalg import sqrtm

torch = pytest.importorskip("torch")

from srdeploy.errors import InputError, MissingExtra  # noqa: E402
from srdeploy.learn import require_networks  # noqa: E402
from srdeploy.learn.vision import load_torchvision, read_state, weights_of  # noqa: E402

try:
    require_networks()
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

from srdeploy.learn import perception  # noqa: E402

torchvision = load_torchvision()


def _random(shapes: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Random numbers of these shapes; one column stands for all of a large matrix, so that the file stays small."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, like in shapes.items():
        if name.endswith(("running_var", "bn.weight")):
            state[name] = torch.ones(like.shape)
        elif like.ndim == 4:
            state[name] = torch.randn(like.shape, generator=generator) * math.sqrt(2 / like[0].numel())
        elif like.ndim == 2:
            state[name] = (torch.randn(like.shape[0], 1, generator=generator) * 1e-3).expand(like.shape)
        else:
            state[name] = torch.zeros(like.shape, dtype=like.dtype)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files as torchvision and torch-fidelity would fetch them."""
    from torch_fidelity import feature_extractor_inceptionv3 as inceptions

    folder = tmp_path_factory.mktemp("weights")
    nets = {}
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        nets["alexnet"] = torchvision.models.alexnet()
        nets["vgg16"] = torchvision.models.vgg16()
        patch.setattr(inceptions, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inceptions.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        nets["inception"] = inceptions.FeatureExtractorInceptionV3("any", ["2048"])
    for name, net in nets.items():
        torch.save(_random(net.state_dict()), folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in nets}


@contextlib.contextmanager
def _hub(folder: Path, url: str, file: Path) -> Iterator[None]:
    """torch.hub as it is after the libraries fetched `url`."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / Path(url).name).symlink_to(file)
    before = torch.hub.get_dir()
    torch.hub.set_dir(folder)
    yield
    torch.hub.set_dir(before)


def _pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:72, 0:88]
    a = np.stack([x * 2, y * 3, 255 - x - y], axis=-1).clip(0, 255).astype(np.uint8)
    return a, np.clip(a + rng.normal(0, 25, a.shape), 0, 255).astype(np.uint8)


def _tensor(pixels: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def test_lpips(weights: dict[str, Path], tmp_path: Path) -> None:
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as theirs

    a, b = _pair()
    with _hub(tmp_path, torchvision.models.AlexNet_Weights.DEFAULT.url, weights["alexnet"]):
        expected = theirs(_tensor(b) / 255, _tensor(a) / 255, net_type="alex", normalize=True)
    lpips = perception.Lpips(weights["alexnet"])
    assert lpips(a, b) == pytest.approx(float(expected), rel=1e-5)
    assert lpips(a, b) > lpips(a, a) == 0


def test_dists(weights: dict[str, Path], tmp_path: Path) -> None:
    from torchmetrics.functional.image import deep_image_structure_and_texture_similarity as theirs

    a, b = _pair()
    with _hub(tmp_path, torchvision.models.VGG16_Weights.DEFAULT.url, weights["vgg16"]):
        expected = theirs(_tensor(b) / 255, _tensor(a) / 255)
    dists = perception.Dists(weights["vgg16"])
    assert dists(a, b) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert dists(a, b) > 1e-4 > abs(dists(a, a))


def test_features_of_sets(weights: dict[str, Path]) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

    a, b = _pair()
    sets = perception.Sets(["is", "recall"], weights["inception"], weights["vgg16"])
    sets.add(a, b)
    inception = FeatureExtractorInceptionV3("any", ["2048", "logits_unbiased"], str(weights["inception"]))
    vgg16 = FeatureExtractorVGG16("any", ["fc2_relu"], str(weights["vgg16"]))
    for which, pixels in enumerate((b, a)):  # results first, then references
        pooled, logits = inception(_tensor(pixels))
        (fc2,) = vgg16(_tensor(pixels))
        for layer, expected in (("2048", pooled), ("logits_unbiased", logits), ("fc2_relu", fc2)):
            assert torch.equal(sets._features[layer][which][0], expected)
            assert float(expected.std()) > 0


def test_scores_of_sets_against_their_formulas() -> None:
    rng = np.random.default_rng(0)
    made, real = rng.normal(0.2, 1.2, (40, 6)), rng.normal(0, 1, (40, 6))
    pair = torch.from_numpy(made), torch.from_numpy(real)
    logits = torch.eye(20) * 100  # twenty pictures, each surely of another class: two classes in each of ten parts
    found = perception.scores_of_features({"2048": pair, "fc2_relu": pair, "logits_unbiased": (logits, logits)})

    c1, c2 = np.cov(made.T), np.cov(real.T)
    fid = ((made.mean(0) - real.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert found["fid"] == pytest.approx(fid)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / 6 + 1) ** 3

    off = ~np.eye(40, dtype=bool)
    kid = kernel(made, made)[off].mean() + kernel(real, real)[off].mean() - 2 * kernel(made, real).mean()
    assert found["kid"] == pytest.approx(kid)
    assert found["is"] == pytest.approx(2)

    def within(points: np.ndarray, others: np.ndarray) -> float:
        """The share of points that lie in the ball of one of the others; its radius: to its third neighbour."""
        radii = np.sort(np.linalg.norm(others[:, None] - others, axis=-1), axis=1)[:, 3]
        return float((np.linalg.norm(points[:, None] - others, axis=-1) <= radii).any(axis=1).mean())

    assert found["precision"] == pytest.approx(within(made, real))
    assert found["recall"] == pytest.approx(within(real, made))
    assert found["precision"] != found["recall"]


def test_weights_that_cannot_be_had(weights: dict[str, Path], tmp_path: Path) -> None:
    url = "https://example.invalid/net-0123.pth"
    with (
        pytest.raises(
            InputError, match=r"net could not be fetched \(.*no way.*\); fetch https.* type --weights net=PATH"
        ),
        weights_of("net", url, None),
    ):
        raise URLError("no way")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a": Path("x")}, tmp_path / "code.pth")
    for path, words in (
        (tmp_path / "none.pth", "no weights at"),
        (tmp_path / "text.pth", "does not load as weights"),
        (tmp_path / "text.safetensors", "does not load as weights"),
        (tmp_path / "list.pth", "holds no state dict"),
        (tmp_path / "code.pth", "does not load as weights"),
        (weights["alexnet"], "does not hold the weights of vgg16"),
    ):
        with pytest.raises(InputError, match=words) as error:
            perception.Dists(path)
        assert "\n" not in str(error.value) and "PyTorch" not in str(error.value)


def test_weights_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "net.pth").write_bytes(b"x")
    monkeypatch.setattr(torch, "load", refuse)  # root may read anything
    with pytest.raises(InputError, match=r"cannot read .*net\.pth: Permission denied"):
        read_state(tmp_path / "net.pth")


def test_weights_as_safetensors(weights: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in read_state(weights["alexnet"]).items() if value.ndim == 4}
    save_file(state, tmp_path / "some.safetensors")
    again = read_state(tmp_path / "some.safetensors")
    assert all(torch.equal(again[name], value) for name, value in state.items())
