"""A missing optional library names its extra; a broken one is not called missing."""

import sys
import types

import pytest

from srdeploy.errors import MissingExtra
from srdeploy.extras import require


def test_present() -> None:
    assert require("json", "cpu") is sys.modules["json"]


def test_missing_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'srdeploy\[ray\]'"):
        require("surely_not_installed_anywhere", "ray")


def test_a_library_whose_own_need_is_missing_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'libsomething'", name="libsomething")

    monkeypatch.setattr("srdeploy.extras.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="libsomething"):
        require("json", "cpu")
