"""Published numbers are those of the committed reports, and the reports are of what ships."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from srdeploy import zoo
from srdeploy.recipe import load_recipe
from srdeploy.release import ReleaseRecipe


def test_tables_are_drawn_from_the_reports(repository: Path) -> None:
    command = [sys.executable, "scripts/draw_results.py", "--check"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_report_that_changed_changes_the_readme(repository: Path, tmp_path: Path) -> None:
    """A parity report put in: the check fails, drawing puts the table and the picture there, and then it passes."""
    for name in ("README.md", "benchmarks", "docs", "export", "scripts", "train"):
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, tmp_path / name)
    (tmp_path / "src").symlink_to(repository / "src")
    sets = {name: {"psnr_y": 31.2345, "ssim_y": 0.8} for name in ("set5", "set14", "b100")}
    row = {"model": "espcn-x4", "file": "f", "precision": "fp32", "backend": "pytorch", "sets": sets, "passed": True}
    row |= {"psnr_db": 77.7, "loss_db": 0.00123, "off": 0.0, "multiply_adds_per_pixel": 24640.0, "parameters": 24733}
    document = {"date": "2026-11-24", "environment": {"cpu": "A processor", "cores": 2}}
    document["parity"] = [row, {**row, "backend": "ort"}]
    (tmp_path / "benchmarks" / "reports" / "parity").mkdir(exist_ok=True)
    (tmp_path / "benchmarks" / "reports" / "parity" / "report.json").write_text(json.dumps(document))
    command = [sys.executable, tmp_path / "scripts" / "draw_results.py"]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "README.md" in done.stdout
    subprocess.run(command, check=True)
    assert "| ort | fp32 | 1 of 1 | 77.7 | 0.0012 |" in (tmp_path / "README.md").read_text()
    assert "| `espcn-x4` | 24,733 | 3.2 | 30." in (tmp_path / "docs" / "models.md").read_text()
    picture = (tmp_path / "benchmarks" / "reports" / "quality-work-x4.svg").read_text()
    assert ">espcn-x4<" in picture and ">EDSR-baseline<" in picture
    assert subprocess.run([*command, "--check"], check=False).returncode == 0


def test_multiply_adds_of_published_networks_are_those_that_papers_print(repository: Path) -> None:
    """Of a 1280x720 result, in G: SRCNN 52.7, VDSR 612.6, EDSR-baseline 114.2, IMDN 40.9."""
    published = json.loads((repository / "benchmarks" / "published.json").read_text())
    work = {
        network["name"]: sum(i * o * k * k * s * s * n for i, o, k, s, n in network["layers"]) * 320 * 180 / 1e9
        for network in published["networks"]
    }
    for name, expected in {"SRCNN": 52.7, "VDSR": 612.6, "EDSR-baseline": 114.2, "IMDN": 40.9}.items():
        assert round(work[name], 1) == expected


def test_the_memory_that_was_measured_is_within_its_limits(repository: Path) -> None:
    """A photograph's peak is its pixels and 600 MB; where the whole picture breaks, tiles give the same bytes."""
    measured = json.loads((repository / "benchmarks" / "reports" / "memory.json").read_text())
    assert {row["result"] for row in measured["rows"]} == {".jpg", ".png", ".tif"}
    assert all(row["peak_mb"] <= row["pixels_mb"] + 600 for row in measured["rows"])
    free, whole, tiles = measured["limited"]
    assert whole["exit"] == 1 and whole["said"].startswith("error: ") and tiles["exit"] == 0
    assert free["sha256"] == tiles["sha256"]


def test_every_shipped_file_was_measured(repository: Path) -> None:
    for name in zoo.names():
        for precision in load_recipe(repository / "export" / f"{name}.toml", ReleaseRecipe).precisions:
            for data in ("set5", "set14", "b100"):
                report = repository / "benchmarks" / "reports" / "quality" / f"{name}.{precision}.{data}.json"
                assert json.loads(report.read_text())["model"] == f"{name}.{precision}.onnx"


def test_a_report_can_be_made_again(repository: Path, shared: Path) -> None:
    from srdeploy import open as open_model
    from srdeploy.evaluate import evaluate

    for name in zoo.names():
        report = json.loads((repository / "benchmarks/reports/quality" / f"{name}.fp32.set5.json").read_text())
        again = evaluate(
            open_model(name, precision="fp32"), shared / "data" / "test" / "set5", report["scale"], metrics=("psnr_y",)
        )
        assert abs(again.mean["psnr_y"] - report["mean"]["psnr_y"]) < 0.001
