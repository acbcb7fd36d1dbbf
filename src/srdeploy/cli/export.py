"""`srdeploy export`: a network becomes files that carry their facts and their proof."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srdeploy.cli.answer import expected_errors, note, print_json, say
from srdeploy.cli.options import Json, parse_size, path_of, path_or_none

if TYPE_CHECKING:
    from srdeploy.engines import BuiltEngine
    from srdeploy.export import Export, ExportedFile


def export(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A shipped name, a checkpoint (.safetensors, .pth, .ckpt), an .onnx, or a release recipe (.toml). "
            "Default: espcn-x4."
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="An fp16 file too, proved by true half arithmetic.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="int8 files too (uint8 pictures only), for CPUs and for TensorRT.")
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="Full-resolution pictures that int8 is fitted to. Default: three that ship.",
        ),
    ] = None,
    float_files: Annotated[
        bool, typer.Option("--float", help="Float files too (NCHW, 0..1): for deep pixels and other tools.")
    ] = False,
    out: Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="The folder for the files.")] = ".",
    triton: Annotated[
        str | None,
        typer.Option("--triton", metavar="DIR", help="A model repository of Triton to add the files to as well."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="Pictures to compare on. Default: those that ship.")
    ] = None,
    tensorrt: Annotated[
        bool,
        typer.Option("--tensorrt", help="Engines of this machine's GPU too (never run: TensorRT was not to be had)."),
    ] = False,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Sizes that engines take: WxH, or least, usual and most.")
    ] = "16x16,960x540,1920x1080",
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="One size for somebody else's checkpoint. Default: any, if it can."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write ONNX files, each only after it was compared with its reference: torch, then fp32, then fp16 or int8.

    Example: srdeploy export runs/espcn-x4/espcn-x4.safetensors --fp16 -o exported
    """
    sides = None if size is None else parse_size(size)
    with expected_errors(as_json):
        from srdeploy.export import Export, is_exported
        from srdeploy.export import export as run_export

        folder, pictures = path_of(out, "--out"), path_or_none(data, "--data")
        repository = path_or_none(triton, "--triton")
        precisions = ("fp32", *(("fp16",) if fp16 else ()), *(("int8",) if int8 else ()))
        if tensorrt:
            from srdeploy.engines import require_gpu

            require_gpu()
        if tensorrt and source is not None and is_exported(Path(source)):
            made, engines = Export([], []), _engines([(Path(source), Path(source))], folder, sizes, pictures)
        else:
            made = run_export(
                source, precisions, float_files, folder, pictures, path_or_none(calibrate, "--calibrate"), sides
            )
            engines = _engines(_pairs(made.files), folder, sizes, pictures) if tensorrt else []
        served = _added(made, repository) if repository is not None else []
    for remark in made.notes:
        note(f"note: {remark}")
    files: list[ExportedFile | BuiltEngine] = [*made.files, *engines]
    if as_json:
        print_json({"files": [file.to_dict() for file in files], "triton": [str(path) for path in served]})
        return
    for file in files:
        parity = file.check.parity
        psnr = "equal" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB"
        say(
            f"{file.path}: {file.precision}, {file.bytes:,} bytes, against {parity.reference}: "
            f"largest difference {parity.max_abs:.2g}, {psnr}"
        )
    for path in served:
        say(f"{path}: for Triton")
    say(
        f"next: srdeploy run PICTURE -m {shlex.quote(str((engines or made.files)[0].path))}"
        if repository is None
        else f"next: tritonserver --model-repository={shlex.quote(str(repository.resolve()))}"
    )


def _added(made: "Export", triton: Path) -> list[Path]:
    from srdeploy.triton import add_to_repository

    return [add_to_repository(file.path, file.spec, triton) for file in made.files]


def _pairs(files: "list[ExportedFile]") -> list[tuple[Path, Path]]:
    """The files that engines are wanted of, and what each is compared with: the fp32 file of the same pixels."""
    exact = {file.path.name.endswith(".float.onnx"): file.path for file in files if file.precision == "fp32"}
    made = [file for file in files if not file.path.name.endswith(".int8.onnx")]  # that one is for CPUs
    wanted = [file for file in made if file.precision != "fp32"] or made
    return [(file.path, exact[file.path.name.endswith(".float.onnx")]) for file in wanted]


def _engines(pairs: list[tuple[Path, Path]], out: Path, sizes: str, data: Path | None) -> "list[BuiltEngine]":
    from srdeploy.backends.trt_build import parse_sizes
    from srdeploy.cli.progress import BuildProgress
    from srdeploy.engines import build_from_file

    options, built = parse_sizes(sizes), []
    with BuildProgress() as progress:
        for path, reference in pairs:
            built.append(build_from_file(path, reference, out, options, progress.of, data))
    return built
