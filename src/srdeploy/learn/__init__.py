"""Networks and their training, and networks that measure: the only door to torch and what is built on it."""

from srdeploy.extras import require


def require_weights() -> None:
    """Raise MissingExtra when a library that reads weights and converts networks is not installed.

    No more is imported than that: what trains takes seconds to, and leaves caches and folders behind.
    """
    for library in ("torch", "safetensors", "onnxscript"):
        require(library, "train")


def require_training() -> None:
    """Raise MissingExtra when a library that the modules in here import is not installed."""
    require("torch", "train")
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()
    require_weights()
    require("lightning", "train")


def require_networks() -> None:
    """Raise MissingExtra when a library that LPIPS, DISTS, FID and their like need is not installed."""
    require("torch", "eval")
    from srdeploy.learn.vision import load_torchvision

    load_torchvision()
    for library in ("safetensors", "torch_fidelity", "torchmetrics"):
        require(library, "eval")
