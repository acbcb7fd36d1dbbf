"""`srdeploy compare`: what it measures, what it refuses, and the page in a real browser."""

import importlib.util
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner, Result

from srdeploy.cli.app import app
from srdeploy.page.document import write_page
from srdeploy.page.pairs import pairs_of
from srdeploy.resample import imresize_uint8


def compare(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def error(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> tuple[Path, Path]:
    """A picture and a darker one of half the size."""
    folder = tmp_path_factory.mktemp("two")
    with Image.open(samples / "owl.png") as picture:
        big = picture.convert("RGB").crop((0, 0, 240, 160))
    big.save(folder / "big.png")
    big.resize((120, 80), Image.Resampling.BICUBIC).point(lambda v: v * 3 // 4).save(folder / "small.png")
    return folder / "big.png", folder / "small.png"


def test_numbers_are_those_of_others(two: tuple[Path, Path]) -> None:
    (pair,) = pairs_of(*two)
    a, b = (np.asarray(Image.open(path)) for path in two)
    b = imresize_uint8(b, 160, 240)
    assert np.array_equal(pair.a, a) and np.array_equal(pair.b, b)
    assert pair.sizes == ((240, 160), (120, 80))
    assert pair.psnr_rgb == pytest.approx(peak_signal_noise_ratio(a, b))
    y_a, y_b = (16 + x @ np.array([65.481, 128.553, 24.966]) / 255 for x in (a, b))
    assert pair.psnr_y == pytest.approx(peak_signal_noise_ratio(y_a, y_b, data_range=255))
    theirs = structural_similarity(
        y_a, y_b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    assert pair.ssim_y == pytest.approx(theirs[5:-5, 5:-5].mean(), abs=1e-6)


def test_folders_are_matched_by_name(two: tuple[Path, Path], tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side / "deep").mkdir(parents=True)
    shutil.copy(two[0], tmp_path / "a" / "owl.png")
    shutil.copy(two[1], tmp_path / "b" / "owl_x4.png")
    shutil.copy(two[0], tmp_path / "a" / "deep" / "same.png")
    Image.open(two[0]).save(tmp_path / "b" / "deep" / "same.webp", lossless=True)
    shutil.copy(two[0], tmp_path / "a" / "only here.png")
    found = list(pairs_of(tmp_path / "a", tmp_path / "b"))
    assert [pair.name for pair in found] == ["deep/same", "owl"]
    assert math.isinf(found[0].psnr_rgb) and found[0].ssim_y == pytest.approx(1)
    result = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "p.html", "--json")
    document = json.loads(result.stdout)
    assert document["page"] == str(tmp_path / "p.html")
    assert [pair["psnr_rgb"] is None for pair in document["pairs"]] == [True, False]


def test_videos_are_compared_frame_by_frame_at_their_times(samples: Path, tmp_path: Path) -> None:
    clip = samples / "clip.mp4"
    found = list(pairs_of(clip, clip, at=0.25, frames=3))
    assert len(found) == 3
    assert all(math.isinf(pair.psnr_rgb) for pair in found)
    times = [float(pair.name.split(" at ")[1].removesuffix(" s")) for pair in found]
    assert times == sorted(times) and 0.25 <= times[0] < 0.3
    assert "smaller --at" in error(compare(clip, clip, "--at", "1000", "-o", tmp_path / "p.html"))
    assert not list(tmp_path.iterdir())


def test_what_is_no_comparison(two: tuple[Path, Path], samples: Path, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    assert "there is no" in error(compare(two[0], tmp_path / "none.png", "-o", page))
    assert "is a folder" in error(compare(two[0], two[0].parent, "-o", page))
    assert "several frames" in error(compare(two[0], samples / "clip.mp4", "-o", page))
    (tmp_path / "empty").mkdir()
    assert "has the name" in error(compare(tmp_path / "empty", two[0].parent, "-o", page))
    assert ".html" in error(compare(*two, "-o", tmp_path / "p.png"))
    (tmp_path / "text.png").write_text("no picture")
    assert "text file" in error(compare(two[0], tmp_path / "text.png", "-o", page))
    page.write_text("mine")
    assert "--overwrite" in error(compare(*two, "-o", page))
    assert page.read_text() == "mine"
    assert compare(*two, "-o", page, "--overwrite").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "p.html", "text.png"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    specification = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def page(two: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a page.html"
    name = "</script><script>document.body.dataset.broken = 1</script>"
    pairs = [*pairs_of(*two), *pairs_of(two[0], two[0])]
    write_page(path, pairs, (name, "after & <b>"), overwrite=False)
    return path


def _shown(browser: Any) -> tuple[Any, int, int, float]:
    """The pane as it is on the screen, its place, and its zoom."""
    box = browser.value("JSON.stringify(document.getElementById('left').getBoundingClientRect())")
    box = json.loads(box)
    left, top = round(box["left"]), round(box["top"])
    image = browser.screenshot()[top : round(box["bottom"]), left : round(box["right"])]
    return image, left, top, float(browser.value("document.body.dataset.zoom"))


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_page_in_a_browser(browser: Any, page: Path, two: tuple[Path, Path], width: int, height: int) -> None:
    a, b = np.asarray(Image.open(two[0])), imresize_uint8(np.asarray(Image.open(two[1])), 160, 240)
    browser.events.clear()
    browser.open(page, width, height)
    assert browser.value("document.body.dataset.broken") is None
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.click("#one")  # one pixel of the picture is one of the screen
    image, left, top, zoom = _shown(browser)
    assert zoom == 1
    x, y = (int(n) for n in re.findall(r"(-?\d+)px", browser.value("document.getElementById('first').style.transform")))

    def crop(picture: Any) -> Any:
        return picture[y : y + 160, x : x + 240].astype(int)

    middle = image.shape[1] // 2 - x
    rows = slice(0, 60)  # above the handle and the names
    assert np.abs(crop(image)[rows, : middle - 8] - a[rows, : middle - 8]).max() <= 1
    assert np.abs(crop(image)[rows, middle + 8 :] - b[rows, middle + 8 :]).max() <= 1
    # The handle is dragged to the right edge: all of it is before.
    browser.drag((left + image.shape[1] / 2, top + 5), (left + x + 236, top + 5))
    image = _shown(browser)[0]
    assert np.abs(crop(image)[rows, :225] - a[rows, :225]).max() <= 1
    browser.click("[data-mode=difference]")
    browser.click("#one")
    image = _shown(browser)[0]
    expected = np.minimum(4 * np.abs(a.astype(int) - b), 255)
    assert np.abs(crop(image) - expected)[1:-1, 1:-1].max() <= 4
    browser.click("[data-mode=two]")
    browser.click("#one")
    browser.drag((left + 20, top + 20), (left + 40, top + 30))
    moved = [browser.value(f"document.getElementById('{name}').style.transform") for name in ("first", "third")]
    assert moved[0] == moved[1]  # in step
    browser.mouse("mouseWheel", left + 20, top + 20, deltaX=0, deltaY=-400)
    browser.wait("Math.abs(document.body.dataset.zoom - Math.E) < 0.01")
    browser.value("document.getElementById('pair').value = 1")
    browser.value("document.getElementById('pair').dispatchEvent(new Event('change'))")
    browser.wait("document.body.dataset.ready === '1'")
    assert "equal" in browser.value("document.getElementById('numbers').textContent")
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "about"}
    problems = [e for e in browser.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert problems == []
