"""A network being quantised: what its tensors hold, how rounding weights and channels changes results, what is lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srdeploy.backends.ort_graph import Runner, open_graph
from srdeploy.graph.equalize import equalized
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import int8_from_onnx, kernels, with_activations
from srdeploy.graph.int8_trt import at_pixels, signed_from_onnx
from srdeploy.graph.lanes import INPUTS, in_lanes
from srdeploy.graph.pixels import wrap_pixels
from srdeploy.graph.split import split, splittable, with_noise
from srdeploy.metrics import luma, psnr, shave
from srdeploy.parts import Parts
from srdeploy.picture import Pixels
from srdeploy.ranges import METHODS, Range, Values
from srdeploy.rounding import Moments, Rounded, partners, patches, round_weights

SAMPLES = 1 << 18
"""Values of each tensor that percentiles and errors are computed on; least and largest are those of all values."""

SIDE = 48
"""Weights are fitted in the middle of each picture, so many low-resolution pixels high and wide."""

PLACES = 20_000
"""Places at which weights are fitted, some 30 for each input of the widest kernels we ship."""

DEAD = 1e-3
"""A channel that never reached this share of its tensor's largest value is taken to be 0."""

_CAP_DB = 100.0

Pair = tuple[Pixels, Pixels]
"""uint8 (h, w, C) and (scale * h, scale * w, C): what the network is shown, and the truth."""

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """A way to write an int8 graph.

    kind: as in the file's name. convert: of int8_from_onnx's arguments. finished: from what that gives to uint8
    (N, H, W, C) in and out. levels: how many a tensor without negative values has. floats: names of convolutions that
    stay float.
    """

    kind: str
    convert: Callable[..., Model]
    finished: Callable[[Model], Model]
    levels: int
    floats: Callable[[Model], list[str]]


UNSIGNED = Form("int8", int8_from_onnx, in_lanes, 255, lambda model: [])
"""For CPUs: bytes from border to border."""


def _wrapped(model: Model) -> Model:
    wrapped = wrap_pixels(model, quantize=False)
    wrapped.metadata_props.extend(model.metadata_props)
    return wrapped


SIGNED = Form("int8-trt", signed_from_onnx, _wrapped, 127, at_pixels)
"""For TensorRT."""


class Trial:
    """A float network, pairs of pictures (uint8, low and full resolution), and how well fp32 does on them."""

    def __init__(
        self,
        graph: Model,
        scale: int,
        multiple: int,
        pairs: list[Pair],
        extremes: list[Pixels],
        form: Form = UNSIGNED,
        size: tuple[int, int] | None = None,
    ) -> None:
        """size: the only height and width that the network takes, which all pictures then have."""
        self.scale, self.pairs, self.form = scale, pairs, form
        lows = [low for low, _ in pairs] + extremes
        self.fp32 = self._psnr(wrap_pixels(graph))
        _, self.peaks = _values(graph, lows)
        self.graph = equalized(graph, self.peaks)
        self.seen, _ = _values(self.graph, lows)
        self.fitted = _middles([low for low, _ in pairs], multiple, size)

    def quantized(self, method: str, parts: Parts, kept: tuple[str, ...] = ()) -> tuple[Model, float]:
        """The int8 graph with ranges by this method, channels in these parts and these convolutions in float, and the
        mean PSNR it loses, in dB."""
        graph, ranges = self._split(parts), self._ranges(method, parts)
        model = self.form.finished(self.form.convert(graph, ranges, kept, self._weights(graph, ranges, kept)))
        return model, self._loss(model)

    def ranked_alone(self, method: str, parts: Parts, names: list[str]) -> list[str]:
        """Convolutions, those first whose own return to float, all else being equal, loses least."""
        graph, ranges = self._split(parts), self._ranges(method, parts)
        weights = self._weights(graph, ranges, ())
        models = {name: self.form.convert(graph, ranges, (name,), weights) for name in names}
        losses = {name: self._loss(self.form.finished(model)) for name, model in models.items()}
        return sorted(names, key=lambda name: losses[name])

    def noise(self) -> dict[str, Array64]:
        """By splittable tensor, the mean squared error in the result that rounding each channel makes, (C,)."""
        planes = _planes(self.fitted[:1])
        exact = open_graph(with_activations(self.graph)[0].SerializeToString())({"input": planes})
        found = {}
        for name, (count, _) in splittable(self.graph).items():
            run = open_graph(with_noise(self.graph, name).SerializeToString())
            step = float(self.seen[name].max()) / self.form.levels
            noise = np.random.default_rng(0).uniform(-step / 2, step / 2, exact[name].shape[2:]).astype(np.float32)
            errors = []
            for channel in range(count):
                one = np.zeros((1, count, *noise.shape), np.float32)
                one[0, channel] = noise
                (result,) = run({"input": planes, "noise": one}).values()
                errors.append(float(np.mean(np.square(result - exact["output"], dtype=np.float64))))
            found[name] = np.array(errors)
        return found

    def alive(self) -> dict[str, npt.NDArray[np.bool_]]:
        """By splittable tensor, which channels were ever other than 0, (C,)."""
        return {name: self.peaks[name] > DEAD * self.peaks[name].max() for name in splittable(self.graph)}

    def costs(self) -> dict[str, int]:
        """By splittable tensor, the products a pixel that one more channel costs."""
        return {name: cost for name, (_, cost) in splittable(self.graph).items()}

    def _split(self, parts: Parts) -> Model:
        return split(self.graph, parts, {name: float(self.seen[name].max()) for name in parts}) if parts else self.graph

    def _ranges(self, method: str, parts: Parts) -> dict[str, Range]:
        # Parts are cut by the quantiser's own saturation, so their range is what they were cut to.
        return {
            name: (0.0, float(values.max())) if name in parts else METHODS[method](values)
            for name, values in self.seen.items()
        }

    def _weights(self, graph: Model, ranges: Mapping[str, Range], kept: tuple[str, ...]) -> dict[str, Rounded]:
        """Rounded weights of convolutions, one after another: each is fitted to what those before it really give."""
        run_exact, _ = _opened(graph)
        planes = _planes(self.fitted)
        exact = {"input": planes, **_one_by_one(run_exact, planes)}
        found: dict[str, Rounded] = {}
        floats = {*kept, *self.form.floats(graph)}
        for name, (taken, weight, bias, plain) in kernels(graph).items():
            if name not in floats and plain:
                shown = self.form.convert(graph, ranges, kept, found, show=taken)
                results = _one_by_one(self._run(shown), self.fitted if self.form is UNSIGNED else planes)
                given = next(value for key, value in results.items() if key != "output")
                moments = _moments(given, exact[taken], weight.shape[2:])
                found[name] = round_weights(weight, bias, moments, partners(weight.shape, INPUTS))
        return found

    def _loss(self, model: Model) -> float:
        return float(np.mean([a - b for a, b in zip(self.fp32, self._psnr(model), strict=True)]))

    def _run(self, model: Model) -> Runner:
        return open_graph(model.SerializeToString(), integers=self.form is UNSIGNED)

    def _psnr(self, model: Model) -> list[float]:
        run = self._run(model)
        scores = []
        for low, truth in self.pairs:
            (result,) = run({"input": low[None]}).values()
            pair = [shave(pixels, self.scale) for pixels in (truth, result[0])]
            if truth.shape[2] == 3:
                pair = [luma(pixels) for pixels in pair]
            scores.append(min(psnr(pair[0], pair[1]), _CAP_DB))  # infinite where nothing differs: a flat picture
        return scores


def _values(graph: Model, lows: list[Pixels]) -> tuple[dict[str, Values], dict[str, Values]]:
    """What each tensor that becomes 8 bits holds, evenly spaced samples; and its channels' largest magnitudes."""
    run, names = _opened(graph)
    parts: dict[str, list[Values]] = {name: [] for name in names}
    peaks: dict[str, Values] = {}
    share = max(1, SAMPLES // len(lows))
    for low in lows:
        results = run({"input": _planes(low[None])})
        for name in names:
            flat = results[name].ravel()
            step = max(1, flat.size // share) | 1  # odd: not in step with the rows of a picture
            parts[name].append(np.concatenate((flat[::step], [flat.min(), flat.max()])))
            peak = np.abs(results[name]).max(axis=(0, 2, 3))
            peaks[name] = np.maximum(peaks[name], peak) if name in peaks else peak
    return {name: np.concatenate(found).astype(np.float32) for name, found in parts.items()}, peaks


def _one_by_one(run: Runner, inputs: Pixels) -> dict[str, Values]:
    """What a graph gives for several pictures, also one that takes a single picture at a time."""
    found = [run({"input": one[None]}) for one in inputs]
    return {name: np.concatenate([results[name] for results in found]) for name in found[0]}


def _moments(given: Values, exact: Values, kernel: tuple[int, int]) -> Moments:
    every = max(1, given.shape[0] * given.shape[2] * given.shape[3] // PLACES) | 1
    moments = Moments()
    for one, other in zip(given, exact, strict=True):
        moments.add(patches(one, kernel, every), patches(other, kernel, every))
    return moments


def _middles(lows: list[Pixels], multiple: int, size: tuple[int, int] | None) -> Pixels:
    """The middle of each picture, all of `size`, or of one size, a multiple of `multiple`: (N, h, w, C)."""
    side = max(multiple, SIDE // multiple * multiple)
    height, width = size or (min(side, *(low.shape[axis] for low in lows)) for axis in (0, 1))
    tops = [(low.shape[0] - height) // 2 for low in lows]
    lefts = [(low.shape[1] - width) // 2 for low in lows]
    return np.stack([low[y : y + height, x : x + width] for low, y, x in zip(lows, tops, lefts, strict=True)])


def _opened(graph: Model) -> tuple[Runner, list[str]]:
    """A float network that also gives the tensors that become 8 bits, ready to run, and their names."""
    model, names = with_activations(graph)
    return open_graph(model.SerializeToString()), names


def _planes(pixels: Pixels) -> Values:
    """uint8 (N, h, w, C) to float32 (N, C, h, w), 0..1."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
