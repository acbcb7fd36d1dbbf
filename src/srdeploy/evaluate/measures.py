"""Everything that `srdeploy eval` measures, by the name that it has in the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srdeploy.errors import InputError
from srdeploy.evaluate.pictures import Rgb, pictures_in, rgb_of
from srdeploy.media.pictures import read_picture
from srdeploy.metrics import MS_SSIM_SIDE, SSIM_WINDOW, Float64, entropy, mae, ms_ssim, mse, psnr, ssim
from srdeploy.niqe import BLOCK, SHIPPED, Pristine, fit_pristine, gray_of, load_pristine, niqe

if TYPE_CHECKING:
    from srdeploy.learn import perception


@dataclass(frozen=True, eq=False)
class Pair:
    """The reference and the result, borders cut: rgb uint8 (H, W, 3), y float64 (H, W) in 16 .. 235."""

    rgb: tuple[Rgb, Rgb]
    y: tuple[Float64, Float64]


OfPair = Callable[[Pair], float]

ARITHMETIC: Mapping[str, OfPair] = {
    "psnr_y": lambda pair: psnr(*pair.y),
    "ssim_y": lambda pair: ssim(*pair.y),
    "psnr_rgb": lambda pair: psnr(*pair.rgb),
    "ssim_rgb": lambda pair: ssim(*pair.rgb),
    "msssim_y": lambda pair: ms_ssim(*pair.y),
    "msssim_rgb": lambda pair: ms_ssim(*pair.rgb),
    "mse_y": lambda pair: mse(*pair.y),
    "mse_rgb": lambda pair: mse(*pair.rgb),
    "mae_y": lambda pair: mae(*pair.y),
    "mae_rgb": lambda pair: mae(*pair.rgb),
    "entropy": lambda pair: entropy(pair.rgb[1]),
}
"""What numpy alone computes, of each picture; formulas stand in srdeploy.metrics. `entropy` is the result's own."""

PERCEPTUAL = ("niqe", "lpips", "dists")
"""Of each picture: NIQE from the result alone, LPIPS and DISTS through networks ([eval])."""

OF_SETS = ("fid", "kid", "is", "precision", "recall")
"""Of all results together, through networks ([eval]); they stand in the mean, and no picture has them."""

METRICS = (*ARITHMETIC, *PERCEPTUAL, *OF_SETS)
"""Every metric."""

DEFAULT = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
"""What is measured when nothing is asked for."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "arithmetic": tuple(ARITHMETIC),
    "perceptual": PERCEPTUAL,
    "sets": OF_SETS,
    "all": METRICS,
}
"""Words that stand for several metrics."""

WEIGHTS = ("niqe", "alexnet", "vgg16", "inception")
"""What may be given by path: NIQE's model, or a folder of pictures to make it from; the networks' weights."""

_NEEDS_SIDES: Mapping[str, tuple[int, int]] = {
    "ssim_y": (SSIM_WINDOW, SSIM_WINDOW),
    "ssim_rgb": (SSIM_WINDOW, SSIM_WINDOW),
    "msssim_y": (MS_SSIM_SIDE, MS_SSIM_SIDE),
    "msssim_rgb": (MS_SSIM_SIDE, MS_SSIM_SIDE),
    "niqe": (BLOCK, 2 * BLOCK),
    "lpips": (32, 32),
    "dists": (32, 32),
}
"""Pixels of the shorter and the longer side, without which a metric is not defined."""

_NEEDS_PICTURES: Mapping[str, int] = {"fid": 2, "kid": 2, "is": 20, "precision": 4, "recall": 4}
"""A covariance needs two pictures, IS two in each of its ten parts, precision and recall each picture's third
neighbour."""


ENOUGH = 2048
"""Pictures below which the covariance of FID's 2048 features has not even full rank."""


def metrics_named(text: str) -> list[str]:
    """Names of metrics from a comma-separated text of names and groups, each once; InputError lists them."""
    names: list[str] = []
    for word in (word.strip() for word in text.split(",")):
        names += GROUPS.get(word, (word,) if word else ())
    check_names(names)
    return list(dict.fromkeys(names))


def check_names(names: Sequence[str]) -> None:
    """Raise InputError, which lists what there is, when `names` is empty or one of them is no metric."""
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise InputError(
            f"no such metric: {', '.join(unknown) or 'none given'}; there are: {', '.join(METRICS)}; "
            f"and groups of them: {', '.join(GROUPS)}"
        )


class Measures:
    """Metrics made ready: networks are open and weights read before the first picture is enlarged."""

    def __init__(self, metrics: Sequence[str], pictures: int, weights: Mapping[str, Path]) -> None:
        """metrics: names of METRICS. pictures: how many will come. weights: paths by the names in WEIGHTS.

        Raises InputError for unknown names, too few pictures, or weights that cannot be had; MissingExtra.
        """
        check_names(metrics)
        _check_weights(weights)
        for metric in metrics:
            if pictures < (least := _NEEDS_PICTURES.get(metric, 1)):
                raise InputError(
                    f"{metric} needs at least {least} pictures and there are {pictures}; give more, or leave it out of "
                    "--metrics"
                )
        self._metrics, self._pictures, self._weights = metrics, pictures, weights
        self._of_pair: dict[str, OfPair] = {name: ARITHMETIC[name] for name in metrics if name in ARITHMETIC}
        if "niqe" in metrics:
            pristine = _pristine(weights.get("niqe"))
            self._of_pair["niqe"] = lambda pair: niqe(gray_of(pair.rgb[1]), pristine)
        self._sets: perception.Sets | None = None
        if any(metric in metrics for metric in ("lpips", "dists", *OF_SETS)):
            from srdeploy.learn import require_networks

            require_networks()
            self._open_networks()

    def _open_networks(self) -> None:
        from srdeploy.learn import perception

        weights = self._weights
        if "lpips" in self._metrics:
            lpips = perception.open_lpips(weights.get("alexnet"))
            self._of_pair["lpips"] = lambda pair: lpips(*pair.rgb)
        if "dists" in self._metrics:
            dists = perception.open_dists(weights.get("vgg16"))
            self._of_pair["dists"] = lambda pair: dists(*pair.rgb)
        if of_sets := [name for name in self._metrics if name in OF_SETS]:
            self._sets = perception.Sets(of_sets, weights.get("inception"), weights.get("vgg16"))

    def check_size(self, rgb: Rgb, border: int, path: Path) -> None:
        """Raise InputError when a picture is too small for a metric once `border` pixels are cut off each side."""
        height, width = rgb.shape[:2]
        short, long = sorted((height - 2 * border, width - 2 * border))
        for metric in self._metrics:
            least = _NEEDS_SIDES.get(metric, (1, 1))
            if short < least[0] or long < least[1]:
                raise InputError(
                    f"{path} is too small for {metric}: {height} x {width} pixels, and {least[0]} x {least[1]} must be "
                    f"left without {border} at each border; leave the picture or the metric out"
                )

    def of(self, pair: Pair) -> dict[str, float]:
        """The metrics of one picture, in the order asked for."""
        if self._sets is not None:
            self._sets.add(*pair.rgb)
        return {name: self._of_pair[name](pair) for name in self._metrics if name in self._of_pair}

    def notes(self) -> tuple[str, ...]:
        """What the numbers depend on, and how far they can be trusted."""
        notes = [f"{name}: weights of {path}" for name, path in self._weights.items()]
        if "niqe" in self._metrics and "niqe" not in self._weights:
            notes.append("niqe: against the model that ships; compare only with values that it gave")
        few = [metric for metric in self._metrics if metric in OF_SETS]
        if few and self._pictures < ENOUGH:
            notes.append(f"{', '.join(few)}: of {self._pictures} pictures, and below {ENOUGH} they say little")
        return tuple(notes)

    def of_set(self) -> dict[str, float]:
        """The metrics of all pictures together."""
        return {} if self._sets is None else self._sets.scores()


def _check_weights(weights: Mapping[str, Path]) -> None:
    for name, path in weights.items():
        if name not in WEIGHTS:
            raise InputError(f"no weights are named '{name}'; type one of: {', '.join(f'{w}=PATH' for w in WEIGHTS)}")
        if not (path.is_file() or (name == "niqe" and path.is_dir())):
            raise InputError(f"no file at {path}; give --weights {name}= the path of what is to be read")


def _pristine(path: Path | None) -> Pristine:
    """NIQE's model of untouched photographs: from a file, made from a folder's pictures, or (None) what ships."""
    if path is None or path.is_file():
        return load_pristine(path or SHIPPED)
    grays = (gray_of(rgb_of(read_picture(p), p)) for p in pictures_in(path))
    try:
        return fit_pristine(gray for gray in grays if min(gray.shape) >= BLOCK)
    except ValueError as error:
        raise InputError(f"the pictures in {path} do not make a model for NIQE: {error}") from None
