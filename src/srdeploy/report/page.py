"""A report as one page that needs nothing else: no script, no font, no network."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from srdeploy.report.markdown import headline, tables
from srdeploy.report.svg import Bar, Point, bars, lines, palette, scatter

_STYLE = """
:root { color: #1c2127; background: #fff; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 1240px; padding: 16px; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 24px; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: 6px; } svg { width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-spacing: 0; font-size: .875rem; }
th, td { padding: 5px 10px; text-align: left; border-bottom: 1px solid #e3e6ea; white-space: nowrap; }
th, td.words, td.long { white-space: normal; } td.words { min-width: 9rem; } td.long { min-width: 16rem; }
th { vertical-align: bottom; } tr:hover td { background: #f4f6f8; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
@media (max-width: 600px) { td:first-child { white-space: normal; min-width: 6.5rem; max-width: 9rem; } }
.num { text-align: right; font-variant-numeric: tabular-nums; } footer { color: #5b6470; margin-top: 2rem; }
"""


def page(report: Mapping[str, Any]) -> str:
    """The report as one HTML page: plots first, then every table of the Markdown, then what stands in the JSON."""
    figures = "\n".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{plot}</figure>" for title, plot in plots(report)
    )
    body = [
        f"<h1>{escape(str(report['suite']))}</h1>",
        f"<p>{escape(headline(report))}</p>",
        f'<div class="plots">{figures}</div>' if figures else "",
        *(f"<h2>{escape(title)}</h2>{_table(heads, rows)}" for title, heads, rows in tables(report)),
        "<footer>All samples, the environment and all other numbers are in report.json beside this page. An interval "
        "is where a second run's median falls 99 times of 100, from visits spread over the whole run, widened by how "
        "far its quarters are from each other.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(str(report['suite']))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def plots(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Titles and SVGs of what the report's rows can show."""
    networks = [row for row in report["rows"] if row["kind"] == "network"]
    videos = [row for row in report["rows"] if row["kind"] == "video"]
    colours = palette(sorted({row["backend"] for row in report["rows"]}))
    found = []
    if networks:
        usual = _usual(networks)
        size = f"{usual[0]['input'][1]}x{usual[0]['input'][0]}"
        for model in dict.fromkeys(row["model"] for row in usual):
            title = f"Latency by engine: {model} at {size}"
            found.append((title, _latency([row for row in usual if row["model"] == model], colours)))
    if videos:
        found.append(("Whole files, milliseconds a frame", _latency(videos, colours)))
    for scale in sorted({row["scale"] for row in networks}):
        points = _quality_points([row for row in networks if row["scale"] == scale])
        if len(points) > 1:
            plot = scatter(points, "milliseconds a frame, less is better", "PSNR on Set5, dB", colours)
            found.append((f"Quality against time, x{scale}", plot))
    for key, title, label in (
        ("pixels", "Scaling with pixels", "input pixels"),
        ("threads", "Scaling with threads", "threads"),
    ):
        points, engines = _scaling(networks, key)
        if points:
            alone = len(set(engines.values())) == len(engines)  # then a line has its engine's colour, as elsewhere
            own = {name: colours[engine] for name, engine in engines.items()} if alone else palette(list(engines))
            found.append((title, lines(points, label, "milliseconds a frame", own)))
    return found


def _latency(rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """A bar for each row, the fastest first; the model's name is on it where there are several."""
    several = len({row["model"] for row in rows}) > 1
    return bars(
        [
            Bar(
                " ".join(word for word in (row["model"] if several else "", _short(row), row["backend"]) if word),
                row["latency_ms"]["p50"],
                row["latency_ms"]["interval"][0],
                row["latency_ms"]["interval"][1],
                row["backend"],
            )
            for row in sorted(rows, key=lambda row: float(row["latency_ms"]["p50"]))
        ],
        colours,
    )


def _short(row: Mapping[str, Any]) -> str:
    """ "fp16" of "fp16 weights, fp32 arithmetic"."""
    return str(row["precision"]).split(" ")[0]


def _usual(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of the size that most have, with the most threads and no batch: what a person gets who sets nothing."""
    sizes = [tuple(row["input"]) for row in rows]
    size, most = max(sizes, key=sizes.count), max(row["threads"] for row in rows)
    chosen = [r for r in rows if tuple(r["input"]) == size and r["threads"] == most and r.get("batch", 1) == 1]
    return chosen or list(rows)


def _quality_points(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    known = [row for row in rows if row.get("psnr_y_set5") is not None and not row["peer"]]
    return [
        Point(row["latency_ms"]["p50"], row["psnr_y_set5"], f"{row['model']} {_short(row)}", row["backend"])
        for row in (_usual(known) if known else [])
    ]


def _scaling(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[Point], dict[str, str]]:
    """Points of every series that has two or more places along pixels or threads, all else equal; each one's engine."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        other = row["threads"] if key == "pixels" else tuple(row["input"])
        name = (row["model"], row["precision"], row["backend"], other, row.get("batch", 1))
        groups.setdefault(name, []).append(row)
    points, engines = [], {}
    for name, members in groups.items():
        places = {_place(row, key): row["latency_ms"]["p50"] for row in members}
        if len(places) > 1:
            rest = f"{name[3]} threads" if key == "pixels" else f"{name[3][1]}x{name[3][0]}"
            series = f"{name[0]} {name[1]} {name[2]}, {rest}" + (f", batch {name[4]}" if name[4] > 1 else "")
            points += [Point(x, y, "", series) for x, y in places.items()]
            engines[series] = str(name[2])
    return points, engines


def _place(row: Mapping[str, Any], key: str) -> float:
    return float(row["input"][0] * row["input"][1]) if key == "pixels" else float(row["threads"])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(heads))]

    def cell(tag: str, text: str, index: int) -> str:
        kind = "num" if numeric[index] else "long" if len(text) > 60 else "words" if len(text) > 16 else ""
        return f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else f"<{tag}>{escape(text)}</{tag}>"

    head = "".join(cell("th", text, i) for i, text in enumerate(heads))
    body = "\n".join(f"<tr>{''.join(cell('td', text, i) for i, text in enumerate(row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _is_number(text: str) -> bool:
    return text in ("–", "", "too few") or text[:1].isdigit() or text[:1] in "+-"
