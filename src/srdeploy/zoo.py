"""The models that ship in the wheel, and how a name, a family or a path becomes a file.

A shipped model NAME is a family and a scale, `espcn-x4`. Its files stand in the folder `models` beside this module:
NAME.PRECISION.onnx (uint8 in and out), NAME.PRECISION.float.onnx (0..1 in and out) and NAME.safetensors (weights).
The files are the list: a model ships when its fp32 file is there.
"""

import re
from pathlib import Path
from typing import get_args

from srdeploy.errors import ModelError
from srdeploy.spec import Precision

DEFAULT = "espcn-x4"
"""The model of `srdeploy run` and `srdeploy export` with nothing else."""

MODELS = Path(__file__).resolve().parent / "models"
"""The folder of the shipped files."""

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Suffixes of checkpoints: `srdeploy export` takes them, `srdeploy run` does not."""

_NAME = re.compile(r"(?P<family>.+)-x(?P<scale>\d+)")
_MAIN_FILE = ".fp32.onnx"


def names(folder: Path = MODELS) -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.name.removesuffix(_MAIN_FILE) for path in folder.glob(f"*{_MAIN_FILE}"))


def find(
    model: str | None = None,
    scale: int | None = None,
    precision: str = "fp32",
    pixels: str = "uint8",
    folder: Path = MODELS,
) -> Path:
    """The model file for what a person asked for.

    model: a shipped name, a family (with `scale` where it ships at several), the path of an .onnx file, or None for
    the default. precision ("fp32", "fp16", ...) chooses among a shipped model's files. pixels "float" asks for the
    file that takes deep pixels; for a path it is the one beside it, NAME.float.onnx.
    A file given by its path is taken for what it is: whoever opens it compares `scale` and `precision` with its facts.

    Raises ModelError when there is no such model, scale, precision or file, or the file is a checkpoint.
    """
    if model is not None and is_path(model):
        return _find_path(Path(model), pixels, folder)
    name = resolve(model, scale, folder)
    inner = ".float" if pixels == "float" else ""
    path = folder / f"{name}.{precision}{inner}.onnx"
    if path.is_file():
        return path
    shipped = [known for known in get_args(Precision) if (folder / f"{name}.{known}{inner}.onnx").is_file()]
    if precision == "int8" and pixels == "float":
        raise ModelError(
            f"{name}: int8 takes pixels of 8 bits alone; for deeper ones type --precision and one of {_listed(shipped)}"
        )
    option = {"int8": " --int8", "fp16": " --fp16"}.get(precision, "") + (" --float" if inner else "")
    making = f", or make it: srdeploy export {name}{option}" if option else ""
    if precision == "bf16":
        making = ", or compute fp32 in bf16 where the processor can: --backend openvino --precision bf16"
    raise ModelError(
        f"{name} does not ship as {precision} for {pixels} pixels; it ships as {_listed(shipped)}; "
        f"choose one with --precision{making}"
    )


def family(model: str | None, folder: Path = MODELS) -> dict[int, str]:
    """The shipped names of a family by scale, for a family's name or None (the default's); {} for anything else."""
    wanted = _family(DEFAULT) if model is None else model
    if is_path(wanted):
        return {}
    return {int(name.rpartition("-x")[2]): name for name in names(folder) if _family(name) == wanted != name}


def find_weights(model: str | None = None, scale: int | None = None, folder: Path = MODELS) -> Path:
    """The weights (.safetensors) of a shipped model, by name or family as in `find`. Raises ModelError."""
    name = resolve(model, scale, folder)
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise ModelError(f"the weights of {name} are not at {path}; install srdeploy again")
    return path


def resolve(model: str | None, scale: int | None, folder: Path = MODELS) -> str:
    """The shipped name for a name, a family or None (the default), at `scale` if given. Raises ModelError."""
    shipped = names(folder)
    if not shipped:
        raise ModelError(f"no models are in {folder}; install srdeploy again, or give the path of an .onnx file")
    if model is None:
        model = DEFAULT if scale is None else _family(DEFAULT)
    named = _NAME.fullmatch(model)
    if named is None:
        return _of_family(model, scale, shipped)
    if model not in shipped:
        raise ModelError(_unknown(model, shipped))
    if scale not in (None, int(named["scale"])):
        other = f"{named['family']}-x{scale}"
        instead = f"type {other} for it" if other in shipped else f"shipped: {_listed(shipped)}"
        raise ModelError(f"{model} enlarges by {named['scale']}, not by {scale} as asked for; {instead}")
    return model


def parity_pictures(folder: Path = MODELS) -> list[Path]:
    """The pictures on which exported files are compared when none are given, sorted; they ship in the wheel."""
    return sorted((folder / "parity").glob("*.png"))


def _of_family(family: str, scale: int | None, shipped: list[str]) -> str:
    members = [name for name in shipped if _family(name) == family]
    if not members:
        raise ModelError(_unknown(family, shipped))
    if scale is None:
        if len(members) > 1:
            raise ModelError(f"{family} ships at several scales: {_listed(members)}; type one of them")
        return members[0]
    name = f"{family}-x{scale}"
    if name not in members:
        raise ModelError(f"{family} does not ship at scale {scale}; shipped: {_listed(members)}")
    return name


def _find_path(path: Path, pixels: str, folder: Path) -> Path:
    if path.suffix.lower() in WEIGHT_SUFFIXES:
        if not path.exists():
            raise ModelError(_missing(path, folder))
        raise ModelError(f"{path} is a checkpoint, not a model file; type: srdeploy export {path}")
    if path.is_dir():
        inside = next(iter(sorted(path.glob("*.onnx"))), path / "NAME.onnx")
        raise ModelError(f"{path} is a folder; type the path of an .onnx file, such as {inside}")
    if not path.is_file():
        raise ModelError(_missing(path, folder))
    if path.suffix.lower() == ".engine":
        return path
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path} is not an .onnx file; give one, or a shipped model: {_listed(names(folder))}")
    if pixels == "float" and not path.stem.endswith(".float"):
        beside = path.with_name(f"{path.stem}.float.onnx")
        if not beside.is_file():
            raise ModelError(
                f"pixels deeper than 8 bits need {beside}, which is not there; type: srdeploy export SOURCE --float "
                f"with the SOURCE of {path.name}"
            )
        return beside
    return path


def _missing(path: Path, folder: Path) -> str:
    return (
        f"no such file: {path}; shipped models: {_listed(names(folder))}; type -m and one of them, or make a file: "
        "srdeploy export theirs.onnx or theirs.pth"
    )


def is_path(model: str) -> bool:
    """Whether the text is meant as a path: it has a folder in it or is one, or has the suffix of a file that we know.

    A bare word is a name even where a file of that name exists, so that what `-m espcn-x4` means does not depend on
    the folder in which it is typed.
    """
    path = Path(model)
    return (
        len(path.parts) > 1
        or model.endswith(("/", "\\"))
        or model in (".", "..")
        or path.suffix.lower() in (".onnx", ".engine", *WEIGHT_SUFFIXES)
    )


def _family(name: str) -> str:
    match = _NAME.fullmatch(name)
    return match["family"] if match else name


def _unknown(name: str, shipped: list[str]) -> str:
    return f"no model is named {name!r}; shipped: {_listed(shipped)}; or give the path of an .onnx file"


def _listed(words: list[str]) -> str:
    return ", ".join(words) if words else "nothing"
