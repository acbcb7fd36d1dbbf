"""The page of a report in a real browser, on a desk and on a phone: what is in it can be seen."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srdeploy.report.page import page

_ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("browser", _ROOT / "tests" / "page" / "browser.py")
assert _SPEC is not None and _SPEC.loader is not None
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with browser.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("name", ["cpu", "parity", "peers", "video"])
def test_everything_is_on_the_page_at_any_width(tab: Any, name: str, tmp_path: Path) -> None:
    report = json.loads((_ROOT / "benchmarks" / "reports" / name / "report.json").read_text())
    (tmp_path / "report.html").write_text(page(report))
    tab.send("Page.navigate", url=(tmp_path / "report.html").as_uri())
    tab.wait(f"document.readyState === 'complete' && location.pathname.includes({tmp_path.name!r})")
    for width in (1280, 390):
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        assert tab.value("document.documentElement.scrollWidth") == width, "nothing sticks out"
        plots = tab.value("[...document.querySelectorAll('svg')].map((e) => e.getBoundingClientRect().right)")
        assert all(0 < right <= width for right in plots) and (plots or name == "parity")
        tables = tab.value("[...document.querySelectorAll('.wide')].map((e) => e.scrollWidth - e.clientWidth)")
        assert tables and (width < 600 or not any(tables)), "on a desk no column hides behind a scroll bar far below"
    first = "document.querySelector('.wide td')"
    tab.value("document.querySelector('.wide').scrollLeft = 1e6")
    assert 0 <= tab.value(f"{first}.getBoundingClientRect().left") < 20, "a row's name stays when the rest is scrolled"
