"""Weights on disk: safetensors that say which network they belong to. Nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

from srdeploy.atomic import atomic
from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.learn.base import Net
from srdeploy.learn.nets import build_net
from srdeploy.spec import is_name

_KEYS = ("name", "network", "scale")

# One entry, since safetensors writes several in an order that changes from run to run.
_METADATA_KEY = "srdeploy"


def save_net(net: Net, path: Path, name: str, network: str) -> None:
    """Write the weights of `net` to `path` (.safetensors), whole by rename.

    The file's metadata holds the model's name, the network's name in NETWORKS, and the scale. The same weights give
    the same bytes. Raises OutputError when the folder cannot be written.
    """
    safetensors = require("safetensors.torch", "train")
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    metadata = {_METADATA_KEY: json.dumps({"name": name, "network": network, "scale": net.scale})}
    with atomic(path) as part:
        part.write_bytes(safetensors.save(tensors, metadata))


def is_ours(path: Path) -> bool:
    """Whether a .safetensors file says which network of srdeploy it holds; ModelError when it is not readable."""
    return _METADATA_KEY in _metadata(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """The facts beside the weights: {"name": str, "network": str, "scale": int}.

    Raises ModelError when the file is missing, is not safetensors, or was not written by srdeploy.
    """
    try:
        metadata = json.loads(_metadata(path).get(_METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict) or any(key not in metadata for key in _KEYS) or not is_name(metadata["name"]):
        raise ModelError(
            f"{path} does not say which network of srdeploy it holds (metadata srdeploy: name, network, scale)"
        )
    return dict(metadata)


def _metadata(path: Path) -> dict[str, str]:
    safetensors = require("safetensors", "train")
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}; type the path of a .safetensors file that srdeploy train wrote")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {' '.join(str(error).split())}") from None


def load_net(path: Path) -> Net:
    """Build the network that `path` names and load its weights, in evaluation mode, on the CPU.

    Raises ModelError as `read_metadata` does, and when the tensors do not fit the network.
    """
    metadata = read_metadata(path)
    safetensors = require("safetensors.torch", "train")
    net = build_net(metadata["network"], metadata["scale"])
    try:
        net.load_state_dict(safetensors.load_file(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} does not fit the network {metadata['network']}: {reason[:200]}") from None
    return net.eval()
