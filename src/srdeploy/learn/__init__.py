"""Networks and their training, and networks that measure: the only door to torch and what is built on it."""

from srdeploy.extras import require

LIBRARIES = ("torch", "safetensors", "onnxscript", "lightning")


def require_training() -> None:
    """Raise MissingExtra when a library that the modules in here import is not installed."""
    require("torch", "train")
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()
    for library in LIBRARIES:
        require(library, "train")


def require_networks() -> None:
    """Raise MissingExtra when a library that LPIPS, DISTS, FID and their like need is not installed."""
    require("torch", "eval")
    from srdeploy.learn.vision import load_torchvision

    load_torchvision()
    for library in ("safetensors", "torch_fidelity", "torchmetrics"):
        require(library, "eval")
