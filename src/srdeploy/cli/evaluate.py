"""`srdeploy eval`: how good models are, on a folder of pictures."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srdeploy.cli.answer import expected_errors, note, print_json, say
from srdeploy.cli.options import Backend, Device, Json, Threads, path_of
from srdeploy.errors import InputError

if TYPE_CHECKING:
    from srdeploy.evaluate import Evaluation, Save
    from srdeploy.upscale import Upscaler


def evaluate(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Shipped names, paths of .onnx files, or `bicubic`.")
    ],
    data: Annotated[
        str, typer.Option("--data", help="A folder of full-size pictures; those in its folders count too.")
    ],
    scale: Annotated[
        int | None, typer.Option("--scale", min=2, max=8, help="Default: the model's; bicubic: the others', or 4.")
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            help="Comma-separated names, or groups: arithmetic, perceptual, sets, all. A wrong one lists them.",
        ),
    ] = "psnr_y,ssim_y,psnr_rgb,ssim_rgb",
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="A model, or bicubic, above which the gain is shown.")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", help="A folder for the results, as PNG; with several models, one in it each."),
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="A file for the scores of each picture.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="NAME=PATH of what a metric needs and would fetch: alexnet (lpips), vgg16 (dists, precision, recall), "
            "inception (fid, kid, is); niqe: its model, or a folder of untouched photographs.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of --save and --csv.")] = False,
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "bf16", "int8"] | None,
        typer.Option("--precision", help="Default: fp32, or what a file is; auto measures what `run` would take."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Make each picture small as the published tables do, enlarge it, and measure what came back.

    Example: srdeploy eval espcn-x4 --data test/set5 --baseline bicubic
    """
    with expected_errors(as_json):
        from srdeploy import zoo
        from srdeploy.evaluate import Save, check_csv, metrics_named, write_csv
        from srdeploy.evaluate import evaluate as measure
        from srdeploy.upscale import open_upscaler

        names = metrics_named(metrics)
        folder = path_of(data, "--data")
        given = dict(_weights(text) for text in weights or [])
        place = None if save is None else Save(path_of(save, "--save"), overwrite)
        table = None if csv is None else path_of(csv, "--csv")
        if table is not None:
            check_csv(table, overwrite)

        def opened(model: str, at: int | None) -> _Candidate:
            if model == "bicubic":
                return _Candidate("bicubic", at, "bicubic")
            # A name means the network itself, whatever `run` would take on this machine.
            chosen = precision or ("auto" if zoo.is_path(model) else "fp32")
            upscaler = open_upscaler(model, scale=at, backend=backend, device=device, precision=chosen, threads=threads)
            return _Candidate(upscaler.session.path.name, upscaler.scale, upscaler)

        def score(one: _Candidate, keep: "Save | None") -> "Evaluation":
            assert one.scale is not None
            found = measure(one.upscale, folder, one.scale, one.name, names, weights=given, save=keep)
            if one.upscale != "bicubic":  # what was chosen for the person, and what was computed again
                for text in one.upscale.log.take()[1]:
                    note(f"note: {one.name}: {text}")
            return found

        candidates = _told_apart(_with_scales([opened(model, scale) for model in models]), models)
        scales = sorted({one.scale for one in candidates if one.scale is not None})
        bases = {} if baseline is None else {at: opened(baseline, at) for at in scales}
        places = _places(candidates, place)
        results = [score(one, keep) for one, keep in zip(candidates, places, strict=True)]
        below = {at: score(base, None) for at, base in bases.items()}
        if table is not None:
            write_csv(table, [*results, *below.values()], overwrite)
        for text in results[0].notes:
            note(text)
        if as_json:
            documents = [result.to_dict(below.get(result.scale)) for result in results]
            print_json(documents[0] if len(documents) == 1 else {"models": documents})
        elif len(results) == 1:
            _print_pictures(results[0], below.get(results[0].scale))
        else:
            _print_models(results, below)


@dataclass(frozen=True)
class _Candidate:
    """What is scored: its name in the result, its scale (None: of bicubic, not yet known) and what enlarges."""

    name: str
    scale: int | None
    upscale: "Upscaler | Literal['bicubic']"


def _weights(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=PATH", param_hint="--weights")
    return name, path_of(path, f"--weights {name}=")


def _with_scales(candidates: list[_Candidate]) -> list[_Candidate]:
    """Give bicubic the scale of the models beside it; alone it enlarges by 4."""
    scales = {one.scale for one in candidates if one.scale is not None}
    if len(scales) > 1 and any(one.scale is None for one in candidates):
        listed = ", ".join(f"x{scale}" for scale in sorted(scales))
        raise InputError(f"bicubic beside models of {listed}: type --scale, or --baseline bicubic to have it for each")
    return [replace(one, scale=one.scale or next(iter(scales), 4)) for one in candidates]


def _told_apart(candidates: list[_Candidate], typed: list[str]) -> list[_Candidate]:
    """Files of one name, such as the best of two trainings, are called what a person typed for them."""
    from srdeploy import zoo

    names = [one.name for one in candidates]
    return [
        replace(one, name=text) if names.count(one.name) > 1 and zoo.is_path(text) else one
        for one, text in zip(candidates, typed, strict=True)
    ]


def _places(candidates: list[_Candidate], save: "Save | None") -> "list[Save | None]":
    """Where each one's pictures go: the folder itself for one, a folder in it for each of several."""
    if save is None or len(candidates) == 1:
        return [save] * len(candidates)
    names = [Path(one.name).name.removesuffix(".onnx") for one in candidates]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two models are called {name}, and --save needs a folder for each; score one at a time")
    return [replace(save, folder=save.folder / name) for name in names]


def _print_pictures(result: "Evaluation", base: "Evaluation | None") -> None:
    say(f"{result.model}, x{result.scale}, {result.data}")
    rows = [(image.name, dict(image.scores)) for image in result.images if image.scores]
    rows.append(("mean", result.mean))
    if base is not None:
        rows += [(base.model, base.mean), ("gain", result.gain(base))]
    _print_rows(rows, list(result.mean))


def _print_models(results: "list[Evaluation]", bases: "dict[int, Evaluation]") -> None:
    say(f"{results[0].data}, {len(results[0].images)} pictures")
    rows = [(f"{result.model} x{result.scale}", result.mean) for result in results]
    rows += [(f"{base.model} x{base.scale}", base.mean) for base in bases.values()]
    if bases:
        rows += [(f"gain of {r.model} x{r.scale}", r.gain(bases[r.scale])) for r in results]
    _print_rows(rows, list(results[0].mean))


def _print_rows(rows: list[tuple[str, dict[str, float]]], names: list[str]) -> None:
    width = max(len(name) for name, _ in rows)
    say("  ".join([" " * width, *(f"{name:>10}" for name in names)]))
    for row, scores in rows:
        cells = (" " * 10 if n not in scores else f"{scores[n]:10.{3 if _in_levels(n) else 4}f}" for n in names)
        say("  ".join([f"{row:{width}}", *cells]).rstrip())


def _in_levels(metric: str) -> bool:
    """Whether a metric is in dB or levels, of which three digits are enough."""
    return metric.startswith(("psnr", "mse", "mae"))
