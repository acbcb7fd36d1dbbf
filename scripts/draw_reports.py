"""Tables and pictures of the committed reports of `srdeploy bench`, for draw_results.py, which is what one runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
REPORTS = REPOSITORY / "benchmarks" / "reports"
sys.path.insert(0, str(REPOSITORY / "src"))

from srdeploy.report.svg import Point, palette, scatter  # noqa: E402

Row = dict[str, Any]
FRAME = 480 * 270
"""Input pixels of the frame that multiply-adds are told for: 1920x1080 at x4."""


def report(name: str) -> dict[str, Any] | None:
    """A committed report, or None where there is none yet."""
    path = REPORTS / name / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


def _missing(name: str) -> str:
    return f"Not measured yet; `srdeploy bench --suite benchmarks/{name}.toml -o benchmarks/reports/{name}` does."


def _made_by(document: dict[str, Any], name: str) -> str:
    machine = document["environment"]
    command = f"`srdeploy bench --suite benchmarks/{name}.toml -o benchmarks/reports/{name}`"
    return f"{machine['cpu']}, {machine['cores']} cores, {document['date'][:10]}, by {command}."


def _engine(row: Row) -> str:
    words = (
        row["backend"],
        row["precision"].split(" ")[0],
        "(peer)" if row["peer"] and row["kind"] == "network" else "",
    )
    return " ".join(word for word in words if word)


def _networks(document: dict[str, Any]) -> list[Row]:
    """Rows of 480x270, every core, one picture at a time."""
    rows = [row for row in document["rows"] if row["kind"] == "network"]
    most = max((row["threads"] for row in rows), default=0)
    return [row for row in rows if row["input"] == [270, 480] and row["threads"] == most and row["batch"] == 1]


def _by_engine(rows: list[Row]) -> str:
    """Milliseconds a frame: a row for each engine and precision, a column for each model; the fastest in bold."""
    models = sorted({row["model"] for row in rows})
    engines = sorted({_engine(row) for row in rows})
    times = {(_engine(row), row["model"]): row["latency_ms"]["p50"] for row in rows}
    best = {model: min(times[key] for key in times if key[1] == model) for model in models}

    def cell(engine: str, model: str) -> str:
        time = times.get((engine, model))
        if time is None:
            return "–"
        return f"**{time:.1f}**" if time == best[model] else f"{time:.1f}"

    return table(["ms a frame", *models], [[engine, *(cell(engine, model) for model in models)] for engine in engines])


def _files(rows: list[Row]) -> str:
    """Frames a second from file to file, the fastest first."""
    ordered = sorted(rows, key=lambda row: -row["fps"])
    cells = [[f"{_engine(row)} {row['model']}", f"x{row['scale']}", f"{row['fps']:.1f}"] for row in ordered]
    return table(["file to file", "", "frames/s"], cells)


def costs() -> Callable[[str], tuple[str, str]]:
    """By a model's name, as table cells: parameters and multiply-adds; the fastest engine's time in fp32 and int8."""
    proved, measured = report("parity"), report("cpu")
    works = {row["model"]: row for row in proved["parity"] if row["backend"] == "pytorch"} if proved else {}
    times: dict[tuple[str, str], float] = {}
    for row in _networks(measured) if measured else []:
        key = (row["model"], row["precision"])
        times[key] = min(row["latency_ms"]["p50"], times.get(key, float("inf")))

    def cells(model: str) -> tuple[str, str]:
        row = works.get(model)
        work = f"{row['parameters']:,} | {row['multiply_adds_per_pixel'] * FRAME / 1e9:.1f}" if row else "– | –"
        found = [times.get((model, precision)) for precision in ("fp32", "int8")]
        return work, " | ".join("–" if time is None else f"{time:.0f}" for time in found)

    return cells


def speed() -> str:
    """Every model on every engine of the CPU."""
    document = report("cpu")
    if document is None:
        return _missing("cpu")
    return f"{_by_engine(_networks(document))}\n\n480x270 in, {_made_by(document, 'cpu')}"


def peers() -> str:
    """The same work through what a person would take instead."""
    document = report("peers")
    if document is None:
        return _missing("peers")
    videos = [row for row in document["rows"] if row["kind"] == "video"]
    parts = [_by_engine(_networks(document))]
    if videos:
        parts.append(_files(videos))
    absent = sorted({f"{row['backend']} {row['model']} {row['precision']}".strip() for row in document["not_measured"]})
    parts.append(f"480x270 in, {_made_by(document, 'peers')}")
    if absent:
        parts.append(f"Not measured, with reasons in the report: {', '.join(absent)}.")
    return "\n\n".join(parts)


def video() -> str:
    """Whole files, decode to encode."""
    document = report("video")
    if document is None:
        return _missing("video")
    rows = document["rows"]
    bicubic = next((row["fps"] for row in rows if row["backend"] == "ffmpeg" and row["model"] == "bicubic"), None)
    ordered = sorted(rows, key=lambda row: -row["fps"])
    cells = [
        [
            f"{_engine(row)} {row['model']}",
            f"{row['fps']:.1f}",
            "–" if bicubic is None else f"{bicubic / row['fps']:.2f}",
        ]
        for row in ordered
    ]
    drawn = table(["file to file, x4, 25 frames/s with sound", "frames/s", "times ffmpeg's bicubic"], cells)
    return f"{drawn}\n\n`samples/clip.mp4`, 480x270, {_made_by(document, 'video')}"


def parity() -> str:
    """The parity table in short: the worst of all files of an engine and a precision."""
    document = report("parity")
    if document is None:
        return _missing("parity")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in document["parity"]:
        if row["backend"] != "pytorch":
            groups.setdefault((row["backend"], row["precision"]), []).append(row)
    cells = []
    for (backend, precision), rows in groups.items():
        least = min((row["psnr_db"] for row in rows if row["psnr_db"] is not None), default=None)
        passed = sum(row["passed"] for row in rows)
        cells.append(
            [
                *(backend, precision, f"{passed} of {len(rows)}", "equal" if least is None else f"{least:.1f}"),
                *(f"{max(row['loss_db'] for row in rows):.4f}", f"{max(row['off'] for row in rows):.4%}"),
            ]
        )
    heads = [
        "engine",
        "computed in",
        "files that pass",
        "least PSNR to PyTorch, dB",
        "most PSNR lost, dB",
        "most pixels off",
    ]
    where = "Every file's own row stands in `benchmarks/reports/parity/report.md`."
    return f"{table(heads, cells)}\n\n{_made_by(document, 'parity')} {where}"


def _measured(script: str, name: str) -> tuple[dict[str, Any] | None, str]:
    """What a script measured, None where it has not yet, and how it is typed."""
    path = REPORTS / name
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found, f"`python3 scripts/{script} -o benchmarks/reports/{name}`"


def cluster() -> str:
    """What Ray costs: two workers beside two plain processes."""
    document, command = _measured("measure_cluster", "cluster-overhead.json")
    if document is None:
        return f"Not measured yet; {command} does."
    cells = [
        [
            f"{row['count']} {row['work']} for each",
            *(f"{row[side]:.1f}" for side in ("plain", "ray")),
            f"{row['lost']:.1%}",
            *(f"{row[side]:.1f}" for side in ("plain_fixed", "ray_fixed")),
        ]
        for row in document["rows"]
    ]
    heads = ["seconds", "two processes", "two workers", "lost to Ray", "begin and end: processes", "workers"]
    machine = document["environment"]
    made = f"{machine['cpu']}, 2 cores, Ray {machine['ray']}, {document['date'][:10]}, medians of {document['repeats']}"
    return f"{table(heads, cells)}\n\n{made}, by {command}."


def memory() -> str:
    """What a photograph of 24 megapixels takes at its peak, and what a small address space does to it."""
    document, command = _measured("measure_memory", "memory.json")
    if document is None:
        return f"Not measured yet; {command} does."
    cells = [
        [row["result"], f"{row['pixels_mb']:.0f}", f"{row['peak_mb']:.0f}", f"{row['beside_mb']:.0f}"]
        for row in document["rows"]
    ]
    width, height = document["source"]
    heads = [f"MB, {width}x{height} by {document['scale']}", "pixels read and made", "peak", "beside the pixels"]
    free, whole, tiles = document["limited"]
    same = "the same bytes as" if tiles["sha256"] == free["sha256"] else "other bytes than"
    ended = "ends in one line" if whole["exit"] == 1 else "does not end in one line"
    text = (
        f"In {whole['limit_mb']} MB of address space (`ulimit -v`) 3000x2000 with `--tile none` {ended}; with "
        f"`--tile auto` it takes {tiles['peak_mb']:.0f} MB and writes {same} without the limit."
    )
    engine = f"ONNX Runtime {document['environment']['libraries']['onnxruntime']}, one thread"
    made = f"`espcn-x4` in fp32, {engine}, {document['date'][:10]}, by {command}."
    return f"{table(heads, cells)}\n\n{text}\n\n{made}"


def alarms() -> str:
    """Whether `bench` raises false alarms, finds what is slower, and states intervals that hold."""
    document, command = _measured("measure_alarms", "alarms.json")
    if document is None:
        return f"Not measured yet; {command} does."
    found, machine = document["outcome"], document["environment"]
    heads = ["measured", "of", "", ""]
    slowed = f"slowed by {document['slowed_by']:.1%}"
    cells = [
        [
            "the same again, `--against` the first run",
            str(found["repeats"]),
            "called slower or faster",
            str(found["alarms"]),
        ],
        [f"{slowed}, the network before at hand", str(found["slowed"]), "called slower", str(found["caught"])],
        [f"{slowed}, the network before gone", str(found["slowed"]), "called slower", str(found["caught_gone"])],
        ["medians of neighbouring runs", str(found["medians"]), "in the other's interval", str(found["inside"])],
    ]
    swings = [
        swing[key]
        for run in (document["first"], *document["again"])
        for swing in run["swing"]
        for key in swing
        if key != "threads"
    ]
    what = f"`{document['model']}`, fp32 and int8 on two engines, at most {document['limit_s']:g} s a run"
    made = f"{what}; {machine['cpu']}, {document['date'][:10]}"
    swung = f"the machine's own speed moved by {min(swings) - 1:+.1%} to {max(swings) - 1:+.1%} within runs"
    return f"{table(heads, cells)}\n\n{made}; {swung}; by {command}."


def pictures() -> dict[Path, str]:
    """SVG text by the path that it belongs to, of what the committed reports can show."""
    found = {}
    measured = report("cpu")
    if measured is not None:
        found[REPORTS / "quality-time-x4.svg"] = _quality_by_time(_networks(measured))
    proved = report("parity")
    if proved is not None:
        found[REPORTS / "quality-work-x4.svg"] = _quality_by_work(proved["parity"])
    return found


def _quality_by_time(rows: list[Row]) -> str:
    """Each model at x4 in each precision, on the engine that is fastest for it."""
    fastest: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["model"].endswith("-x4"):
            key = (row["model"], row["precision"].split(" ")[0])
            fastest[key] = min(row["latency_ms"]["p50"], fastest.get(key, float("inf")))
    points = []
    for (model, precision), time in fastest.items():
        scores = REPORTS / "quality" / f"{model}.{precision}.set5.json"
        if scores.is_file():
            psnr = json.loads(scores.read_text(encoding="utf-8"))["mean"]["psnr_y"]
            points.append(Point(time, psnr, model, precision))
    label = "milliseconds a 1920x1080 frame, fastest engine"
    return scatter(points, label, "PSNR on Set5 at x4, dB", palette(["fp32", "int8"]), height=360)


def _quality_by_work(rows: list[Row]) -> str:
    ours, theirs = "srdeploy", "published by others"
    points = [
        Point(row["multiply_adds_per_pixel"] * FRAME, row["sets"]["set5"]["psnr_y"], row["model"], ours)
        for row in rows
        if row["backend"] == "pytorch" and row["model"].endswith("-x4")
    ]
    published = json.loads((REPOSITORY / "benchmarks" / "published.json").read_text(encoding="utf-8"))
    for network in published["networks"]:
        work = sum(i * o * side**2 * scale**2 * times for i, o, side, scale, times in network["layers"])
        points.append(Point(work * FRAME, network["set5"], network["name"], theirs, hollow=True))
    label = "multiply-adds for a frame of 1920x1080"
    return scatter(points, label, "PSNR on Set5 at x4, dB", palette([ours, theirs]), height=360)


def figures() -> str:
    """The pictures that there are, as Markdown."""
    words = {
        "quality-work-x4.svg": "Quality at x4 against arithmetic, beside published networks",
        "quality-time-x4.svg": "Quality at x4 against time",
    }
    lines = [f"![{words[path.name]}](benchmarks/reports/{path.name})" for path in sorted(pictures())]
    return "\n".join(lines) or "No pictures yet: the reports that they are drawn from are not committed."
