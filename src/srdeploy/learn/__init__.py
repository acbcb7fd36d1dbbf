"""Networks and their training: the only door to torch, lightning, safetensors and matplotlib."""

from srdeploy.extras import require

LIBRARIES = ("torch", "safetensors", "onnxscript", "lightning")


def require_training() -> None:
    """Raise MissingExtra when a library that the modules in here import is not installed."""
    require("torch", "train")
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()
    for library in LIBRARIES:
        require(library, "train")
