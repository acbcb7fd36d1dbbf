"""Half precision where it is safe, fp32 where it is not: found by running the network on pictures.

Unsafe are values beyond half's range (overflow), values and weights so small that half holds few bits of them
(subnormals), and sums over whole pictures, which grow with the picture. What is left out of these but costs more
than parity allows is found by halving: groups of layers are rounded alone, and the harmful half of each is split again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from srdeploy.backends.ort_graph import open_graph
from srdeploy.errors import ParityError
from srdeploy.graph.convert import fp16_from_onnx
from srdeploy.graph.files import Model, border, cleaned, shape_of
from srdeploy.graph.rounded import half_loses
from srdeploy.graph.steps import rounded_runner, steps_of
from srdeploy.picture import Pixels

Array = np.ndarray[Any, Any]

LARGEST = 65504.0 / 2
"""Half ends at 65504; other pictures than those seen may reach twice as far."""

SMALLEST = 2.0**-14
"""Below it half precision holds fewer than its 11 bits (IEEE 754, subnormal numbers)."""

SUMS = (
    *("GlobalAveragePool", "GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
    *("CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceSum"),
    *("ReduceSumSquare", "LpNormalization", "MeanVarianceNormalization"),
)
"""Operators that sum over a picture or over squares: an engine that sums in half overflows where the mean does not."""

_AROUND = 64
"""Pictures are run in their middle, so many pixels a side, while groups are tried."""


@dataclass(frozen=True)
class Mixed:
    """A strongly typed graph in float16, fp32 at its borders, and the nodes in it that stay fp32, with why."""

    model: Model
    kept: Mapping[str, str]

    def notes(self) -> list[str]:
        """For the person: one line for each node that stays fp32."""
        return [f"fp16: {name} stays in fp32, because {why}" for name, why in self.kept.items()]


def mixed_from_onnx(graph: Model, name: str, pictures: Mapping[str, Pixels], least_db: float) -> Mixed:
    """The fp16 graph of a float network (N, C, H, W), 0..1, with fp32 left where half precision is not enough.

    pictures: uint8 (H, W, C) by name. least_db: PSNR against fp32 that half arithmetic must reach on them, peak 1.
    Raises ParityError when more than half of the layers with weights would have to stay fp32: that is no fp16 file.
    """
    graph = cleaned(graph)
    planes = [_planes(pixels) for pixels in pictures.values()]
    kept = _unsafe(graph, planes)
    free = None in shape_of(border(graph, name)[0])[2:]
    trial = _Trial(graph, [_middle(values) for values in planes] if free else planes)
    budget = 10 ** (-least_db / 10) / 2  # the other half: larger pictures, and 8-bit borders
    if trial.harm(set(trial.nodes) - set(kept)) > budget:
        harmful = trial.search([node for node in trial.nodes if node not in kept], budget, len(trial.nodes))
        kept |= dict.fromkeys(harmful, "rounding it costs more than parity allows")
    kept = {node: kept[node] for node in trial.nodes if node in kept}
    heavy = _with_weights(graph)
    if 2 * len(heavy & set(kept)) > len(heavy):
        first = next(iter(kept))
        raise ParityError(
            f"{name} in fp16 would need {len(heavy & set(kept))} of its {len(heavy)} layers with weights in fp32 "
            f"({first}: {kept[first]}, ...), which is no fp16 file; export without --fp16"
        )
    return Mixed(fp16_from_onnx(graph, kept), kept)


def _unsafe(graph: Model, planes: list[Array]) -> dict[str, str]:
    """Nodes that must stay fp32, and why, by what their operators, weights and values are."""
    found = half_loses(graph)
    found |= {node.name: "it sums over many values" for node in graph.graph.node if node.op_type in SUMS}
    peaks = _peaks(graph, planes)
    for node in graph.graph.node:
        for tensor in (*node.input, *node.output):
            peak = peaks.get(tensor, 1.0)
            if not peak <= LARGEST:
                found.setdefault(node.name, f"{tensor} reaches {peak:.3g}, and half precision ends at 65504")
            elif 0 < peak < SMALLEST:
                found.setdefault(node.name, f"{tensor} stays below {peak:.1g}, where half precision has few bits")
    return found


def _peaks(graph: Model, planes: list[Array]) -> dict[str, float]:
    """The largest magnitude that each float tensor takes on the pictures, in fp32."""
    sessions = [(step, open_graph(step.model)) for step in steps_of(graph)]
    peaks: dict[str, float] = {}
    for values in planes:
        alive = {border(graph, "the network")[0].name: values}
        for step, session in sessions:
            alive.update(session({name: alive[name] for name in step.inputs}))
            for name in step.outputs:
                if alive[name].dtype.kind == "f":
                    peaks[name] = max(peaks.get(name, 0.0), float(np.abs(alive[name]).max(initial=0.0)))
            for name in step.last_use:
                del alive[name]
    return peaks


class _Trial:
    """A network with some of its nodes in half, and how far that puts its result off."""

    def __init__(self, graph: Model, planes: list[Array]) -> None:
        self.graph, self.planes = graph, planes
        self.nodes = [str(node.name) for node in graph.graph.node]
        self.names = tuple(value.name for value in border(graph, "the network"))
        run = open_graph(graph.SerializeToString())
        self.exact = [run({self.names[0]: values})[self.names[1]] for values in planes]

    def harm(self, halves: set[str]) -> float:
        """Mean square of the error with these nodes in half, peak 1; infinite where it overflows."""
        model = fp16_from_onnx(self.graph, set(self.nodes) - halves)
        run: Callable[[Mapping[str, Array]], dict[str, Array]] = rounded_runner(model, open_graph)
        squares = count = 0.0
        for values, exact in zip(self.planes, self.exact, strict=True):
            try:
                found = run({self.names[0]: values})[self.names[1]]
            except ParityError:  # not finite
                return np.inf
            squares += float(np.sum(np.square(np.subtract(found, exact, dtype=np.float64))))
            count += exact.size
        return squares / count

    def search(self, nodes: list[str], budget: float, of: int) -> list[str]:
        """The nodes that must stay fp32 for all others together to keep within the budget: errors of rounding add up,
        so each group has a share of it by its length."""
        if self.harm(set(nodes)) <= budget * len(nodes) / of:
            return []
        if len(nodes) == 1:
            return nodes
        half = len(nodes) // 2
        return self.search(nodes[:half], budget, of) + self.search(nodes[half:], budget, of)


def _with_weights(graph: Model) -> set[str]:
    weights = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) > 1}
    return {node.name for node in graph.graph.node if weights & set(node.input)}


def _planes(pixels: Pixels) -> Array:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)


def _middle(values: Array) -> Array:
    for axis in (2, 3):
        side = values.shape[axis]
        least = min(side, _AROUND)
        values = values.take(range((side - least) // 2, (side - least) // 2 + least), axis)
    return values
