"""`srdeploy bench`: how fast, on this machine, how sure, and how far from what the machine can do."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srdeploy.cli.answer import error_line, expected_errors, note, print_json, say
from srdeploy.cli.options import Json, path_of, path_or_none

if TYPE_CHECKING:
    from srdeploy.bench.suite import Suite


def bench(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL...]", help="Shipped names, or paths of .onnx files.")
    ] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="A TOML file, such as benchmarks/cpu.toml.")] = None,
    size: Annotated[
        list[str] | None, typer.Option("--size", help="WxH of the input, several times if wanted. Default: 480x270.")
    ] = None,
    video: Annotated[str | None, typer.Option("--video", help="Measure from this file to a file, too.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="An earlier report.json; exit 1 if now slower.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder for report.json, .md and .html.")] = None,
    backend: Annotated[list[str] | None, typer.Option("--backend", help="Engines, several times if wanted.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help="fp32, fp16, bf16, int8; several times if wanted.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, max=256, help="CPU threads.")] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, max=256, help="Pictures at once.")] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", min=0.1, help="Seconds for everything. Default: 60, or the suite's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure networks, files and peers in turns until each median is known to 2 %, or time is up.

    Example: srdeploy bench espcn-x4 --size 480x270 --size 960x540 -o report
    """
    chosen: dict[str, Any] = {
        "size": size,
        "video": video,
        "backend": backend,
        "precision": precision,
        "threads": threads,
    }
    chosen |= {"batch": batch, "device": device if device != "auto" else None}
    if suite is not None and (models or any(chosen.values())):
        given = "MODEL" if models else next(f"--{name}" for name, value in chosen.items() if value)
        raise typer.BadParameter(
            f"{given} and --suite both say what to measure; type one of them", param_hint="--suite"
        )
    with expected_errors(as_json, "no report was written"):
        from srdeploy.atomic import result_folder
        from srdeploy.bench.again import Earlier
        from srdeploy.bench.measure import describe, measure
        from srdeploy.bench.suite import load_suite
        from srdeploy.media.base import check_place
        from srdeploy.report.files import place_of, read_report, write_report

        earlier, folder = path_or_none(against, "--against"), path_or_none(out, "-o")
        old = None if earlier is None else read_report(earlier)
        plan = _plan(models or [], chosen) if suite is None else load_suite(path_of(suite, "--suite"))
        if limit is not None:
            from dataclasses import replace

            plan = replace(plan, limit_s=limit)
        # A folder that cannot be made or written to is said now, and not after minutes of measuring.
        with nullcontext() if folder is None else result_folder(folder):
            if folder is not None:
                check_place(folder / "report.json")
            before = None if old is None or earlier is None else Earlier(old, place_of(earlier))
            report = measure(plan, note, suite is None, before, folder)
            try:
                slower = _compare(report, old, earlier)
            finally:  # what took minutes is kept whatever it is compared with
                if folder is not None:
                    write_report(report, folder)
    if as_json:
        print_json(report)
    else:
        for row in report["rows"]:
            say(describe(row))
        for row in report["not_measured"]:
            say(f"{row['model']} {row['precision']} on {row['backend']}: not measured: {row['reason']}")
        for line in _changes(report):
            say(line)
        if folder is not None:
            say(f"{folder / 'report.html'}, report.md and report.json")
    failed = [row for row in report.get("parity", []) if not row["passed"]]
    if failed:
        first = f"{failed[0]['file']} on {failed[0]['backend']}"
        error_line(f"{len(failed)} of {len(report['parity'])} files differ from PyTorch by more than allowed: {first}")
        raise typer.Exit(1)
    if slower:
        error_line(f"{len(slower)} of {len(report['against']['rows'])} rows are slower than in {against}: {slower[0]}")
        raise typer.Exit(1)


def _plan(models: list[str], chosen: dict[str, Any]) -> "Suite":
    """A suite of what was typed."""
    from typing import get_args

    from srdeploy import zoo
    from srdeploy.bench.suite import Precision, Suite, rows
    from srdeploy.recipe import recipe_from_table

    names = models or [zoo.DEFAULT]
    for word in chosen["backend"] or []:
        if word not in ("auto", "ort", "ort-tensorrt", "openvino", "tensorrt"):
            raise typer.BadParameter(
                f"{word!r} is no engine; type auto, ort, ort-tensorrt, openvino or tensorrt", param_hint="--backend"
            )
    for word in chosen["precision"] or []:
        if word not in get_args(Precision):
            raise typer.BadParameter(
                f"{word!r} is none; type {', '.join(get_args(Precision))}", param_hint="--precision"
            )
    common = {
        "models": names,
        "precisions": chosen["precision"] or ["auto"],
        "backends": chosen["backend"] or ["auto"],
        "threads": chosen["threads"] or [0],
        "device": chosen["device"] or "auto",
    }
    table: dict[str, Any] = {"name": "command line"}
    if chosen["size"] or chosen["video"] is None:
        table["network"] = [{**common, "sizes": chosen["size"] or ["480x270"], "batch": chosen["batch"] or [1]}]
    if chosen["video"] is not None:
        table["video"] = [{**common, "file": str(path_of(chosen["video"], "--video").resolve())}]
    suite = recipe_from_table(table, Suite, "the command line")
    rows(suite)
    return suite


def _compare(report: dict[str, Any], old: dict[str, Any] | None, against: Path | None) -> list[str]:
    """Put the comparison into the report; return the names of the rows that are slower."""
    if old is None:
        return []
    from srdeploy.report.against import changed_environment, compare_reports

    changes = compare_reports(report, old)
    report["against"] = {
        "report": str(against),
        "environment": changed_environment(report["environment"], old.get("environment", {})),
        "rows": [change.to_dict() for change in changes],
    }
    return [change.row for change in changes if change.verdict == "slower"]


def _changes(report: dict[str, Any]) -> list[str]:
    if "against" not in report:
        return []
    lines = [f"machine: {line}" for line in report["against"]["environment"]]
    for row in report["against"]["rows"]:
        low, high = (f"{(bound - 1) * 100:+.1f} %" for bound in row["interval"])
        lines.append(f"{row['verdict']}: {row['row']}: {(row['ratio'] - 1) * 100:+.1f} % {row['by']} ({low} to {high})")
    return lines
