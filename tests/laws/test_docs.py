"""The documentation builds without a warning, and every command and program in it runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
COMMANDS = Path(sys.executable).parent

ELSEWHERE = {
    "pip install '.[cpu,serve]'": "this environment is made so",
    "pip install '.[cpu,ray]'": "this environment is made so",
    "pip install '.[cpu,urls]'": "this environment is made so",
    **dict.fromkeys(
        (
            "ray get-auth-token --generate",
            "RAY_AUTH_MODE=token ray start --head --port 6379",
            "RAY_AUTH_MODE=token ray start --address HOST:6379",
            "RAY_AUTH_MODE=token srdeploy run holiday.mp4 photos -o enlarged --ray HOST:6379",
        ),
        "tests/cluster/test_by_hand.py types them, on one machine",
    ),
    "srdeploy run s3://bucket/photos -o s3://bucket/enlarged": "tests/cluster does, against a server on this machine",
    "srdeploy serve --port 8000": "it answers until it is stopped; tests/serve starts it",
}
"""Commands that this test does not run, and why."""


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_page_tells_to_type(page: Path, tmp_path: Path) -> None:
    for name in ("samples", "train"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    environment = {**os.environ, "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}
    lines = [line for block in _blocks(page, "sh") for line in block.splitlines() if line not in ELSEWHERE]
    programs = [[sys.executable, "-c", code] for code in _blocks(page, "python")]
    for command in [*(["bash", "-c", line] for line in lines), *programs]:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    for name in ("docs", "src", "zensical.toml"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    done = subprocess.run(
        [COMMANDS / "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.parent.name for path in (tmp_path / "site").rglob("index.html")}
    assert {page.stem for page in PAGES if page.stem != "index"} <= pages
    python = (tmp_path / "site" / "python" / "index.html").read_text(encoding="utf-8")
    assert "read_picture" in python
    scripts = re.findall(r'(?:src|href)="(https?://[^"]+)"', python)
    assert not [link for link in scripts if "zensical.org" not in link], "the site must not fetch from elsewhere"
