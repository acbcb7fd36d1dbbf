"""The perceptual term and the teacher: against torchvision's layers, whom gradients reach, and what is refused."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from srdeploy.errors import InputError, MissingExtra  # noqa: E402
from srdeploy.learn.guides import Features, Guides, open_guides  # noqa: E402
from srdeploy.learn.losses import LOSSES  # noqa: E402
from srdeploy.learn.nets import build_net  # noqa: E402
from srdeploy.learn.recipes import DataRecipe, TrainRecipe, with_loss  # noqa: E402
from srdeploy.learn.vision import load_torchvision, read_state  # noqa: E402
from srdeploy.learn.weights import save_net  # noqa: E402

RECIPE = TrainRecipe(
    name="tiny-x2",
    network="espcn",
    scale=2,
    seed=3,
    data=DataRecipe(folders=("a",), validation=("a/p.png",), patch=12, batch=4),
    epochs=1,
    steps_per_epoch=1,
    loss="l1+perceptual",
    learning_rate=1e-3,
    final_rate=1e-5,
    warmup_steps=0,
    clip_norm=1.0,
)


def test_features_are_those_of_torchvisions_vgg19() -> None:
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    torch.manual_seed(0)
    with torch.device("meta"):
        theirs = load_torchvision().models.vgg19().features[:35]
    theirs = theirs.to_empty(device="cpu")
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.04)
    x = torch.rand(1, 3, 40, 33)
    ours = Features({f"features.{name}": value for name, value in theirs.state_dict().items()})
    seen = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs(seen)
    assert expected.shape == (1, 512, 2, 2) and float(expected.min()) < 0  # before the activation
    assert torch.allclose(ours(x), expected, atol=1e-6)


def test_the_perceptual_term(narrow_vgg19: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, features=str(narrow_vgg19), perceptual_weight=0.25)
    guides = open_guides(recipe, tmp_path, build_net("espcn", 2))
    assert guides.features is not None and guides.teacher is None
    low, target = torch.rand(2, 1, 12, 12), torch.rand(2, 1, 24, 24)
    result = torch.rand(2, 1, 24, 24, requires_grad=True)
    term = guides.terms(recipe, LOSSES["l1"], low, result, target)
    three = [x.expand(-1, 3, -1, -1) for x in (result, target)]  # luma stands for all three colours
    expected = (guides.features(three[0]) - guides.features(three[1])).abs().mean()
    assert float(term.detach()) == pytest.approx(0.25 * float(expected.detach()))
    assert float(guides.terms(recipe, LOSSES["l1"], low, target, target)) == 0
    term.backward()
    assert result.grad is not None and float(result.grad.abs().max()) > 0
    assert all(not p.requires_grad for p in guides.features.parameters())


def test_the_teachers_term(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = build_net("fold-16x8", 2)
    save_net(teacher, tmp_path / "larger.safetensors", "larger", "fold-16x8")
    recipe = replace(RECIPE, loss="charbonnier", teacher="larger.safetensors", teacher_weight=0.3)
    guides = open_guides(recipe, tmp_path, build_net("espcn", 2))
    low, target = torch.rand(2, 1, 12, 12), torch.rand(2, 1, 24, 24)
    result = torch.rand(2, 1, 24, 24, requires_grad=True)
    term = guides.terms(recipe, LOSSES["charbonnier"], low, result, target)
    expected = 0.3 * LOSSES["charbonnier"](result, teacher.deployed()(low)).detach()
    assert float(term.detach()) == pytest.approx(float(expected), rel=1e-5)
    term.backward()
    assert guides.teacher is not None and all(p.grad is None for p in guides.teacher.parameters())


def test_without_either_nothing_is_added() -> None:
    x = torch.rand(1, 1, 24, 24)
    assert float(Guides(None, None).terms(RECIPE, LOSSES["l1"], x, x, x)) == 0


def test_what_does_not_fit(narrow_vgg19: Path, tmp_path: Path) -> None:
    net = build_net("espcn", 2)
    state = read_state(narrow_vgg19)
    torch.save({k: v for k, v in state.items() if k != "features.34.bias"}, tmp_path / "cut.pth")
    torch.save({k: v[..., :1, :1] if v.ndim == 4 else v for k, v in state.items()}, tmp_path / "other.pth")
    for name, words in (
        ("none.pth", "no weights at"),
        ("cut.pth", "does not hold torchvision's VGG19.*features.34.bias"),
        ("other.pth", "does not hold torchvision's VGG19"),
    ):
        with pytest.raises(InputError, match=words) as error:
            open_guides(replace(RECIPE, features=name), tmp_path, net)
        assert "\n" not in str(error.value)
    save_net(build_net("espcn", 3), tmp_path / "x3.safetensors", "x3", "espcn")
    with pytest.raises(InputError, match="enlarges by 3 with 1 channels, and tiny-x2 by 2 with 1"):
        open_guides(replace(RECIPE, loss="l1", teacher="x3.safetensors"), tmp_path, net)


def test_vgg19_is_fetched_where_no_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no way out")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    if find_spec("torchvision") is None:
        with pytest.raises(MissingExtra, match=r"srdeploy\[eval\]"):
            open_guides(RECIPE, tmp_path, build_net("espcn", 2))
        return
    with pytest.raises(InputError, match=r"vgg19 could not be fetched \(no way out\); .*type --features PATH"):
        open_guides(RECIPE, tmp_path, build_net("espcn", 2))


def test_features_and_loss_go_together() -> None:
    plain = with_loss(RECIPE, "l1")
    assert with_loss(plain, "l1+perceptual+adversarial", "a.pth").features == "a.pth"
    assert with_loss(RECIPE, None, "b.pth").loss == "l1+perceptual"
    with pytest.raises(InputError, match="--features is for a perceptual loss, and this one is l1"):
        with_loss(plain, None, "a.pth")
