"""The three files of a report: whole, drawn from the JSON, and needing nothing else."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from srdeploy.errors import InputError, OutputError
from srdeploy.report.against import compare_reports, name_of
from srdeploy.report.files import read_report, write_report
from srdeploy.report.markdown import tables
from srdeploy.report.page import page, plots

MakeUp = Callable[..., dict[str, Any]]
VOID = {"meta", "br", "hr", "img", "link", "input"}


class _Balanced(HTMLParser):
    """Fails on a tag that is closed without being open, and keeps what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(made_up: MakeUp) -> dict[str, Any]:
    new = made_up(1, slowed=1.1)
    return {**new, "against": {"rows": [change.to_dict() for change in compare_reports(new, made_up(2))]}}


def test_three_files_and_json_is_the_truth(report: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(2):  # a report that is there is replaced
        write_report(report, tmp_path / "deep" / "out")
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    again = read_report(tmp_path / "deep" / "out")
    assert again == json.loads(json.dumps(report))
    text = (tmp_path / "deep" / "out" / "report.md").read_text()
    row = report["rows"][0]
    assert f"| a-x4 | fp32 | ort | 480x270 | 2 | {row['latency_ms']['p50']:.2f} |" in text
    assert "it is not installed" in text and "slower" in text


def test_the_page_needs_nothing_else_and_parses(report: dict[str, Any]) -> None:
    text = page(report)
    parser = _Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe"} & set(parser.seen)
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(" not in text
    assert "Made &lt;up&gt;" in text and "<up>" not in text
    assert 'name="viewport"' in text


def test_plots_show_latency_quality_and_scaling(report: dict[str, Any]) -> None:
    drawn = dict(plots(report))
    wanted = ("Latency by engine: a-x4 at 480x270", "Whole files, milliseconds a frame", "Quality against time, x4")
    assert set(drawn) >= {*wanted, "Scaling with pixels"}
    for title, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width and 0 <= float(circle.attrib["cy"]) <= height, title
    bars = ElementTree.fromstring(drawn[wanted[0]]).iter("{http://www.w3.org/2000/svg}rect")
    lengths = [float(bar.attrib["width"]) for bar in bars][1:]
    assert lengths == sorted(lengths), "the fastest stands first"


def test_a_report_that_is_none(tmp_path: Path) -> None:
    texts = {"a.json": "{", "b.json": "[]", "c.json": '{"rows": [{"model": "x"}]}', "d.json": '{"rows": []}'}
    for name, text in {**texts, "e.json": "[" * 100000}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="is no report") as caught:
            read_report(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("samples_ms", ["fast", "faster"]),
        ("samples_ms", [0.0] * 160),
        ("samples_ms", [1.0]),
        ("visits", None),
        ("visits", [160, 0]),
        ("reference_ms", [0.0] * 40),
        ("reference_ms", [1.0]),
        ("cpu_ms", "x"),
        ("model", ...),
        ("environment", None),
        ("environment", {"libraries": None}),
    ],
)
def test_numbers_that_cannot_be_compared_are_found_before_anything_is_measured(
    made_up: MakeUp, tmp_path: Path, key: str, value: Any
) -> None:
    report = made_up(3)
    (tmp_path / "whole.json").write_text(json.dumps(report))
    assert read_report(tmp_path / "whole.json")["rows"]
    place = report if key == "environment" else report["rows"][2]
    place[key] = value
    if value is ...:
        del place[key]
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match=r"is no report of srdeploy bench \(.+\); give its report\.json"):
        read_report(tmp_path)


def test_a_folder_that_cannot_be(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="type another -o"):
        write_report(report, tmp_path / "file")


def test_ratios_are_of_rows_that_did_the_same_work(made_up: MakeUp) -> None:
    report = made_up(5)
    row = report["rows"][0]
    other = {**row, "cpu_ms": [2 * value for value in row["cpu_ms"]]}
    sizes = [{**row, "kind": "sizes", "batch": 9, "sizes": 9}, {**other, "kind": "sizes", "batch": 9, "sizes": 1}]
    report["rows"] += [*sizes, {**other, "backend": f"bare {row['backend']}"}, {**row, "backend": "bare x"}]
    cells = {title: found for title, _, found in tables(report)}
    (mixed,) = next(found for title, found in cells.items() if "one size" in title)
    (bare,) = next(found for title, found in cells.items() if "bare engine" in title)
    assert mixed[-4:] == bare[-4:] == ["1.000", "1.000–1.000", "0.500", "0.500–0.500"]
    assert [name_of(found) for found in sizes] == [
        "a-x4 fp32 ort 480x270 2 threads 9 pictures 9 sizes",
        "a-x4 fp32 ort 480x270 2 threads 9 pictures one size",
    ]
