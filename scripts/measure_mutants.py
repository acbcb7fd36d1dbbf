#!/usr/bin/env python3
"""Break what ships, one layer at a time, and write which breaks `srdeploy check` catches and `--bisect` names.

    python3 scripts/measure_mutants.py [NAME ...] [-o FILE.md] [--data DIR]

In every layer of each network, in fp32, fp16, int8 and int8-trt: its weights times 1.05 and times 1.5, two of its
channels in each other's place, one at 0; and what an activation gives, cut at half of its largest. Each file that comes
of it is checked on the pictures that ship and, with --data, on others, where nothing says what its PSNR was.
Needs the extras [cpu,export].
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from srdeploy import zoo
from srdeploy.backends.ort_graph import open_graph
from srdeploy.bisect import feed
from srdeploy.checking import check_file
from srdeploy.errors import ParityError
from srdeploy.graph.files import load_model, read_spec, stamp_and_save
from srdeploy.parity import pictures_for

KINDS = ("fp32", "fp16", "int8", "int8-trt")
NAMES = ("espcn-x4", "fast-x4", "srcnn-rgb-x4")


@dataclass(frozen=True)
class Outcome:
    """What became of one break. caught, caught_elsewhere: by `check` on the shipped and on other pictures. named: what
    `--bisect` named. db: PSNR against the reference, None where nothing differs or nothing finite came; right_db: that
    of the file unbroken."""

    network: str
    kind: str
    layer: str
    change: str
    caught: bool
    caught_elsewhere: bool | None
    named: str | None
    db: float | None
    right_db: float | None

    @property
    def right(self) -> bool:
        """Whether the layer that was named is the one that was broken, or what was put behind it."""
        return self.named in (self.layer, "cut_off")

    @property
    def harmless(self) -> bool:
        """Whether results are as near the reference as those of the file unbroken, to 0.05 dB: there is nothing to
        catch."""
        if self.db is None or self.right_db is None:
            return self.db == self.right_db and not self.caught
        return abs(self.db - self.right_db) <= 0.05


def _tensor(model: Any, name: str) -> Any:
    return next((tensor for tensor in model.graph.initializer if tensor.name == name), None)


def _parts(model: Any, layer: str) -> tuple[Any, Any]:
    """The tensor of a convolution's weights, and that of their steps where they are levels."""
    weight = next(node for node in model.graph.node if node.name == layer).input[1]
    made_by = {node.output[0]: node for node in model.graph.node}
    if weight in made_by:
        return _tensor(model, made_by[weight].input[0]), _tensor(model, made_by[weight].input[1])
    return _tensor(model, weight), None


def _change(tensor: Any, change: Callable[[Any], Any]) -> None:
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(change(values.copy()), values.dtype), tensor.name))


def _scaled(times: float) -> Callable[[Any, str], None]:
    def change(model: Any, layer: str) -> None:
        weights, steps = _parts(model, layer)
        _change(steps if steps is not None else weights, lambda values: values.astype(np.float32) * times)

    return change


def _swapped(model: Any, layer: str) -> None:
    for tensor in _parts(model, layer):
        if tensor is not None:
            _change(tensor, lambda values: values[[1, 0, *range(2, len(values))]])


def _zeroed(model: Any, layer: str) -> None:
    def change(values: Any) -> Any:
        values[0] = 0
        return values

    _change(_parts(model, layer)[0], change)


def _clipped(model: Any, layer: str) -> None:
    node = next(node for node in model.graph.node if node.name == layer)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    shown.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], kind, None))
    pixels = next(iter(pictures_for(read_spec(model, ""), None).values()))[None]
    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    values = open_graph(shown.SerializeToString())(feed(alone, pixels))[node.output[0]]
    name = node.output[0]
    node.output[0] = f"{name}_whole"
    ceiling = np.asarray(float(values.max()) / 2, np.float16 if half else np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ceiling, "ceiling"))
    clip = onnx.helper.make_node("Clip", [node.output[0], "", "ceiling"], [name], name="cut_off")
    model.graph.node.insert(list(model.graph.node).index(node) + 1, clip)


CHANGES: dict[str, Callable[[Any, str], None]] = {
    "weights x1.05": _scaled(1.05),
    "weights x1.5": _scaled(1.5),
    "two channels swapped": _swapped,
    "a channel at 0": _zeroed,
    "activation cut": _clipped,
}


def breaks(model: Any) -> Iterator[tuple[str, str]]:
    """Layers of a file and what can be broken in each."""
    for node in model.graph.node:
        if node.op_type == "Conv":
            alone = _parts(model, node.name)[0].dims[0] == 1
            yield from ((node.name, name) for name in CHANGES if "weights" in name or ("channel" in name and not alone))
        elif node.op_type == "Relu":
            yield node.name, "activation cut"


def outcome(network: str, kind: str, layer: str, change: str, folder: Path, data: Path | None = None) -> Outcome:
    """Break one layer of a shipped file and check what comes of it, against what it was made from."""
    path = zoo.MODELS / f"{network}.{kind}.onnx"
    model = load_model(path)
    spec = read_spec(model, path.name)
    reference = zoo.find(network, None, "fp32", "float") if kind == "fp32" else zoo.find(network)
    CHANGES[change](model, layer)
    broken = folder / "broken.onnx"
    stamp_and_save(model, spec, broken)
    right = spec.parity.psnr_db if spec.parity else None
    try:
        found = check_file(broken, reference, bisect=True)
        elsewhere = None if data is None else not check_file(broken, reference, data).parity.passed
    except ParityError:  # values that are not finite
        return Outcome(network, kind, layer, change, True, True, None, None, right)
    named = found.parting.layer if found.parting else None
    return Outcome(network, kind, layer, change, not found.parity.passed, elsewhere, named, found.parity.psnr_db, right)


def report(found: list[Outcome]) -> str:
    """Markdown: a table of counts, and every break that was not caught or whose layer was not named."""
    rows = ["| network | precision | breaks | harmless | caught | caught on other pictures | layer named |"]
    rows.append("|---|---|---|---|---|---|---|")
    for network, kind in dict.fromkeys((one.network, one.kind) for one in found):
        these = [one for one in found if (one.network, one.kind) == (network, kind)]
        real = [one for one in these if not one.harmless]
        caught = [one for one in real if one.caught]
        other = [one for one in real if one.caught_elsewhere is not None]
        elsewhere = f"{sum(bool(one.caught_elsewhere) for one in other)} of {len(other)}" if other else ""
        named = sum(one.right for one in caught)
        rows.append(
            f"| {network} | {kind} | {len(these)} | {len(these) - len(real)} | {len(caught)} of {len(real)} | "
            f"{elsewhere} | {named} of {len(caught)} |"
        )
    rows.append("")
    for one in found:
        if not one.harmless and not (one.caught and one.right and one.caught_elsewhere is not False):
            db = "equal or not finite" if one.db is None else f"{one.db:.2f} dB"
            rows.append(
                f"- {one.network}.{one.kind}, {one.layer}, {one.change} ({db}): "
                f"{'caught' if one.caught else 'not caught'}, named: {one.named}"
                f"{', not caught on other pictures' if one.caught_elsewhere is False else ''}"
            )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Break, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("-o", type=Path, default=Path("mutants.md"))
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.names:
            for kind in KINDS:
                for layer, change in breaks(load_model(zoo.MODELS / f"{name}.{kind}.onnx")):
                    found.append(outcome(name, kind, layer, change, Path(folder), asked.data))
                    sys.stderr.write(f"{found[-1]}\n")
                asked.o.write_text(report(found))


if __name__ == "__main__":
    main()
