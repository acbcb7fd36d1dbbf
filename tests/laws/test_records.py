"""Recipes parse; shipped files are what the records say; the wheel holds exactly what it should."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from srdeploy import zoo
from srdeploy.learn.recipes import TrainRecipe
from srdeploy.recipe import load_recipe
from srdeploy.release import ReleaseRecipe

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN = sorted((REPOSITORY / "train").glob("*.toml"))
EXPORT = sorted((REPOSITORY / "export").glob("*.toml"))


@pytest.mark.parametrize("path", TRAIN, ids=lambda p: p.name)
def test_training_recipes_parse(path: Path) -> None:
    assert load_recipe(path, TrainRecipe).name == path.stem


@pytest.mark.parametrize("path", EXPORT, ids=lambda p: p.name)
def test_release_recipes_are_true_of_what_ships(path: Path) -> None:
    recipe = load_recipe(path, ReleaseRecipe)
    assert recipe.name == path.stem
    weights = (path.parent / recipe.weights).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == recipe.weights_sha256
    for precision in recipe.precisions:
        for inner in ("",) if precision == "int8" else ("", ".float"):
            assert (zoo.MODELS / f"{recipe.name}.{precision}{inner}.onnx").is_file()
    assert (path.with_suffix(".md")).is_file(), "a model card stands beside its recipe"


def test_every_shipped_model_has_both_records() -> None:
    assert zoo.names() == [path.stem for path in EXPORT]
    assert set(zoo.names()) <= {path.stem for path in TRAIN}


def test_the_wheels_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = REPOSITORY / "src"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/srdeploy"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert names == {str(Path(name).relative_to("src")) for name in tracked if (REPOSITORY / name).exists()}
    assert all(
        (source / name).suffix in (".py", ".typed", ".onnx", ".safetensors", ".png", ".html", ".npz") for name in names
    )
    assert "srdeploy/models/espcn-x4.fp32.onnx" in names
    assert "srdeploy/models/espcn-x4.fp16.onnx" in names
    assert wheel.stat().st_size < 25_000_000


def test_nothing_of_the_machine_is_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    marks = [b"/" + b"root/", b"/" + b"work/", b"/" + b"opt/venv", b"/tmp" + b"/pytest"]
    wrong = [
        f"{name}: {mark.decode()}"
        for name in tracked.splitlines()
        for mark in marks
        if (REPOSITORY / name).is_file() and mark in (REPOSITORY / name).read_bytes()
    ]
    assert not wrong
