"""Training end to end on small pictures: it learns, it logs, and a stopped run goes on exactly."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from srdeploy.errors import InputError, ModelError, OutputError  # noqa: E402
from srdeploy.learn.nets import build_net  # noqa: E402
from srdeploy.learn.recipes import DataRecipe, TrainRecipe, with_loss  # noqa: E402
from srdeploy.learn.training import Run, train  # noqa: E402
from srdeploy.learn.weights import load_net, save_net  # noqa: E402
from srdeploy.media.pictures import write_picture  # noqa: E402
from srdeploy.picture import Picture  # noqa: E402

RECIPE = TrainRecipe(
    name="tiny-x2",
    network="espcn",
    scale=2,
    seed=3,
    data=DataRecipe(folders=("a",), validation=("a/p3.png",), patch=12, batch=4),
    epochs=3,
    steps_per_epoch=12,
    loss="charbonnier",
    learning_rate=2e-3,
    final_rate=1e-5,
    warmup_steps=4,
    clip_norm=1.0,
    ema=0.9,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small pictures of edges and waves."""
    root = tmp_path_factory.mktemp("data")
    (root / "a").mkdir()
    y, x = np.mgrid[0:64, 0:72]
    for index in range(4):
        waves = np.sin(x / (2 + index)) * np.cos(y / (3 + index)) * 60 + ((x + index * y) // 9 % 2) * 80 + 60
        rgb = np.stack([waves, waves * 0.8, 255 - waves], axis=-1).clip(0, 255).astype(np.uint8)
        write_picture(root / "a" / f"p{index}.png", Picture("rgb", (rgb,)))
    return root


@pytest.fixture(autouse=True)
def _one_thread() -> Callable[[], None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _weights(path: Path) -> dict[str, "torch.Tensor"]:
    return load_net(path).state_dict()


class _Pulled(Exception):
    """The plug."""


@pytest.mark.parametrize(
    ("muon_rate", "loss", "guided"),
    [(0.0, "charbonnier", False), (3e-3, "l1+adversarial", False), (0.0, "l1+perceptual+adversarial", True)],
)
def test_a_stopped_run_goes_on_exactly(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    narrow_vgg19: Path,
    muon_rate: float,
    loss: str,
    guided: bool,
) -> None:
    recipe = with_loss(replace(RECIPE, muon_rate=muon_rate), loss)
    if guided:
        save_net(build_net("fold-16x8", 2), tmp_path / "teacher.safetensors", "larger", "fold-16x8")
        recipe = replace(recipe, features=str(narrow_vgg19), teacher="teacher.safetensors")
    whole = train(recipe, tmp_path, data, tmp_path / "whole", resume=False, device="cpu")
    step = Run.training_step

    def pull_the_plug(self: Run, batch: "torch.Tensor", index: int) -> "torch.Tensor":
        if self.current_epoch == 2 and index == 5:
            raise _Pulled
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "training_step", pull_the_plug)
        with pytest.raises(_Pulled):
            train(recipe, tmp_path, data, tmp_path / "stopped", resume=False, device="cpu")
    resumed = train(recipe, tmp_path, data, tmp_path / "stopped", resume=True, device="cpu")

    assert resumed.psnr_db == whole.psnr_db
    for key, value in _weights(whole.weights).items():
        assert torch.equal(value, _weights(resumed.weights)[key]), key
    rows = [list(csv.DictReader((tmp_path / run / "log.csv").open())) for run in ("whole", "stopped")]
    for a, b in zip(*rows, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    assert len(rows[0]) == RECIPE.epochs
    kept = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in kept} <= {"net", "critic"}  # what guides is not part of a run
    assert (tmp_path / "stopped" / "curve.png").stat().st_size > 1000


def test_it_learns_and_says_new_best(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="srdeploy.train")
    result = train(RECIPE, tmp_path, data, tmp_path / "run", resume=False, device="cpu")
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").open()))
    assert float(rows[-1]["psnr_db"]) > float(rows[0]["psnr_db"])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert result.psnr_db == max(float(row["psnr_db"]) for row in rows)
    assert "new best" in caplog.text


def test_an_existing_run_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    once = replace(RECIPE, epochs=1, steps_per_epoch=1)
    train(once, tmp_path, data, tmp_path / "run", resume=False, device="cpu")
    with pytest.raises(OutputError, match="--resume"):
        train(once, tmp_path, data, tmp_path / "run", resume=False, device="cpu")


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_mixed_precision_and_the_other_losses(data: Path, tmp_path: Path, loss: str) -> None:
    mixed = replace(RECIPE, precision="bf16-mixed", loss=loss, epochs=2, ema=0.0)
    result = train(mixed, tmp_path, data, tmp_path / "run", resume=False, device="cpu")
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").open()))
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert all(value.dtype == torch.float32 for value in _weights(result.weights).values())


def test_warm_start_takes_what_fits(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="srdeploy.train")
    once = replace(RECIPE, epochs=1, steps_per_epoch=1)
    first = train(once, tmp_path, data, tmp_path / "x2", resume=False, device="cpu")
    bigger = replace(once, name="tiny-x3", scale=3, start=str(first.weights))
    train(bigger, tmp_path, data, tmp_path / "x3", resume=False, device="cpu")
    assert "begins with 4 of 6 tensors" in caplog.text


def test_a_damaged_checkpoint_is_said(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes(b"\x80\x02junk" * 20)
    with pytest.raises(InputError, match="damaged"):
        train(RECIPE, tmp_path, data, tmp_path / "run", resume=True, device="cpu")


def test_what_is_wrong_is_said_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="no pictures in"):
        train(RECIPE, tmp_path, tmp_path, out, resume=False, device="cpu")
    with pytest.raises(InputError, match="validation pictures missing"):
        wrong = replace(RECIPE, data=replace(RECIPE.data, validation=("a/none.png",)))
        train(wrong, tmp_path, data, out, resume=False, device="cpu")
    with pytest.raises(InputError, match=r"data\.patch smaller"):
        train(replace(RECIPE, data=replace(RECIPE.data, patch=99)), tmp_path, data, out, resume=False, device="cpu")
    with pytest.raises(ModelError, match="no network"):
        train(replace(RECIPE, network="vdsr"), tmp_path, data, out, resume=False, device="cpu")
    assert not out.exists()


def test_an_adversary_makes_crisper_pictures(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=4, steps_per_epoch=40)
    adversarial = with_loss(replace(recipe, adversarial_weight=0.1), "charbonnier+adversarial")
    plain = train(recipe, tmp_path, data, tmp_path / "plain", resume=False, device="cpu")
    crisp = train(adversarial, tmp_path, data, tmp_path / "crisp", resume=False, device="cpu")
    assert crisp.epoch == recipe.epochs
    torch.manual_seed(0)
    picture = torch.rand(1, 1, 32, 32)

    def detail(weights: Path) -> float:
        big = load_net(weights)(picture).detach()
        return float((big[..., 1:] - big[..., :-1]).abs().mean())

    assert detail(crisp.weights) > detail(plain.weights)
    with pytest.raises(InputError, match="was begun with loss"):
        train(recipe, tmp_path, data, tmp_path / "crisp", resume=True, device="cpu")


def test_unknown_losses_are_refused() -> None:
    with pytest.raises(InputError, match="no loss 'vgg'; type one of: charbonnier"):
        with_loss(RECIPE, "vgg")


def test_a_run_is_not_resumed_beside_another_teacher(data: Path, tmp_path: Path) -> None:
    once = replace(RECIPE, epochs=1, steps_per_epoch=1, teacher="teacher.safetensors")

    def put_teacher(seed: int) -> None:
        torch.manual_seed(seed)
        save_net(build_net("espcn", 2), tmp_path / "teacher.safetensors", "teacher", "espcn")

    put_teacher(1)
    train(once, tmp_path, data, tmp_path / "run", resume=False, device="cpu")
    put_teacher(2)
    with pytest.raises(InputError, match="begun with another teacher or other features; type another --out"):
        train(replace(once, epochs=2), tmp_path, data, tmp_path / "run", resume=True, device="cpu")
