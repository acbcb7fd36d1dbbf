"""`srdeploy train`: a recipe becomes weights."""

import logging
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from srdeploy.cli.answer import expected_errors, say
from srdeploy.cli.options import Device, path_of, path_or_none


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, such as train/espcn-x4.toml.")],
    data: Annotated[
        str, typer.Option("--data", metavar="DIR", help="The folder that holds the recipe's picture folders.")
    ] = "data",
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Where the run is kept. Default: runs/<name>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    device: Device = "auto",
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            help="Instead of the recipe's: charbonnier, l1, l2; crisper with +perceptual, +adversarial or both.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="Weights of torchvision's VGG19 (.pth, .safetensors) for a +perceptual loss; else they are fetched.",
        ),
    ] = None,
) -> None:
    """Train a network by a recipe: log, curve, checkpoint and the best weights go to one folder.

    Example: srdeploy train train/espcn-x4.toml --data ~/pictures/sr --out runs/espcn-x4
    """
    with expected_errors(as_json=False, interrupted="type the same with --resume to go on from the last epoch"):
        from srdeploy.learn import require_training
        from srdeploy.learn.recipes import TrainRecipe, with_loss
        from srdeploy.recipe import load_recipe

        source, pictures = path_of(recipe, "RECIPE"), path_of(data, "--data")
        folder = path_or_none(out, "--out")
        # A path that was typed is relative to where it was typed, and the recipe's to the recipe.
        typed = None if features is None else str(path_of(features, "--features").absolute())
        plan = with_loss(load_recipe(source, TrainRecipe), loss, typed)
        require_training()
        from srdeploy.learn.training import train as run_training

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("srdeploy").setLevel(logging.INFO)
        folder = folder or Path("runs") / plan.name
        with redirect_stdout(sys.stderr):  # Lightning draws its bar on standard output, which is for the result
            result = run_training(plan, source.parent, pictures, folder, resume, device)
        say(f"{result.weights}: {result.psnr_db:.3f} dB on the held-out pictures, from epoch {result.epoch}")
        say(f"next: srdeploy export {shlex.quote(str(result.weights))} --fp16")
