"""Which ranges, and which layers: the int8 graph that loses least, found by measuring on pictures.

Each picture is the truth; the network is shown the picture made smaller, as in training and evaluation, and what int8
loses is the PSNR of the fp32 result less that of the int8 result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srdeploy.backends.ort import Runner, open_graph
from srdeploy.errors import InputError, ParityError
from srdeploy.graph.equalize import equalized
from srdeploy.graph.files import Model
from srdeploy.graph.int8 import Range, convolutions, int8_from_onnx, kernels, with_activations
from srdeploy.graph.lanes import in_lanes
from srdeploy.graph.pixels import wrap_pixels
from srdeploy.metrics import luma, psnr, shave
from srdeploy.picture import Pixels
from srdeploy.resample import imresize_uint8, modcrop
from srdeploy.rounding import Moments, Rounded, patches, round_weights

TARGET_DB = 0.05
"""A loss up to this needs no layer in float."""

TOLERANCE_DB = 0.10
"""A loss above this is refused."""

MARGIN_DB = 0.02
"""What a method that clips must gain over minmax to be taken."""

PICTURES = 16
"""So many pictures of a folder are calibrated on, evenly spaced by name."""

SAMPLES = 1 << 18
"""Values of each tensor that percentiles and errors are computed on; least and largest are those of all values."""

PLACES = 20_000
"""Places of the pictures at which weights are fitted, some 30 for each input of the widest kernels we ship."""

_LEAST_SIDE = 16
_CAP_DB = 100.0

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantized:
    """An int8 graph and how it was chosen.

    model: uint8 (N, H, W, C) in and out. method: of METHODS. kept: names of the convolutions left in float, of
    `layers` in all. loss_db: mean loss of PSNR against fp32 (of Y for RGB), in dB, over `pictures` pictures.
    """

    model: Model
    method: str
    kept: tuple[str, ...]
    layers: int
    loss_db: float
    pictures: int

    def how(self) -> str:
        """In words, for the person and for the file's stamp."""
        layers = f"{self.layers - len(self.kept)} of {self.layers} convolutions in int8"
        kept = f", {' and '.join(self.kept)} in float" if self.kept else ""
        return f"int8, ranges by {self.method}, {layers}{kept}"


def quantize(
    graph: Model, name: str, scale: int, multiple: int, pictures: Mapping[str, Pixels], extremes: Mapping[str, Pixels]
) -> Quantized:
    """The int8 graph of a float network (N, C, H, W) that loses least on pictures: uint8 (H, W, C) by name.

    Every method for ranges is tried with all convolutions in int8; if the best loses more than TARGET_DB, those whose
    rounding costs most go back to float one after another, but never more than half of them: what remains is to be
    an int8 file. extremes: pictures in low resolution that ranges must hold too, such as those of the proof; nothing
    is measured on them. The same pictures give the same graph.

    Raises ParityError when the best found loses more than TOLERANCE_DB, InputError when no picture is large enough,
    ModelError when the network has no convolution.
    """
    names = convolutions(graph)
    trial = _Trial(graph, scale, _pairs(pictures, scale, multiple), list(extremes.values()))
    results = [trial.quantized(method, (), len(names)) for method in METHODS]
    # Nothing is clipped by minmax: other pictures may reach further, so another method must be clearly better.
    best = min(results, key=lambda result: result.loss_db + (0 if result.method == "minmax" else MARGIN_DB))
    if best.loss_db > TARGET_DB:
        best = _with_float_layers(best, names, trial)
    if best.loss_db > TOLERANCE_DB:
        raise ParityError(
            f"{name} in int8 loses {best.loss_db:.2f} dB of PSNR on {best.pictures} pictures ({best.how()}), and "
            f"{TOLERANCE_DB:.2f} dB is allowed; type --fp16, or --calibrate and a folder of other pictures"
        )
    return best


def _with_float_layers(best: Quantized, names: list[str], trial: "_Trial") -> Quantized:
    alone = {name: trial.quantized(best.method, (name,), len(names)).loss_db for name in names}
    ranked = sorted(names, key=lambda name: alone[name])
    for count in range(1, len(names) // 2 + 1):
        kept = tuple(name for name in names if name in ranked[:count])
        found = trial.quantized(best.method, kept, len(names))
        best = min(best, found, key=lambda result: result.loss_db)
        if best.loss_db <= TARGET_DB:
            break
    return best


class _Trial:
    """A network, pictures, and how well its fp32 file does on them."""

    def __init__(self, graph: Model, scale: int, pairs: list[tuple[Pixels, Pixels]], extremes: list[Pixels]) -> None:
        self.scale, self.pairs = scale, pairs
        self.lows = [low for low, _ in pairs] + extremes
        self.fp32 = self._psnr(wrap_pixels(graph))
        _, peaks = self._values(*_opened(graph))
        self.graph = equalized(graph, peaks)
        self.run_exact, names = _opened(self.graph)
        self.seen, _ = self._values(self.run_exact, names)

    def _values(self, run: Runner, names: list[str]) -> tuple[dict[str, Values], dict[str, Values]]:
        """What each tensor that becomes 8 bits holds, evenly spaced samples; and its channels' largest magnitudes."""
        parts: dict[str, list[Values]] = {name: [] for name in names}
        peaks: dict[str, Values] = {}
        share = max(1, SAMPLES // len(self.lows))
        for low in self.lows:
            results = run({"input": _planes(low)})
            for name in names:
                flat = results[name].ravel()
                step = max(1, flat.size // share) | 1  # odd: not in step with the rows of a picture
                parts[name].append(np.concatenate((flat[::step], [flat.min(), flat.max()])))
                peak = np.abs(results[name]).max(axis=(0, 2, 3))
                peaks[name] = np.maximum(peaks[name], peak) if name in peaks else peak
        return {name: np.concatenate(found).astype(np.float32) for name, found in parts.items()}, peaks

    def quantized(self, method: str, kept: tuple[str, ...], layers: int) -> Quantized:
        """The int8 graph with ranges by this method and these convolutions in float, measured."""
        ranges = {name: METHODS[method](values) for name, values in self.seen.items()}
        weights: dict[str, Rounded] = {}
        for name, (taken, weight, bias, steady) in kernels(self.graph).items():
            if name not in kept and steady:
                weights[name] = round_weights(
                    weight, bias, self._moments(taken, weight.shape[2:], ranges, kept, weights)
                )
        model = in_lanes(int8_from_onnx(self.graph, ranges, kept, weights))
        found = self._psnr(model)
        loss = float(np.mean([a - b for a, b in zip(self.fp32, found, strict=True)]))
        return Quantized(model, method, kept, layers, loss, len(self.pairs))

    def _moments(
        self,
        taken: str,
        kernel: tuple[int, int],
        ranges: Mapping[str, Range],
        kept: tuple[str, ...],
        weights: Mapping[str, Rounded],
    ) -> Moments:
        """Of the tensor that a convolution takes, with all before it rounded already, and as it is in float."""
        rounded = int8_from_onnx(self.graph, ranges, kept, weights, show=taken)
        run_rounded = open_graph(rounded.SerializeToString())
        moments = Moments()
        places = sum(low.shape[0] * low.shape[1] for low, _ in self.pairs)
        every = max(1, places // PLACES) | 1
        for low, _ in self.pairs:
            planes = _planes(low)
            exact = planes if taken == "input" else self.run_exact({"input": planes})[taken]
            given = next(value for name, value in run_rounded({"input": low[None]}).items() if name != "output")
            moments.add(patches(given[0], kernel, every), patches(exact[0], kernel, every))
        return moments

    def _psnr(self, model: Model) -> list[float]:
        run = open_graph(model.SerializeToString())
        scores = []
        for low, truth in self.pairs:
            (result,) = run({"input": low[None]}).values()
            pair = [shave(pixels, self.scale) for pixels in (truth, result[0])]
            if truth.shape[2] == 3:
                pair = [luma(pixels) for pixels in pair]
            scores.append(min(psnr(pair[0], pair[1]), _CAP_DB))  # infinite where nothing differs: a flat picture
        return scores


def _opened(graph: Model) -> tuple[Runner, list[str]]:
    """A float network that also gives the tensors that become 8 bits, ready to run, and their names."""
    model, names = with_activations(graph)
    return open_graph(model.SerializeToString()), names


def _planes(pixels: Pixels) -> Values:
    """uint8 (h, w, C) to float32 (1, C, h, w), 0..1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)


def _pairs(pictures: Mapping[str, Pixels], scale: int, multiple: int) -> list[tuple[Pixels, Pixels]]:
    """What the network is shown, and what it should make of it: uint8 (h, w, C) and (scale * h, scale * w, C)."""
    pairs = []
    for pixels in pictures.values():
        if pixels.shape[2] == 1:  # proofs are in studio range, 16 .. 235; `srdeploy run` gives luma the full range
            pixels = np.rint(np.clip((pixels - 16.0) * (255 / 219), 0, 255)).astype(np.uint8)
        truth = modcrop(pixels, scale * multiple)
        height, width = truth.shape[0] // scale, truth.shape[1] // scale
        if min(height, width) >= _LEAST_SIDE:
            pairs.append((imresize_uint8(truth, height, width), truth))
    if not pairs:
        least = _LEAST_SIDE * scale
        raise InputError(
            f"no picture to calibrate on has sides of {least} pixels or more; type --calibrate and a folder of larger "
            "ones"
        )
    return pairs


Choose = Callable[[Values], Range]


def _minmax(values: Values) -> Range:
    return float(values.min()), float(values.max())


def _percentile(share: float) -> Choose:
    def choose(values: Values) -> Range:
        low, high = np.percentile(values, (100 - share, share))
        return float(low), float(high)

    return choose


def _least_error(values: Values) -> Range:
    """The range, shrunk from least and largest in steps of 4 %, whose 256 levels lie nearest to the values."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    spans = [(low * part, high * part) for part in np.arange(1.0, 0.2, -0.04).tolist()]
    return min(spans, key=lambda span: _error(values[::8], span))


def _error(values: Values, span: Range) -> float:
    scale = np.float32((span[1] - span[0]) / 255 or 1.0)
    zero = np.rint(-span[0] / scale)
    rounded = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float(np.mean(np.square(rounded - values, dtype=np.float64)))


METHODS: Mapping[str, Choose] = {
    "minmax": _minmax,
    "percentile 99.99": _percentile(99.99),
    "mse": _least_error,
}
"""How a tensor's range is chosen from the values it held."""
