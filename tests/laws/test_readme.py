"""The README's commands run: the demo in an environment with nothing but [cpu], the rest in this one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ELSEWHERE = {
    "python3 scripts/check": "it is what runs this test",
    "python3 scripts/docs": "tests/laws/test_docs.py builds the site",
    "pip install '.[cpu]'": "the demo's environment is made so",
    "pip install '.[cpu,train]'": "this environment is made so",
    "pip install '.[cpu,serve]'": "this environment is made so",
    "srdeploy serve --port 8000": "it answers until it is stopped; tests/serve starts it",
}
"""Commands that this test does not run, and why."""


def _blocks(repository: Path, language: str) -> list[str]:
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person has after cloning: the tracked files and those not yet tracked, in a folder of their own."""
    folder = tmp_path_factory.mktemp("clone") / "srdeploy"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        if (repository / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, folder / name)
    return folder


def test_the_demo_in_an_environment_of_its_own(copy: Path) -> None:
    assert "python3 scripts/demo\n" in _blocks(copy, "sh")
    done = subprocess.run([sys.executable, "scripts/demo"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = copy / "demo" / "clip_x4.mp4"
    assert str(result) in done.stdout
    kinds = _streams(result)
    assert kinds["video"] | {"width": 1920, "height": 1080} == kinds["video"]
    assert kinds["audio"]["nb_frames"] == _streams(copy / "samples" / "clip.mp4")["audio"]["nb_frames"]
    packages = {p.name.lower().split("-")[0] for p in (copy / "demo" / "venv").glob("**/site-packages/*.dist-info")}
    assert "onnxruntime" in packages
    assert not packages & {"torch", "onnx", "scipy"}


def _streams(path: Path) -> dict[str, dict[str, object]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    streams = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["streams"]
    return {stream["codec_type"]: stream for stream in streams}


def test_the_other_commands(copy: Path) -> None:
    commands = [line for block in _blocks(copy, "sh") for line in block.splitlines() if line]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for command in commands:
        if command in ELSEWHERE or command == "python3 scripts/demo":
            continue
        assert command.startswith("srdeploy "), f"nobody runs this: {command}"
        done = subprocess.run(
            command, shell=True, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 7
    assert (copy / "samples" / "clip_x4.mp4").is_file()
    assert (copy / "enlarged" / "owl_x4.png").is_file()
    assert (copy / "exported" / "espcn-x4.fp16.onnx").is_file()


def test_the_python_example(copy: Path) -> None:
    (code,) = _blocks(copy, "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (copy / "owl_x4.png").is_file()
