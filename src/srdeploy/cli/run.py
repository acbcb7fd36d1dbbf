"""`srdeploy run`: pictures, folders and videos, enlarged."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srdeploy.cli.answer import error_line, expected_errors, note, print_json, say
from srdeploy.cli.options import Backend, Device, Json, Precision, Threads, parse_tile, parse_time, path_or_url_of
from srdeploy.errors import InputError

if TYPE_CHECKING:
    from srdeploy.asked import Asked
    from srdeploy.fit import Fit
    from srdeploy.jobs import Choices, Done, Failed, Job, Skipped
    from srdeploy.upscale import Upscaler


def run(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, videos or folders; - is a video by a pipe.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="<path>",
            help="The result's file, or a folder; - is a pipe, in NUT or Y4M. Default: beside the input.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="A shipped name, or the path of an .onnx.")] = None,
    scale: Annotated[int | None, typer.Option("--scale", min=2, max=4, help="How many times as large.")] = None,
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Annotated[str, typer.Option("--tile", help="auto, none, or a tile's side in input pixels.")] = "auto",
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", min=0, max=4096, help="Pixels read around a tile. Default: exactly what the network needs."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="1080p|2160p|WxH", help="Enlarge by the smallest scale that suffices, then reduce."
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Larger pictures and frames are refused before they are decoded.")
    ] = 1 << 28,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: results that exist are kept and skipped.")] = False,
    codec: Annotated[str | None, typer.Option("--codec", help="Video encoder, such as libx264 or libx265.")] = None,
    crf: Annotated[
        int | None, typer.Option("--crf", min=0, help="Quality in the encoder's scale; less is better.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="The encoder's speed, such as veryfast or slow.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="Only from here on in a video: seconds or 1:30.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Only up to here.")] = None,
    preview: Annotated[
        str | None,
        typer.Option("--preview", metavar="TIME", help="Only the frame shown then, bicubic beside it, as a picture."),
    ] = None,
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="Make interlaced frames of a video progressive first (bwdif).")
    ] = False,
    threads: Threads = None,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="Keep the good part of a damaged video as <stem>.partial.<ext>.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|HOST:PORT",
            help="On the machines of a Ray cluster; local begins one on this machine.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes; errors only.")] = False,
    as_json: Json = False,
) -> None:
    """Enlarge pictures, folders and videos; sound and everything else of a video is carried over.

    Example: srdeploy run holiday.mp4 --to 1080p
    """
    tile_choice = parse_tile(tile)
    first, last = parse_time(start, "--start"), parse_time(end, "--end")
    shown = parse_time(preview, "--preview")
    if shown is not None and (as_json or to is not None or first is not None or last is not None):
        raise typer.BadParameter("it goes with none of --json, --to, --start and --end", param_hint="--preview")
    if last is not None and last <= (first or 0):
        raise typer.BadParameter("it is not after --start", param_hint="--end")
    if ray is not None and (shown is not None or "-" in (*inputs, out)):
        raise typer.BadParameter("it goes neither with --preview nor with pipes", param_hint="--ray")
    if as_json and out == "-":
        raise typer.BadParameter("--json and -o - both want standard output", param_hint="--json")
    with expected_errors(as_json):
        from srdeploy.asked import Asked
        from srdeploy.folders import plan_jobs
        from srdeploy.jobs import Choices
        from srdeploy.media import EncodeOptions

        sources = [path_or_url_of(text, "INPUT") for text in inputs]
        target = None if out is None else path_or_url_of(out, "-o")
        asked = Asked(model, scale, to, backend, device, precision, tile_choice, overlap, threads)
        encode = EncodeOptions(codec=codec, crf=crf, preset=preset)
        choices = Choices(overwrite, resume, keep_partial, encode, max_pixels, first, last, deinterlace)
        seconds = None
        if ray is not None:
            outcomes, seconds = _do_on_cluster(ray, asked, sources, target, choices, quiet)
        else:
            fit = asked.open()
            if shown is not None:
                _preview(sources, shown, fit.upscaler_for(1, 1), target, overwrite, deinterlace)
                return
            outcomes = _do(plan_jobs(sources, target, fit.label), fit, choices, quiet)
    _answer(outcomes, seconds, quiet, as_json)


def _preview(
    sources: list[Path], at: float, upscaler: "Upscaler", out: Path | None, overwrite: bool, deinterlace: bool
) -> None:
    from srdeploy.preview import preview

    if len(sources) > 1:
        raise InputError(f"--preview is of one video, and {len(sources)} were given; type one")
    say(preview(sources[0], at, upscaler, out, overwrite, deinterlace))


def _do(jobs: "list[Job]", fit: "Fit[Upscaler]", choices: "Choices", quiet: bool) -> "list[Done | Skipped | Failed]":
    from srdeploy.cli.progress import Progress
    from srdeploy.folders import run_jobs

    with Progress(len(jobs), quiet) as progress:
        return list(
            run_jobs(jobs, fit, choices, lambda index, job: progress.begin(index, job.input.name), progress.frame)
        )


def _do_on_cluster(
    address: str, asked: "Asked", sources: list[Path], target: Path | None, choices: "Choices", quiet: bool
) -> "tuple[list[Done | Skipped | Failed], float]":
    """The outcomes, and the seconds in which all were made, several at once."""
    from srdeploy.cli.progress import ClusterProgress
    from srdeploy.cluster import open_cluster
    from srdeploy.folders import plan_jobs

    with open_cluster(address, asked) as cluster:
        jobs = plan_jobs(sources, target, cluster.label)
        started = time.perf_counter()
        with ClusterProgress(len(jobs), cluster.doing, quiet) as progress:
            outcomes = list(cluster.run_jobs(jobs, choices, progress.done))
        for remark in () if quiet else cluster.notes:
            note(f"note: {remark}")
        return outcomes, time.perf_counter() - started


def _answer(outcomes: "list[Done | Skipped | Failed]", seconds: float | None, quiet: bool, as_json: bool) -> None:
    """Say what was made, what was skipped and what failed; exit 1 if anything did.

    seconds: in which all was made; None = as many as the files took one by one.
    """
    from srdeploy.jobs import Done, Failed, Skipped

    done = [o for o in outcomes if isinstance(o, Done)]
    failed = [o for o in outcomes if isinstance(o, Failed)]
    skipped = [o for o in outcomes if isinstance(o, Skipped)]
    for failure in failed:
        where = "" if failure.input in failure.error else f"{failure.input}: "
        error_line(f"{where}{failure.error}")
    if not quiet:
        for result in done:
            for remark in result.notes:
                where = "" if Path(result.input).name in remark else f"{result.input}: "
                note(f"note: {where}{remark}")
    if as_json:
        document: dict[str, object] = {
            "outputs": [o.as_dict() for o in done],
            "failed": [{"input": f.input, "error": f.error} for f in failed],
            "skipped": [{"input": s.input, "output": s.output} for s in skipped],
        }
        if failed and not done and not skipped:
            document["error"] = failed[0].error if len(failed) == 1 else f"all {len(failed)} inputs failed"
        print_json(document)
    elif not quiet and (done or skipped):
        answer = note if done and done[0].output == "-" else say
        answer(_summary(done, skipped, failed, seconds))
    if failed:
        raise typer.Exit(1)


def _summary(done: "list[Done]", skipped: "list[Skipped]", failed: "list[Failed]", seconds: float | None) -> str:
    """One line: what was made, how fast, by what."""
    extra = "".join(f", {len(rest)} {word}" for rest, word in ((skipped, "skipped"), (failed, "failed")) if rest)
    if not done:
        return f"nothing made{extra}"
    frames, seconds = sum(d.frames for d in done), seconds or sum(d.seconds for d in done)
    what = f"{frames} frames" if len(done) == 1 and frames > 1 else f"{len(done)} of {len(done) + len(failed)} files"
    where = f"{done[0].output}: " if len(done) == 1 else ""
    if len(done) == 1 and frames == 1:
        what = "1 picture"
    if retried := sum(d.retried for d in done):
        extra += f", {retried} results computed again in fp32"
    first = done[0]
    if len(done) == 1:
        what = f"{what} of {first.width}x{first.height}"
    tile = first.tile if first.exact else f"{first.tile} (approximate)"
    return (
        f"{where}{what}{extra}, {frames / seconds:.1f} frames/s, model {first.model}, precision {first.precision}, "
        f"backend {first.backend}, device {first.device}, tile {tile}"
    )
