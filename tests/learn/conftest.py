"""Lightning must be importable by the tests too, whatever torchvision stands beside this torch."""

from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("torch") is not None:
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
"""Where torchvision's VGG19 has them in `features`."""


@pytest.fixture(scope="session")
def narrow_vgg19(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under torchvision's names of VGG19, four channels wide; and some of a classifier."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state = {"classifier.0.weight": torch.zeros(3, 3)}
    inputs = 3
    for index in CONVOLUTIONS:
        state[f"features.{index}.weight"] = torch.randn(4, inputs, 3, 3, generator=generator) * (2 / 9 / inputs) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(4, generator=generator) * 0.1
        inputs = 4
    path = tmp_path_factory.mktemp("vgg19") / "vgg19.pth"
    torch.save(state, path)
    return path
