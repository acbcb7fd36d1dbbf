"""The house: imports go strictly down the floors that ARCHITECTURE.md lists, and each library has one door."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOORS = {
    "torch": "learn",
    "lightning": "learn",
    "safetensors": "learn",
    "spandrel": "learn",
    "matplotlib": "learn",
    "torchvision": "learn",
    "torchmetrics": "learn",
    "torch_fidelity": "learn",
    "onnx": "graph",
    "google": "graph",  # protobuf, which onnx files are written in
    "onnxruntime": "backends",
    "openvino": "backends",
    "polygraphy": "backends",
    "tensorrt": "backends",
    "ncnn": "backends",
    "pnnx": "backends",
    "cv2": "media",
    "PIL": "media",
    "pillow_heif": "media",
    "pillow_jxl": "media",
    "tifffile": "media",
    "imagecodecs": "media",
    "av": "media",
    "typer": "cli",
    "rich": "cli",
    "fastapi": "serve",
    "starlette": "serve",  # what FastAPI is made of, and part of its interface
    "uvicorn": "serve",
    "h11": "serve",  # HTTP as uvicorn speaks it
    "prometheus_client": "serve",
    "ray": "cluster",
    "upath": "urls",
}
"""Third-party libraries and the one room that may import each. numpy is everywhere; anything else is nowhere."""

FACE = ("srdeploy", "srdeploy.__main__")
"""The public face: it may name any room, lazily."""


def _floors(repository: Path) -> dict[str, int]:
    """Read the table of floors: lines of ARCHITECTURE.md such as `    3  upscale  stream  learn/   words | words`."""
    floors: dict[str, int] = {}
    for line in (repository / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines():
        match = re.match(r"^ {4}(\d)  (\S.*)$", line)
        if match:
            rooms = re.split(r" {3,}", match[2])[0]
            for room in rooms.replace("/", " ").split():
                floors[room] = int(match[1])
    return floors


def _modules(repository: Path) -> dict[str, Path]:
    source = repository / "src"
    modules = {}
    for path in sorted((source / "srdeploy").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it, those handed to extras.require included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "srdeploy":
                yield from (f"srdeploy.{alias.name}" for alias in node.names if alias.name != "__version__")
            else:
                yield node.module
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            first = node.args[0]
            assert isinstance(first, ast.Constant | ast.Name), f"{path}: require() takes a plain name"
            if isinstance(first, ast.Constant):
                yield str(first.value)


def _room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_a_floor(repository: Path) -> None:
    rooms = {_room(name) for name in _modules(repository) if name not in FACE}
    assert rooms == set(_floors(repository)), "the table of floors in ARCHITECTURE.md and src/srdeploy differ"


def test_imports_go_strictly_down(repository: Path) -> None:
    floors, wrong = _floors(repository), []
    for name, path in _modules(repository).items():
        if name in FACE:
            continue
        for target in _imports(path):
            if not target.startswith("srdeploy."):
                continue
            here, there = _room(name), _room(target)
            if here != there and floors[there] >= floors[here]:
                wrong.append(f"{name} (floor {floors[here]}) imports {target} (floor {floors[there]})")
    assert not wrong


def test_each_library_has_one_door(repository: Path) -> None:
    wrong = []
    for name, path in _modules(repository).items():
        for target in _imports(path):
            library = target.split(".")[0]
            if library in ("srdeploy", "numpy") or library in sys.stdlib_module_names:
                continue
            if library not in DOORS or name in FACE or _room(name) != DOORS[library]:
                wrong.append(f"{name} imports {library}, whose door is {DOORS.get(library, 'nowhere')}")
    assert not wrong


@pytest.mark.parametrize("folder", ["train", "export", "benchmarks", "samples"])
def test_folders_of_records_point_at_the_code_that_reads_them(repository: Path, folder: str) -> None:
    first = (repository / folder / "README.md").read_text(encoding="utf-8").splitlines()[0]
    paths = re.findall(r"src/srdeploy/[\w/]+(?:\.py)?", first)
    assert paths, f"{folder}/README.md: its first line must point at the code that reads the folder"
    for path in paths:
        assert (repository / path).exists()


def test_no_room_has_grown_too_long(repository: Path) -> None:
    long = {name: n for name, path in _modules(repository).items() if (n := len(path.read_text().splitlines())) > 350}
    assert not long
