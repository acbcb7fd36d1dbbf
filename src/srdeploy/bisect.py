"""The first layer at which a file and its reference part: both run node by node, and every result is compared.

Each layer of the reference is given what the candidate's own layer was given, so that a difference shows where it
arises and not where it arrives; and it is measured in what the candidate's precision explains: in what rounding the
layer's weights to that precision does to the layer's result. Weights of int8 are not rounded each to its nearest, so
a convolution in int8 is measured otherwise: see _fitted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from srdeploy.backends.ort_graph import open_graph
from srdeploy.graph.channels import Channels
from srdeploy.graph.files import Model, border, cleaned
from srdeploy.graph.pairs import paired
from srdeploy.graph.rounded import EPSILON, rounded_weights, scalars
from srdeploy.graph.steps import Step, steps_of
from srdeploy.picture import Pixels
from srdeploy.spec import Precision

Array = np.ndarray[Any, Any]

PARTS = 4.0
"""A result this many times as far off as rounding explains, or more, parts; unless another is off far more times."""

RARE = 0.002
"""The share of an int8 tensor's samples whose differences may be larger than the rest explains."""

CUT = 0.02
"""The same of what is quantised, on pictures that the file was not fitted to: of a page of text 0.7 % lay outside."""

_LEVEL = 1 / 255


@dataclass(frozen=True)
class Parting:
    """layer, op: the candidate's node that parts. tensor: the reference's, from which its result differs, or what a
    layer takes. weights: names of what the layer holds. channel: where it parts most.

    difference: RMS of the difference over RMS of what the reference gives; explained: the same for rounding alone.
    times: one over the other, infinite where values are not finite.
    """

    layer: str
    op: str
    tensor: str
    weights: tuple[str, ...]
    channel: int
    difference: float
    explained: float
    times: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: None instead."""
        return {key: None if value == np.inf else value for key, value in asdict(self).items()}

    def __str__(self) -> str:
        of = f" of {self.weights[0]}" if self.weights else f" at {self.tensor}"
        off = "without end" if np.isinf(self.times) else f"by {self.difference:.2g} of its size"
        return (
            f"the first layer that parts is {self.layer} ({self.op}{of}), off {off} in channel {self.channel}, where "
            f"rounding explains {self.explained:.2g}"
        )


def first_parting(
    candidate: Model,
    reference: Model,
    pixels: Pixels,
    precision: Precision,
    channels: Mapping[str, Channels] | None = None,
    least: float = PARTS,
    cut: float = RARE,
) -> Parting | None:
    """The first layer of `candidate` that does something else than the reference's; None when every layer agrees.

    Both take pixels (uint8, (1, H, W, C)), or these / 255 as float (1, C, H, W). Layers are paired by the names of
    nodes, or, where a tool has renamed them, by the order of operators. precision: the candidate's. channels: by
    names of the reference's tensors, how the candidate's channels stand for theirs. least: how many times as far off
    as rounding explains a layer must be. cut: the share of samples that may lie outside the range of an int8 tensor.
    """
    return _Walk(cleaned(candidate), cleaned(reference), pixels, precision, channels or {}, cut).first(least)


class _Stepper:
    """Runs a graph as far as it is asked to, holding only what is still to be taken."""

    def __init__(self, model: Model, pixels: Pixels) -> None:
        self.nodes = list(model.graph.node)
        self.weights = {tensor.name for tensor in model.graph.initializer}
        self.made_by = {name: index for index, node in enumerate(self.nodes) for name in node.output}
        self.steps = steps_of(model)
        self.values = feed(model, pixels)
        self._done = 0
        self._spent: tuple[str, ...] = ()

    def advance(self, index: int) -> None:
        """Run all nodes up to this one; what it took stays until the next call."""
        while self._done <= index:
            for name in self._spent:
                del self.values[name]
            step = self.steps[self._done]
            self.values.update(_run(step, self.values))
            self._spent, self._done = step.last_use, self._done + 1


class _Walk:
    def __init__(
        self,
        candidate: Model,
        reference: Model,
        pixels: Pixels,
        precision: Precision,
        channels: Mapping[str, Channels],
        cut: float = RARE,
    ) -> None:
        self.cut = cut
        self.candidate = _Stepper(candidate, pixels)
        self.constants = scalars(candidate)
        self.nodes = list(reference.graph.node)
        self.exact, self.rough = steps_of(reference), steps_of(rounded_weights(reference, precision))
        self.outputs = border(candidate, "the candidate")[1].name, border(reference, "the reference")[1].name
        self.precision, self.epsilon, self.channels = precision, EPSILON[precision], channels
        self.smallest = 2.0**-24 if precision == "fp16" else 0.0  # steps of half precision never get smaller
        # A convolution in int8 is never so many times off as what follows it, whose own rounding is smaller.
        self.far = 100 if precision == "int8" else 10
        self.twins = paired(self.nodes, self.candidate.nodes)
        self.paired = set(self.twins.values())
        self.given = feed(reference, pixels)
        self.rounded: dict[str, Array] = {}
        self.twin_of: dict[str, str] = {}

    def first(self, least: float) -> Parting | None:
        found = [parting for parting in self._all() if parting.times >= least]
        most = max((parting.times for parting in found), default=0.0) / self.far
        return next((parting for parting in found if parting.times >= most), None)

    def _all(self) -> Iterator[Parting]:
        """How far every layer parts, in the reference's order."""
        for index, step in enumerate(self.exact):
            twin = self.twins.get(index)
            if twin is None:
                rough = _run(self.rough[index], {**self.given, **self.rounded})
                self.given.update(_run(step, self.given))
                self.rounded.update(rough)
            else:
                yield from self._pair(index, twin)
            for name in step.last_use:
                del self.given[name]
                self.rounded.pop(name, None)
        self.candidate.advance(len(self.candidate.nodes) - 1)
        own, name = self.outputs
        actual, expected = _picture(self.candidate.values[own]), _picture(self.given[name])
        if suspects := self._between(own):
            noise = _picture(self.rounded[name]) - expected if name in self.rounded else _NONE
            yield self._judge(name, expected, actual, noise, _LEVEL, suspects)

    def _pair(self, index: int, twin: int) -> Iterator[Parting]:
        """What a layer takes, and then what it makes of it."""
        self.candidate.advance(twin)
        step, node, inputs = self.exact[index], self.candidate.nodes[twin], dict(self.given)
        for name, own in zip(self.nodes[index].input, node.input, strict=False):
            if name not in step.inputs:
                continue
            expected = self.given[name]
            actual = self._own(name, own, expected)
            if self.twin_of.get(name) != own and (suspects := self._between(own)):
                size = self._step(own) or self.smallest
                if size == np.float32(_LEVEL):  # pixels: what lies outside is clipped in the end by either
                    expected = np.clip(expected, 0, 1)
                yield self._judge(name, expected, actual, self._noise(name), size, suspects)
            inputs[name] = actual.astype(expected.dtype)
        made, rounded = _run(step, inputs), _run(self.rough[index], inputs)
        weights = tuple(name for name in self.nodes[index].input if name and name not in step.inputs)
        for name, own in zip(step.outputs, node.output, strict=False):
            exact = made[name]
            actual = self._own(name, own, exact)
            noise = np.subtract(rounded[name], exact, dtype=np.float32)
            step_of = self.smallest if exact.dtype.kind == "f" else 1.0
            yield self._judge(name, exact, actual, noise, step_of, [twin], weights)
            self.given[name], self.twin_of[name] = actual.astype(exact.dtype), own

    def _noise(self, name: str) -> Array:
        """What rounding weights does to a tensor of the reference that no node of the candidate makes alone."""
        if name not in self.rounded:
            return _NONE
        return np.subtract(self.rounded[name], self.given[name], dtype=np.float32)

    def _own(self, name: str, own: str, expected: Array) -> Array:
        """The candidate's value of the reference's tensor `name`, in the reference's channels and units; what it left
        out as it never was anything but 0 is as expected."""
        value = self.candidate.values[own]
        if name in self.channels and value.shape[1:2] == self.channels[name].factors.shape and value.ndim == 4:
            merged = self.channels[name].merged(value)
            return np.where(np.isnan(merged), expected, merged) if merged.shape == expected.shape else merged
        return value

    def _judge(
        self,
        tensor: str,
        expected: Array,
        actual: Array,
        noise: Array,
        step: float,
        suspects: list[int],
        weights: tuple[str, ...] = (),
    ) -> Parting:
        """How much further two tensors are apart than noise, their type's own rounding and steps of `step` explain."""
        node = self._culprit(suspects)
        if expected.size == 0 and expected.shape == actual.shape:  # as what Shape gives of no side
            return Parting(node.name, node.op_type, tensor, weights, 0, 0.0, 0.0, 0.0)
        size = _rms(expected)
        if expected.shape == actual.shape:
            apart = np.subtract(actual, expected, dtype=np.float32)
            # What lies outside the range that a file was fitted to is cut, rarely, on other pictures than those.
            rare = self.cut if node.op_type == "QuantizeLinear" else RARE
            off = _rms(_without_rare(apart, rare) if self.precision == "int8" and not weights else apart)
        else:
            off = np.full(max(1, size.size), np.inf)
            size = np.ones(off.shape) if size.size == 0 else size
        if self.precision == "int8" and weights and node.op_type == "Conv" and np.isfinite(off).all():
            off, explained = _fitted(expected, actual, size, off)
        else:
            explained = _rms(noise) + self.epsilon * (size + 0.1 * size.mean()) + step * 12**-0.5 + 1e-12
        times = np.nan_to_num(off / explained, nan=np.inf, posinf=np.inf)
        channel = int(times.argmax())
        unit = float(size[channel]) or 1.0
        shares = float(off[channel]) / unit, float(explained[channel]) / unit
        return Parting(node.name, node.op_type, tensor, weights, channel, *shares, float(times[channel]))

    def _between(self, name: str) -> list[int]:
        """Nodes of the candidate that have no twin and lie behind this tensor, in order."""
        index = self.candidate.made_by.get(name)
        if index is None or index in self.paired:
            return []
        found = {index}
        for behind in self.candidate.nodes[index].input:
            found.update(self._between(behind))
        return sorted(found)

    def _culprit(self, suspects: list[int]) -> Any:
        nodes = [self.candidate.nodes[index] for index in suspects]
        return next((node for node in nodes if node.op_type not in ("Cast", "DequantizeLinear", "Identity")), nodes[-1])

    def _step(self, name: str) -> float:
        """The step of the quantisation between a layer and what it takes; 0 when there is none."""
        for index in self._between(name):
            node = self.candidate.nodes[index]
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                return self.constants.get(node.input[1], 0.0)
        return 0.0


def feed(model: Model, pixels: Pixels) -> dict[str, Array]:
    """What a graph with one input is given for uint8 (N, H, W, C): these bytes, or floats (N, C, H, W) in 0..1."""
    value, _ = border(model, "the graph")
    if value.type.tensor_type.elem_type == _UINT8:
        return {value.name: pixels}
    return {value.name: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)}


_UINT8 = 2  # onnx.TensorProto.UINT8


_NONE = np.zeros(1, np.float32)


def _run(step: Step, values: Mapping[str, Array]) -> dict[str, Array]:
    return open_graph(step.model)({name: values[name] for name in step.inputs})


def _picture(value: Array) -> Array:
    """A result as float (N, C, H, W), clipped to 0..1."""
    if value.dtype == np.uint8:
        return np.asarray(value.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    return np.clip(value.astype(np.float32), 0, 1)


def _rms(value: Array) -> Array:
    """Root of the mean square of each channel, (C,); of a scalar, itself."""
    if value.ndim < 2:
        return np.atleast_1d(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    return np.asarray(np.sqrt(np.mean(np.square(value, dtype=np.float64), axis=axes)))


def _without_rare(apart: Array, rare: float) -> Array:
    """The differences (N, C, H, W), in each channel none beyond what all but this share of them keep to."""
    if apart.ndim != 4:
        return apart
    if apart[:, 0].size * rare < 1:  # means over the picture: one alone may lie outside the range
        return np.zeros_like(apart)
    sizes = np.abs(apart)
    return np.asarray(np.minimum(sizes, np.quantile(sizes, 1 - rare, axis=(0, 2, 3), keepdims=True)))


def _fitted(expected: Array, actual: Array, size: Array, off: Array) -> tuple[Array, Array]:
    """How far off each channel of a convolution in int8 is, and what its fitted weights explain of it, (C,) each.

    Its weights are fitted to what it is given, and are off by less where more depends on it: by some share of a
    channel's size, the same for most channels, and by a share of the largest, however small the channel. But what was
    fitted by least squares is scaled by next to nothing: less in a channel, and least in all of them together.
    Measured on all 26 that ship, on three places of 13 pictures each: at most 0.83 of PARTS.
    """
    axes = tuple(axis for axis in range(expected.ndim) if axis != 1)
    squares = np.sum(np.square(expected, dtype=np.float64), axis=axes)
    products = np.sum(np.multiply(expected, actual, dtype=np.float64), axis=axes)
    scaled = np.abs(products / np.maximum(squares, 1e-30) - 1) * size
    all_scaled = abs(float(products.sum()) / max(float(squares.sum()), 1e-30) - 1) * size
    large = size > 0
    usual = float(np.median(off[large] / size[large])) if large.any() else 0.0
    found = np.stack((off, scaled, all_scaled))
    explained = 1e-12 + np.stack(
        (1.5 * min(usual, 0.03) * size + 0.005 * size.max(), 0.015 * size + 0.002 * size.max(), 0.005 * size)
    )
    worst = (found / explained).argmax(axis=0), np.arange(len(size))
    return found[worst], explained[worst]
