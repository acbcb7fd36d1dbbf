"""`srdeploy eval`: PSNR and SSIM of a model on a folder of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srdeploy.cli.answer import expected_errors, print_json, say
from srdeploy.cli.options import Backend, Device, Json, Precision, Threads

if TYPE_CHECKING:
    from srdeploy.evaluate import Evaluation


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped name, the path of an .onnx, or `bicubic`.")],
    data: Annotated[
        Path,
        typer.Option("--data", readable=False, help="A folder of full-size pictures; those in its folders count too."),
    ],
    scale: Annotated[
        int | None, typer.Option("--scale", min=2, max=8, help="Default: the model's; bicubic: 4.")
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Comma-separated: psnr_y, ssim_y, psnr_rgb, ssim_rgb.")
    ] = "psnr_y,ssim_y,psnr_rgb,ssim_rgb",
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Make each picture small as the published tables do, enlarge it, and measure what came back.

    Example: srdeploy eval espcn-x4 --data test/set5
    """
    with expected_errors(as_json):
        from srdeploy.evaluate import evaluate as measure
        from srdeploy.upscale import open_upscaler

        names = [name.strip() for name in metrics.split(",") if name.strip()]
        if model == "bicubic":
            result = measure("bicubic", data, scale or 4, metrics=names)
        else:
            upscaler = open_upscaler(
                model, scale=scale, backend=backend, device=device, precision=precision, threads=threads
            )
            result = measure(upscaler, data, upscaler.scale, upscaler.session.path.name, names)
        if as_json:
            print_json(result.to_dict())
        else:
            _print_table(result, names)


def _print_table(result: "Evaluation", names: list[str]) -> None:
    width = max(len("mean"), *(len(image.name) for image in result.images))
    say(f"{result.model}, x{result.scale}, {result.data}")
    say("  ".join([" " * width, *(f"{name:>8}" for name in names)]))
    rows = [(image.name, image.scores) for image in result.images]
    for name, scores in [*rows, ("mean", result.mean)]:
        cells = (f"{scores[n]:8.4f}" if n.startswith("ssim") else f"{scores[n]:8.3f}" for n in names)
        say("  ".join([f"{name:{width}}", *cells]))
