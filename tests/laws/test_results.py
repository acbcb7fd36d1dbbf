"""Published numbers are those of the committed reports, and the reports are of what ships."""

import json
import subprocess
import sys
from pathlib import Path

from srdeploy import zoo


def test_tables_are_drawn_from_the_reports(repository: Path) -> None:
    command = [sys.executable, "scripts/draw_results.py", "--check"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_shipped_file_was_measured(repository: Path) -> None:
    for name in zoo.names():
        for precision in ("fp32", "fp16"):
            for data in ("set5", "set14", "b100"):
                report = repository / "benchmarks" / "reports" / "quality" / f"{name}.{precision}.{data}.json"
                assert json.loads(report.read_text())["model"] == f"{name}.{precision}.onnx"


def test_a_report_can_be_made_again(repository: Path, shared: Path) -> None:
    from srdeploy import open as open_model
    from srdeploy.evaluate import evaluate

    for name in zoo.names():
        report = json.loads((repository / "benchmarks/reports/quality" / f"{name}.fp32.set5.json").read_text())
        again = evaluate(open_model(name), shared / "data" / "test" / "set5", report["scale"], metrics=("psnr_y",))
        assert abs(again.mean["psnr_y"] - report["mean"]["psnr_y"]) < 0.001
