"""Weights of networks that others trained: torchvision's, found by path or fetched by the library that knows where."""

import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from srdeploy.errors import InputError
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


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from .safetensors or a state dict that torch saved; no pickled code is run.

    Raises InputError when the file is missing or is neither.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}; type the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", "eval").load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from None
    except Exception as error:  # noqa: BLE001 - safetensors and torch raise all sorts for a damaged file
        # torch's text is advice to its caller, and nothing that a person can do.
        reason = one_line(error) if path.suffix == ".safetensors" else "it is not whole, or holds more than tensors"
        raise InputError(f"{path} does not load as weights: {reason}; fetch it again, or give another") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dict (tensors by name); give one, as torchvision's files are")
    return state


def mend_torchvision() -> None:
    """Let libraries that import torchvision where it is installed do so, as load_torchvision does."""
    if find_spec("torchvision") is not None:
        load_torchvision()


@contextmanager
def weights_of(network: str, url: str, path: Path | None, option: str = "") -> Iterator[None]:
    """While open, what torch.hub would fetch from `url` is the file at `path`; None: it is fetched, or in the cache.

    Failures inside become one InputError: the network's weights could not be fetched, or the file holds others.
    option: how a person gives the path.
    """
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' advice to each other
            if path is None:
                yield
            else:
                with _in_hub(read_state(path), Path(url).name):
                    yield
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        if path is not None:
            raise InputError(f"{path} does not hold the weights of {network}: {one_line(error)}") from None
        raise InputError(
            f"the weights of {network} could not be fetched ({one_line(error)}); fetch {url} where that is possible "
            f"and type {option or f'--weights {network}=PATH'}"
        ) from None


@contextmanager
def _in_hub(state: dict[str, Tensor], name: str) -> Iterator[None]:
    """Let torch.hub find `state` as if it had fetched it under `name` before."""
    before = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        torch.save(state, Path(folder) / "checkpoints" / name)
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(before)


def one_line(error: BaseException) -> str:
    """The text of a library's error in one line, cut where it grows long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:160]} ..."
