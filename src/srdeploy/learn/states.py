"""Tensors by name from anybody's checkpoint, read with suspicion: nothing in it is executed."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srdeploy.bounded import memory_bounded
from srdeploy.errors import ModelError
from srdeploy.extras import require

PICKLES = (".pth", ".pt", ".ckpt")

FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What a damaged or hostile file may raise in the libraries that read it: built-in kinds, which they use at will."""

_SPARE = 1 << 30
"""Bytes of memory that reading may take beyond several times the file."""


def read_state(path: Path) -> dict[str, Any]:
    """What a .safetensors, .pth, .pt or .ckpt holds: tensors by name, perhaps in dictionaries inside one another.

    Pickles are read by torch's restricted unpickler, which builds tensors and containers and calls nothing else.
    Raises ModelError, in one line, for a file that is missing, damaged, compressed, holds code, or claims more than its
    size.
    """
    size = _size(path)
    try:
        with memory_bounded(8 * size + _SPARE):
            state = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pickle(path, size)
    except ModelError:
        raise
    except FAILURES as error:
        raise ModelError(_why(path, error)) from None
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds no weights by name but a {type(state).__name__}; save the network's state_dict")
    _check_claims(path, state, size)
    return state


def _size(path: Path) -> int:
    if not path.is_file():  # a pipe would be waited for without end
        what = "is no file" if path.exists() else "is not there"
        raise ModelError(f"{path} {what}; type the path of a .pth or .safetensors file")
    size = path.stat().st_size
    if size == 0:
        raise ModelError(f"{path} is empty; type the path of a .pth or .safetensors file")
    return size


def _safetensors(path: Path) -> dict[str, Tensor]:
    library = require("safetensors.torch", "train")
    try:
        return dict(library.load_file(path))
    except require("safetensors", "train").SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file: {_line(error)}") from None


def _pickle(path: Path, size: int) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if any("/code/" in entry.filename for entry in entries):
            raise ModelError(
                f"{path} is a TorchScript program, and no code from a file is run; save its state_dict with "
                "torch.save, or export the network to .onnx where it was made"
            )
        # torch stores what it writes as it is; a few kilobytes of anything else could unfold to terabytes.
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
            raise ModelError(f"{path} is a compressed archive, which torch does not write; save its weights again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _why(path: Path, error: BaseException) -> str:
    text = _line(error)
    code = re.search(r"GLOBAL ([\w.]+)", text)
    if isinstance(error, pickle.UnpicklingError) and code:
        return (
            f"{path} holds more than weights ({code[1]}), which would run code, and nothing of it was run; "
            "save the weights alone as .safetensors where it was made"
        )
    reason = text.rpartition("WeightsUnpickler error: ")[2].removeprefix("Weights only load failed.")
    reason = reason.partition("Check the documentation")[0].strip()[:120] or type(error).__name__
    return f"{path} is damaged or no checkpoint of torch ({reason}); save its weights again"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _check_claims(path: Path, state: dict[Any, Any], size: int) -> None:
    """Refuse tensors larger than the file (a stride of 0 makes one number a terabyte) and layers without end."""
    tensors = dict(_walk(state, ""))
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_complex():
            kind = "complex" if tensor.is_complex() else "sparse, quantized or empty"
            raise ModelError(f"{path} holds {name[:60]} as {kind} numbers; save it as floats")
    claimed = [tensor.numel() * tensor.element_size() for tensor in tensors.values()]
    if max(claimed, default=0) > size or sum(claimed) > 4 * size:
        raise ModelError(f"{path} claims {sum(claimed):,} bytes of weights and has {size:,}; save its weights again")
    # Networks are built as deep as the numbers in the names say.
    deepest = max((int(n) for name in tensors for n in re.findall(r"(?<![^.])\d{1,18}(?![^.])", name)), default=0)
    if deepest > 64 + 16 * len(tensors):
        raise ModelError(f"{path} names layer {deepest} and has {len(tensors)} tensors; it is no network's state_dict")


def _walk(state: object, name: str, depth: int = 0) -> list[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        return [(name, state)]
    if isinstance(state, dict) and depth < 8:
        found = [_walk(value, f"{name}.{key}" if name else str(key), depth + 1) for key, value in state.items()]
        return [pair for pairs in found for pair in pairs]
    return []
