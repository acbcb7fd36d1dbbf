"""torchvision, which also Lightning imports where it is installed."""

import re
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from srdeploy.extras import require


def load_torchvision() -> ModuleType:
    """The library, also where its compiled operators do not fit this torch. Raises MissingExtra.

    PyPI has torchvision for one build of torch. Beside another (the CPU's, say) its operators do not load, and its
    import fails for want of their names. The networks here use none of them, so the names alone are declared.
    """
    names: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    while True:
        try:
            return require("torchvision", "eval")
        except RuntimeError as error:
            missing = re.match(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            names.define(f"{missing[1]}() -> ()")


def mend_torchvision() -> None:
    """Let libraries that import torchvision where it is installed do so, as load_torchvision does."""
    if find_spec("torchvision") is not None:
        load_torchvision()
