"""The page of the service in a real browser: upload a picture, slide, download; and what goes wrong."""

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
_SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).parents[1] / "page" / "browser.py")
assert _SPEC is not None and _SPEC.loader is not None
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with browser.Browser(chromium, tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "srdeploy", "serve", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    yield process.stderr.readline().strip()
    process.kill()
    process.wait()
    process.stderr.close()


def _open(tab: Any, address: str, width: int, height: int) -> None:
    tab.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
    tab.send("Page.navigate", url=address)
    tab.wait("document.querySelectorAll('#model option').length > 0")


def _choose(tab: Any, path: Path) -> None:
    tab.send("DOM.enable")
    root = tab.send("DOM.getDocument")["root"]["nodeId"]
    node = tab.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    tab.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)


def _keep(tab: Any, name: str) -> None:
    """The screenshot as a file for people, where SRDEPLOY_SCREENSHOTS names a folder."""
    if folder := os.environ.get("SRDEPLOY_SCREENSHOTS"):
        data = tab.send("Page.captureScreenshot", format="png")["data"]
        (Path(folder) / name).write_bytes(base64.b64decode(data))


def _downloaded(tab: Any) -> str:
    """What the page offers for download, in base64."""
    read = """fetch(document.getElementById('download').href).then((r) => r.blob()).then((b) => new Promise((done) => {
        const reader = new FileReader(); reader.onload = () => done(reader.result); reader.readAsDataURL(b); }))"""
    got = tab.send("Runtime.evaluate", expression=read, awaitPromise=True, returnByValue=True)["result"]["value"]
    return str(got.partition(",")[2])


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_upload_enlarge_slide_download(
    tab: Any, address: str, size: tuple[int, int], samples: Path, tmp_path: Path
) -> None:
    _open(tab, address, *size)
    assert tab.value("document.getElementById('model').value") == "espcn-x4"
    source = tmp_path / "Eule am Käfig.png"  # names beyond ASCII come back in another form of the header
    shutil.copy(samples / "owl.png", source)
    _choose(tab, source)
    tab.wait("!document.getElementById('view').hidden || document.getElementById('error').textContent")
    assert tab.value("document.getElementById('error').textContent") == ""
    assert "1 frame in" in tab.value("document.getElementById('status').textContent")
    assert tab.value("document.getElementById('after').naturalWidth") == 1280
    assert tab.value("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
    before = tab.screenshot()
    tab.value("{ const s = document.getElementById('slider'); s.value = 95; s.dispatchEvent(new Event('input')) }")
    tab.value("document.getElementById('view').offsetHeight")
    assert np.count_nonzero(before != tab.screenshot()) > 1000, "the slider shows more of the picture before"
    _keep(tab, f"serve-{size[0]}.png")
    assert tab.value("document.getElementById('download').download") == "Eule am Käfig_x4.png"
    result = tmp_path / "owl_x4.png"
    command = [sys.executable, "-m", "srdeploy", "run", str(samples / "owl.png"), "-o", str(result), "-q"]
    subprocess.run(command, check=True)
    assert base64.b64decode(_downloaded(tab)) == result.read_bytes()
    asked = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith((address, "data:", "blob:")) for url in asked), "it works without internet"


def test_a_clip_plays_before_and_after(tab: Any, address: str, ffmpeg: Callable[..., None], tmp_path: Path) -> None:
    source, result = tmp_path / "clip.mp4", tmp_path / "clip_x4.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=96x64:rate=10:duration=2 -f lavfi -i sine=440:duration=2 -shortest", source)
    _open(tab, address, 1280, 900)
    _choose(tab, source)
    tab.wait("!document.getElementById('view').hidden || document.getElementById('error').textContent")
    assert tab.value("document.getElementById('error').textContent") == ""
    assert "20 frames in" in tab.value("document.getElementById('status').textContent")
    sides = "[e.videoWidth, e.videoHeight]"
    assert tab.value(f"((e) => {sides})(document.getElementById('before'))") == [96, 64]
    assert tab.value(f"((e) => {sides})(document.getElementById('after'))") == [384, 256]
    tab.wait("document.getElementById('after').currentTime > 0.5")  # it plays, and the other with it
    together = "Math.abs(document.getElementById('after').currentTime - document.getElementById('before').currentTime)"
    tab.wait(f"{together} < 0.5")
    _keep(tab, "serve-clip.png")
    assert tab.value("document.getElementById('download').download") == "clip_x4.mp4"
    command = [sys.executable, "-m", "srdeploy", "run", str(source), "-o", str(result), "-q"]
    subprocess.run(command, check=True)
    assert base64.b64decode(_downloaded(tab)) == result.read_bytes()


def test_what_is_no_picture_is_told(tab: Any, address: str, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("a picture is worth a thousand words\n" * 20)
    _open(tab, address, 1280, 900)
    _choose(tab, tmp_path / "notes.png")
    tab.wait("document.getElementById('error').textContent")
    assert re.search("text file, not a picture", tab.value("document.getElementById('error').textContent"))
    assert tab.value("document.getElementById('view').hidden && document.getElementById('download').hidden")
