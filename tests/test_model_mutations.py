"""Cut and mutated model files: each is taken or refused in one line, in bounded time and memory, and leaves nothing.

A seeded sample runs in CI; scripts/check --long runs the whole campaign, each file in every way that one is
opened.
"""

import faulthandler
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import open_session
from srdeploy.checking import check_file
from srdeploy.errors import SrdeployError
from srdeploy.export import export
from srdeploy.media.pictures import write_picture
from srdeploy.picture import Picture

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

SAMPLE, CAMPAIGN = 4, int(os.environ.get("SRDEPLOY_MUTATIONS", "160"))
"""Mutations of each file, bytes and structure each."""

SECONDS = int(os.environ.get("SRDEPLOY_MUTATION_SECONDS", "120"))
"""A file that takes longer hangs: the process ends with the place where it does. More is for a machine that is busy."""

MEGABYTES = 6000
"""What the process may grow by: running a stranger's graph is bounded at 4 GiB (srdeploy.adopt), torch comes on top."""

SIZES = (-(2**63), -1, 0, 1, 2, 3, 1 << 20, 2**31, 2**63 - 1)


def _foreign() -> Any:
    """Somebody's luma network: bicubic's place taken by one convolution, PixelShuffle, and a scale of 2."""
    helper, random = onnx.helper, np.random.default_rng(7)
    value = helper.make_tensor_value_info
    weights = {"w1": random.normal(0, 0.1, (6, 1, 3, 3)), "b1": np.zeros(6), "w2": random.normal(0, 0.1, (4, 6, 3, 3))}
    weights["w1"][0, 0, 1, 1] = weights["w2"][:, 0, 1, 1] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    sides = (["n", 1, "h", "w"], ["n", 1, "h2", "w2"])
    borders = [value(name, 1, shape) for name, shape in zip(("x", "y"), sides, strict=True)]
    constants = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "theirs", borders[:1], borders[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _foreign_rgb() -> Any:
    """Somebody's RGB network of an older operator set: transposed convolution beside an enlarged picture whose size is
    computed, and a skip connection of two tensors side by side."""
    helper, random = onnx.helper, np.random.default_rng(11)
    value, node = helper.make_tensor_value_info, helper.make_node
    weights = {
        "w1": random.normal(0, 0.1, (8, 3, 3, 3)), "b1": np.zeros(8), "w2": random.normal(0, 0.1, (8, 8, 3, 3)),
        "w3": random.normal(0, 0.02, (16, 3, 4, 4)), "twice": np.array([1, 1, 2, 2]),
    }  # fmt: skip
    kinds = {name: np.int64 if name == "twice" else np.float32 for name in weights}
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        node("Conv", ["b", "w2"], ["c"], pads=[2, 2, 2, 2], dilations=[2, 2]),
        node("Concat", ["b", "c"], ["d"], axis=1),
        node("ConvTranspose", ["d", "w3"], ["e"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Shape", ["x"], ["shape"]),
        node("Mul", ["shape", "twice"], ["size"]),
        node("Resize", ["x", "", "", "size"], ["f"], mode="linear"),
        node("Add", ["e", "f"], ["y"]),
    ]
    sides = (["n", 3, "h", "w"], ["n", 3, "h2", "w2"])
    borders = [value(name, 1, shape) for name, shape in zip(("x", "y"), sides, strict=True)]
    constants = [onnx.numpy_helper.from_array(array.astype(kinds[name]), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "theirs", borders[:1], borders[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """By name: two graphs of somebody's, two of our files, our weights, and weights as torch saves them."""
    folder = tmp_path_factory.mktemp("originals")
    onnx.save(_foreign(), folder / "theirs.onnx")
    onnx.save(_foreign_rgb(), folder / "theirs-rgb.onnx")
    state = {"body.0.weight": torch.ones(4, 3, 3, 3), "body.0.bias": torch.zeros(4)}
    torch.save({"params": state, "step": 7}, folder / "theirs.pth")
    kinds = ("fp32.onnx", "int8.onnx", "safetensors")
    shipped = {f"ours.{kind}": (zoo.MODELS / f"{zoo.DEFAULT}.{kind}").read_bytes() for kind in kinds}
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} | shipped


def _bytes_mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Cut it, overwrite some bytes, repeat or remove a stretch, or put a large number among the first."""
    values = bytearray(data)
    kind = random.integers(5)
    if kind == 0:
        return bytes(values[: random.integers(len(values))])
    if kind == 1:
        for _ in range(int(random.integers(1, 12))):
            values[random.integers(len(values))] = random.integers(256)
        return bytes(values)
    start, end = sorted(random.integers(len(values), size=2))
    if kind == 2:
        return bytes(values[:end] + values[start:end] + values[end:])
    if kind == 3:
        return bytes(values[:start] + values[end:])
    at = random.integers(min(len(values), 400))
    values[at : at + 4] = random.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"])
    return bytes(values)


def _structure_mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A graph that parses and is wrong somewhere: names, operators, sizes, types, weights, borders, opsets."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for _ in range(int(random.integers(1, 4))):
        node, tensor = (few[random.integers(len(few))] for few in (graph.node, graph.initializer))
        size = int(SIZES[random.integers(len(SIZES))])
        match int(random.integers(14)):
            case 0:
                node.op_type = str(
                    random.choice(["Resize", "Loop", "If", "Relu", "Shape", "NoSuch", "Gather", "Expand"])
                )
            case 1:
                node.input[random.integers(len(node.input))] = str(random.choice(["", "nowhere", node.output[0]]))
            case 2:
                graph.node.remove(node)
            case 3:
                graph.node.append(node)
            case 4 if tensor.dims:
                tensor.dims[random.integers(len(tensor.dims))] = size
            case 5:
                tensor.data_type = int(random.integers(0, 25))
            case 6:
                tensor.raw_data = tensor.raw_data[: random.integers(len(tensor.raw_data) + 1)]
            case 7:
                tensor.data_location = onnx.TensorProto.EXTERNAL
                tensor.external_data.add(
                    key="location", value=str(random.choice(["../o", "/etc/passwd", "theirs.bin"]))
                )
            case 8:
                numbers = [a for a in node.attribute if a.ints]
                for attribute in numbers[:1]:
                    attribute.ints[random.integers(len(attribute.ints))] = size
            case 9:
                model.opset_import[0].version = size
            case 10:
                border = (graph.input, graph.output)[random.integers(2)]
                sides = border[0].type.tensor_type.shape.dim
                sides[random.integers(len(sides))].dim_value = size
            case 11:
                (graph.input, graph.output)[random.integers(2)].append(graph.output[0])
            case 12:
                for attribute in node.attribute:
                    attribute.i = size
            case _:
                (graph.input, graph.output)[random.integers(2)][0].type.tensor_type.elem_type = int(random.integers(25))
        if not graph.node:
            break
    result: bytes = model.SerializeToString()
    return result


def _try(path: Path, pictures: Path) -> list[bool]:
    """Whether each way to open a file takes it; refused, it is in one line and leaves nothing."""
    made = path.with_name("made")
    start = time.process_time()
    planes = np.zeros((1, 8, 8, 1), np.uint8)
    ways: list[Callable[[], object]] = [lambda: export(str(path), ("fp32",), False, made, pictures)]
    if path.suffix == ".onnx":
        ways += [lambda: open_session(path, "ort", "cpu", threads=1).run(planes)]  # `info` and `run --model`
    if path.name.startswith("ours") and path.suffix == ".onnx":
        ways += [lambda: check_file(path, zoo.find(zoo.DEFAULT), pictures)]
    taken = []
    for way in ways:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            way()
            taken.append(True)
        except SrdeployError as error:
            assert "\n" not in str(error)
            assert not made.exists(), f"{path.name} was refused and left {list(made.iterdir())}"
            taken.append(False)
        finally:
            faulthandler.cancel_dump_traceback_later()
        for file in made.glob("*"):
            file.unlink()
        if made.exists():
            made.rmdir()
    slowest.append((time.process_time() - start, path.name))
    return taken


slowest: list[tuple[float, str]] = []
"""Processor seconds that each file took, in all ways to open it."""


def _mutations(originals: dict[str, bytes], count: int) -> Iterator[tuple[str, bytes]]:
    for name, data in originals.items():
        random = np.random.default_rng(20261124)
        yield from ((name, _bytes_mutated(data, random)) for _ in range(count))
        if name.endswith(".onnx"):
            yield from ((name, _structure_mutated(data, random)) for _ in range(count))


def _campaign(originals: dict[str, bytes], count: int, folder: Path) -> dict[str, list[int]]:
    """By file, how many openings were refused and how many taken."""
    pictures = folder / "pictures"
    pictures.mkdir()
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (16, 1, 3))
    write_picture(pictures / "ramp.png", Picture("rgb", (ramp,)))
    outcomes = {name: [0, 0] for name in originals}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in _mutations(originals, count):
        path = folder / name
        path.write_bytes(data)
        try:
            taken = _try(path, pictures)
        except BaseException:
            path.rename(folder / f"failed-{name}")
            raise
        for answer in taken:
            outcomes[name][answer] += 1
        path.unlink()
        assert {entry.name for entry in folder.iterdir()} == {"pictures"}
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown < MEGABYTES, f"{name} took {grown:.0f} MB"
    return outcomes


def test_a_sample_of_mutated_models(originals: dict[str, bytes], tmp_path: Path) -> None:
    outcomes = _campaign(originals, SAMPLE, tmp_path)
    assert all(refused for refused, _ in outcomes.values())
    assert any(taken for _, taken in outcomes.values())


@pytest.mark.long
def test_the_campaign_of_mutated_models(originals: dict[str, bytes], tmp_path: Path) -> None:
    start = time.monotonic()
    outcomes = _campaign(originals, CAMPAIGN, tmp_path)
    files = {name: CAMPAIGN * (2 if name.endswith(".onnx") else 1) for name in originals}
    for name, (refused, taken) in outcomes.items():
        sys.stdout.write(f"{name}: {files[name]} mutations, {refused} openings refused, {taken} taken\n")
    seconds, name = max(slowest)
    sys.stdout.write(f"{sum(files.values())} mutations in {time.monotonic() - start:.0f} s; ")
    sys.stdout.write(f"the slowest took {seconds:.0f} s of processor time ({name})\n")
