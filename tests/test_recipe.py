"""Recipes: what is in the file is what runs; anything else is said with its key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from srdeploy.errors import RecipeError
from srdeploy.recipe import load_recipe


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float
    kind: Literal["a", "b"]
    inner: Inner
    flag: bool = False
    start: str | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("rate must be above 0")


GOOD = 'name = "x"\nrate = 1\nkind = "a"\n[inner]\nsizes = [1, 2]\n'


def _load(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "r.toml"
    path.write_text(text)
    return load_recipe(path, Outer)


def test_values_and_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD) == Outer("x", 1.0, "a", Inner((1, 2)))
    assert _load(tmp_path, 'start = "w"\n' + GOOD).start == "w"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rte = 2\n" + GOOD, "unknown key 'rte'"),
        (GOOD + "depth = 3\n", "unknown key 'depth'"),
        (GOOD.replace('name = "x"\n', ""), "key 'name' is missing"),
        (GOOD.replace("rate = 1", 'rate = "fast"'), "rate must be of type float"),
        (GOOD.replace("rate = 1", "rate = true"), "rate must be of type float"),
        (GOOD.replace("rate = 1", "rate = -1"), "rate must be above 0"),
        (GOOD.replace('"a"', '"c"'), "choose one of a, b"),
        (GOOD.replace("[1, 2]", "3"), "sizes must be a list"),
        (GOOD.replace("[1, 2]", '["1"]'), "sizes must be of type int"),
        ("inner = 3\n" + GOOD.split("[inner]")[0], "inner must be a table"),
        ("name = \n", "not a readable TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said.replace("(", r"\(")) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        load_recipe(tmp_path / "none.toml", Outer)
