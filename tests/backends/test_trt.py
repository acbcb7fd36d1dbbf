"""TensorRT held where no GPU is: every name that we use exists in its real bindings, of 10 and of 11, and engines are
built, cached, run and refused as they should on a stand-in for what its closed libraries do. None of this has run on a
GPU.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srdeploy import zoo
from srdeploy.backends import trt, trt_build
from srdeploy.errors import InputError, MissingExtra

pytest.importorskip("onnx")

STAND_IN = Path(__file__).parent / "stand_in"
BINDINGS = {11: "tensorrt-cu13-bindings==11.4.0.106", 10: "tensorrt-cu12-bindings==10.0.1"}
"""The newest, and the oldest that pyproject.toml allows."""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries of the names that the bindings and we look for, made here."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc) to build the stand-ins for TensorRT's libraries with")
    folder = tmp_path_factory.mktemp("libraries")

    def build(source: str, name: str) -> None:
        words = [compiler, "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", folder / name, STAND_IN / source]
        subprocess.run(words, check=True, capture_output=True)

    build("driver.c", "libcuda.so.1")
    for version in BINDINGS:
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            build("libraries.c", f"lib{library}.so.{version}")
    return folder


@pytest.fixture(scope="module", params=BINDINGS)
def environment(
    request: pytest.FixtureRequest,
    libraries: Path,
    aside: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    repository: Path,
) -> dict[str, str]:
    """What a process needs to find the real bindings and the stand-in."""
    folder = tmp_path_factory.mktemp("tensorrt")
    paths = [str(repository / "src"), str(STAND_IN), str(aside(BINDINGS[request.param]))]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        "LD_LIBRARY_PATH": str(libraries),
        "SRDEPLOY_CACHE": str(folder / "cache"),
        "STAND_IN_BUILDS": str(folder / "builds"),
        "FOLDER": str(folder),
    }


def _names() -> set[str]:
    """Chains of names that our two modules take from the module `trt`, such as Logger.ERROR."""
    found = set()
    for module in (trt, trt_build):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            chain, inner = "", node
            while isinstance(inner, ast.Attribute):
                chain, inner = f".{inner.attr}{chain}", inner.value
            if chain and isinstance(inner, ast.Name) and inner.id == "trt":
                found.add(chain[1:])
    return found


def test_every_name_is_in_the_real_bindings(environment: dict[str, str]) -> None:
    names = _names()
    assert {"TensorIOMode.INPUT", "MemoryPoolType.WORKSPACE", "IProgressMonitor.__init__", "Runtime"} <= names
    script = (
        "import functools, sys, tensorrt_bindings as trt\n"
        "for chain in sys.argv[1:]: functools.reduce(getattr, chain.split('.'), trt)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *sorted(names)], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def typed(environment: dict[str, str], samples: Path) -> dict[str, Any]:
    folder = Path(environment["FOLDER"])
    words = [sys.executable, STAND_IN / "drive.py", zoo.MODELS, samples / "owl.png", folder]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = {"folder": folder}
    for line in done.stdout.splitlines():
        results |= json.loads(line)
    results["builds"] = len((folder / "builds").read_text().splitlines())
    return results


def _made(typed: dict[str, Any], step: str) -> dict[str, Any]:
    assert typed[step]["code"] == 0, typed[step]
    (file,) = typed[step]["answer"]["files"]
    return dict(file)


def test_engines_are_built_proved_and_named(typed: dict[str, Any]) -> None:
    half, exact, floats = (_made(typed, step) for step in ("first", "exact", "floats"))
    folder = typed["folder"]
    assert half["path"] == str(folder / "espcn-x2.fp16.stand-in-9000.engine")
    assert (half["precision"], exact["precision"]) == ("fp16", "fp32")
    assert exact["path"] == str(folder / "srcnn-rgb-x4.fp32.stand-in-9000.engine")
    assert floats["path"] == str(folder / "espcn-x2.fp16.float.stand-in-9000.engine")
    for file in (half, exact, floats):
        assert file["parity"]["passed"] is True
        assert file["parity"]["arithmetic"].startswith("tensorrt, fp")
    assert not list(folder.glob(".*"))


def test_an_engine_is_built_once_for_each_choice(typed: dict[str, Any]) -> None:
    assert _made(typed, "again")["path"] == _made(typed, "first")["path"]
    assert typed["other_sizes"]["code"] == 0
    assert typed["builds"] == 5  # first, exact, other sizes, floats, widened; not again


def test_its_facts_need_no_gpu(typed: dict[str, Any]) -> None:
    facts = typed["facts"]["answer"]
    assert (facts["name"], facts["scale"], facts["precision"], facts["engine_precision"]) == (
        *("espcn-x2", 2, "fp16"),
        "fp16",
    )
    assert facts["parity"]["passed"] is True
    build = facts["build"]
    assert build["gpu"] == "NVIDIA Stand-in 9000"
    assert (build["capability"], build["cuda"]) == ("9.0", "13.2")
    assert set(build["options"]) == {"least", "usual", "most", "workspace", "level"}


def test_an_engine_is_checked_as_it_was_proved(typed: dict[str, Any]) -> None:
    assert typed["check"]["code"] == 0, typed["check"]
    found, proved = typed["check"]["answer"], _made(typed, "first")["parity"]
    assert found["passed"] is True and found["candidate"] == _made(typed, "first")["path"]
    assert found["reference"] == proved["reference"] == "espcn-x2.fp16.onnx"
    assert {key: found[key] for key in ("psnr_db", "max_abs", "levels_off")} == {
        key: proved[key] for key in ("psnr_db", "max_abs", "levels_off")
    }


def test_it_runs_tiled_as_the_graph_does(typed: dict[str, Any]) -> None:
    assert typed["run"]["code"] == 0, typed["run"]
    (output,) = typed["run"]["answer"]["outputs"]
    assert (output["backend"], output["device"], output["precision"]) == ("tensorrt", "cuda:0", "fp16")
    folder = typed["folder"]
    assert (folder / "engine.png").read_bytes() == (folder / "ort.png").read_bytes()
    rows = {row["name"]: row for row in typed["info"]["answer"]["backends"]}
    assert rows["tensorrt"]["devices"] == ["cuda:0"]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("too_large", "takes pictures of 32x32 to 300x400 pixels"),
        ("wrong_backend", "only TensorRT runs"),
        ("no_engine", "is not an engine"),
        ("other_gpu", "was built for the GPU NVIDIA Stand-in 9000 and this machine has NVIDIA Other 1"),
        ("damaged", "is damaged"),
        ("damaged_check", "is damaged"),
        ("checked_elsewhere", "was built for the GPU NVIDIA Stand-in 9000"),
        ("bisected", "an engine shows no layers between"),
        ("against", "espcn-x3.fp32.onnx"),
        ("cut", "is damaged"),
        ("widened", "built an engine that computes in fp32"),
        ("sizes", "must grow"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(typed: dict[str, Any], step: str, words: str) -> None:
    result = typed[step]
    assert result["code"] == 1, result
    assert words in result["stderr"]
    assert len(result["stderr"].splitlines()) == 1
    assert not (typed["folder"] / "widened").exists()


def test_the_key_holds_every_input() -> None:
    here = {"gpu": "g", "capability": "9.0", "tensorrt": "11.4", "cuda": "13.0"}
    options = trt_build.BuildOptions()
    first = trt_build.key_of(trt_build.build_inputs(b"graph", options, here))
    others = [
        trt_build.build_inputs(b"graph2", options, here),
        *(trt_build.build_inputs(b"graph", options, {**here, key: "x"}) for key in here),
        *(
            trt_build.build_inputs(b"graph", trt_build.BuildOptions(**{key: value}), here)
            for key, value in {"least": (8, 8), "usual": (8, 8), "most": (8, 8), "workspace": 1, "level": 1}.items()
        ),
    ]
    assert len({first, *map(trt_build.key_of, others)}) == 1 + len(others)


@pytest.mark.parametrize("text", ["", "x", "0x5", "1x1,2x2", "8x8;9x9;10x10", "9x9,8x8,10x10"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--sizes"):
        trt_build.parse_sizes(text)


def test_the_precision_is_read_back_from_either_version() -> None:
    def layers(kind: str, *types: dict[str, str]) -> str:
        made = [{"LayerType": kind, "Inputs": [t], "Outputs": [t]} for t in types]
        return json.dumps({"Layers": [*made, {"LayerType": "Reformat", "Inputs": [{"DataType": "Float"}]}]})

    ten = {"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
    assert trt.precision_in(layers("CaskConvolution", ten, ten)) == "fp16"
    assert trt.precision_in(layers("conv", {"DataType": "Int8"}, {"DataType": "Int8"}, {"DataType": "Half"})) == (
        "int8, 1 of 3 layers in fp16"
    )
    assert trt.precision_in(json.dumps({"Layers": ["only a name"]})) == "unknown"


def test_without_tensorrt_it_is_said_what_to_type() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'srdeploy\[tensorrt\]'"):
        trt.devices()
