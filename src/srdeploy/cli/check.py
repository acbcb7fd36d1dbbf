"""`srdeploy check`: does a file still give what its reference gives?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srdeploy.cli.answer import error_line, expected_errors, print_json, say
from srdeploy.cli.options import Json, path_or_none
from srdeploy.errors import InputError

if TYPE_CHECKING:
    from srdeploy.checking import Check


def check(
    candidate: Annotated[str, typer.Argument(help="An exported .onnx file, an .engine, or a shipped name.")],
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="PATH", help="Reference: .onnx or a checkpoint. Default: the one the file names."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="A folder of pictures. Default: those that ship.")
    ] = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="When they differ, find the first layer where they part.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare a file with its reference on real pictures; exit 1 when they differ by more than the tolerance.

    Example: srdeploy check espcn-x4.fp16.onnx --against espcn-x4.fp32.onnx
    """
    with expected_errors(as_json):
        from srdeploy import zoo

        path, reference, pictures = (
            zoo.find(candidate),
            path_or_none(against, "--against"),
            path_or_none(data, "--data"),
        )
        if path.suffix.lower() == ".engine":
            result = _engine(path, reference, pictures, bisect)
        else:
            from srdeploy.checking import check_file

            result = check_file(path, reference, pictures, bisect=bisect)
    document = result.to_dict()
    if as_json:
        print_json(document)
    else:
        psnr = "equal" if document["psnr_db"] is None else f"{document['psnr_db']:.2f} dB"
        off = document["levels_off"]
        say(
            f"{document['candidate']} against {document['reference']}: "
            f"largest difference {document['max_abs']:.3g}, {psnr}"
        )
        say(f"8-bit levels off: none {off['0']:.6%}, one {off['1']:.6%}, more {off['>1']:.6%}")
        say("passed" if document["passed"] else "failed")
    if not document["passed"]:
        error_line(result.why())
        raise typer.Exit(1)


def _engine(path: Path, reference: Path | None, pictures: Path | None, bisect: bool) -> "Check":
    from srdeploy.engines import check_engine

    if bisect:
        raise InputError(
            f"an engine shows no layers between, and --bisect was asked of {path}; type: srdeploy check --bisect and "
            "the .onnx that it was built from"
        )
    return check_engine(path, reference, pictures)
