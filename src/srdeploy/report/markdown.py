"""A report as tables: rows of text cells, drawn here as Markdown and by `page` as HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

from srdeploy.report.against import name_of
from srdeploy.report.statistics import clock_times, ratio_between

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""A title, the heads of its columns, and rows of cells."""


def markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown: what was measured on what, every row, what changed, what could not be measured."""
    parts = [f"# {report['suite']}", "", headline(report), ""]
    for title, heads, rows in tables(report):
        parts += [f"## {title}", "", markdown_table(heads, rows), ""]
    parts += ["Samples, environment and all other numbers stand in report.json.", ""]
    return "\n".join(parts)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def headline(report: Mapping[str, Any]) -> str:
    """One sentence: when, on what machine, how busy it was."""
    machine = report["environment"]
    libraries = machine.get("libraries", {})
    engines = [
        f"{name} {libraries[name]}" for name in ("onnxruntime", "onnxruntime-gpu", "openvino") if name in libraries
    ]
    gpus = f", {', '.join(machine['gpus'])}" if machine.get("gpus") else ""
    load = machine.get("load_before")
    busy = f"; load before it {load:g}" if load is not None else ""
    return (
        f"{report['date']}, {machine['cpu'] or machine['machine']}, {machine['cores']} cores{gpus}, "
        f"{machine['system']}, Python {machine['python']}, srdeploy {machine['srdeploy']}, "
        f"{', '.join(engines)}{busy}{_swung(machine)}."
    )


def _swung(machine: Mapping[str, Any]) -> str:
    moved = machine.get("swing")
    if not moved:
        return ""
    least, most = min(found["least"] for found in moved), max(found["most"] for found in moved)
    return f"; its own speed moved by {100 * (least - 1):+.1f} to {100 * (most - 1):+.1f} % meanwhile"


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Every table of a report, those without rows left out."""
    rows = report["rows"]
    networks = [row for row in rows if row["kind"] == "network"]
    videos = [row for row in rows if row["kind"] == "video"]
    found: list[Table] = [
        ("Networks, pixels in and out", _NETWORK_HEADS, [_network(row) for row in networks]),
        ("Pictures of as many sizes, against the same pixels in one size", _SIZES_HEADS, _sizes(rows)),
        ("The session against the bare engine, with the same file and input", _BARE_HEADS, _bare(networks)),
        ("Whole files, decode to encode", _VIDEO_HEADS, [_video(row) for row in videos]),
        ("Where the time and the memory go", _LIMIT_HEADS, [_limits(row) for row in rows]),
        _parity_table(report.get("parity", [])),
        (
            "Changes",
            ("row", "change of time", "interval", "by", ""),
            [_change(c) for c in report.get("against", {}).get("rows", [])],
        ),
        ("The machine's peaks", _PEAK_HEADS, [_peak(peak) for peak in report["environment"].get("peaks", [])]),
        (
            "Not measured",
            ("what", "why"),
            [(_what(row), row["reason"]) for row in report["not_measured"]],
        ),
    ]
    return [table for table in found if table[2]]


_NETWORK_HEADS = (
    *("model", "precision", "engine", "input", "threads", "ms, median", "interval", "p90", "p99", "frames/s"),
    "Mpx/s out",
)
_RATIO_HEADS = ("ratio", "interval", "by CPU time", "interval, CPU")
_SIZES_HEADS = ("model", "precision", "engine", "pictures", "through", "ms each", "ms each, one size", *_RATIO_HEADS)
_BARE_HEADS = ("model", "precision", "engine", "input", "ms", "ms, bare", *_RATIO_HEADS)
_VIDEO_HEADS = ("model", "precision", "engine", "file", "input", "frames/s", "ms a frame", "interval")
_LIMIT_HEADS = (
    *("row", "start, ms", "first frame, ms", "memory, MB", "of peak arithmetic", "of copy speed", "J a frame"),
    "samples off fp32",
)
_PEAK_HEADS = ("threads", "fp32 product, GFLOP/s", "int8 product, GOP/s", "copy, GB/s")


def _network(row: Mapping[str, Any]) -> list[str]:
    latency = row["latency_ms"]
    batch = f" x {row['batch']}" if row.get("batch", 1) > 1 else ""
    return [
        *(row["model"], row["precision"], row["backend"], f"{row['input'][1]}x{row['input'][0]}{batch}"),
        *(str(row["threads"]), f"{latency['p50']:.2f}", _interval(latency), f"{latency['p90']:.2f}"),
        *(f"{latency['p99']:.2f}", f"{row['fps']:.1f}", f"{row['megapixels_per_s']:.0f}"),
    ]


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Each row of many sizes beside that of one size."""
    mixed = [row for row in rows if row["kind"] == "sizes" and row["sizes"] > 1]
    return [
        [
            *(row[key] for key in ("model", "precision", "backend")),
            *(str(row["batch"]), _through(row)),
            *_beside(row, one),
        ]
        for row in mixed
        for one in rows
        if one["kind"] == "sizes" and one["sizes"] == 1 and (*_work(one), _through(one)) == (*_work(row), _through(row))
    ]


def _through(row: Mapping[str, Any]) -> str:
    return str(row.get("file", "arrays"))


def _bare(networks: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Each row of ours beside that of the engine alone."""
    return [
        [row["model"], row["precision"], row["backend"], f"{row['input'][1]}x{row['input'][0]}", *_beside(row, bare)]
        for row in networks
        for bare in networks
        if _work(bare) == (f"bare {row['backend']}", *_work(row)[1:])
    ]


def _work(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("backend", "model", "precision", "device", "input", "batch", "threads"))


def _beside(row: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Median times of both, and their ratio by the clock and by processor time, each with its interval."""
    cells = [f"{one['latency_ms']['p50']:.2f}" for one in (row, other)]
    for ours, theirs in ((clock_times(row), clock_times(other)), (row["cpu_ms"], other["cpu_ms"])):
        ratio, (low, high) = ratio_between(ours, theirs)
        cells += [f"{ratio:.3f}", f"{low:.3f}–{high:.3f}"]
    return cells


def _video(row: Mapping[str, Any]) -> list[str]:
    latency = row["latency_ms"]
    return [
        *(row["model"], row["precision"] or "–", row["backend"], row["file"], f"{row['input'][1]}x{row['input'][0]}"),
        *(f"{row['fps']:.1f}", f"{latency['p50']:.1f}", _interval(latency)),
    ]


def _limits(row: Mapping[str, Any]) -> list[str]:
    agreement = row.get("agreement")
    return [
        name_of(row),
        *(_plain(row.get(key), ".0f") for key in ("start_up_ms", "first_frame_ms", "peak_memory_mb")),
        *(_plain(row.get(key), ".0%") for key in ("compute_share", "memory_share")),
        _plain(row.get("joules_per_frame"), ".2f"),
        "–" if agreement is None else f"{agreement['off']:.3%}",
    ]


def _parity_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    sets = list(rows[0]["sets"]) if rows else []
    heads = ["model", "precision", "engine", "PSNR to PyTorch, dB", "largest difference", "pixels off"]
    cells = [
        [
            *(row["model"], row["precision"], row["backend"]),
            "equal" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            *(f"{row['max_abs']:.2g}", f"{row['off']:.4%}"),
            *(f"{row['sets'][name]['psnr_y']:.3f} / {row['sets'][name]['ssim_y']:.4f}" for name in sets),
            *(f"{row['loss_db']:z.4f}", "pass" if row["passed"] else "FAIL"),
        ]
        for row in rows
    ]
    return "Against PyTorch", [*heads, *(f"{name}, dB / SSIM" for name in sets), "loss, dB", ""], cells


def _change(change: Mapping[str, Any]) -> list[str]:
    low, high = (f"{(bound - 1) * 100:+.1f}" for bound in change["interval"])
    return [
        change["row"],
        f"{(change['ratio'] - 1) * 100:+.1f} %",
        f"{low} to {high} %",
        change["by"],
        change["verdict"],
    ]


def _peak(peak: Mapping[str, Any]) -> list[str]:
    values = (peak["fp32_gflops"], peak["int8_gops"], peak["copy_gb_per_s"])
    return [str(peak["threads"]), *(_plain(value, ".4g") for value in values)]


def _what(row: Mapping[str, Any]) -> str:
    return f"{row['model']} {row['precision']} on {row['backend']}".replace("  ", " ")


def _interval(latency: Mapping[str, Any]) -> str:
    low, high = latency["interval"]
    if latency["confidence"] < 0.9:
        return "too few"
    return f"{low:.2f}–{high:.2f}"


def _plain(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
