"""A report on disk: three files that appear together, each whole."""

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srdeploy.errors import InputError, OutputError
from srdeploy.report.markdown import markdown
from srdeploy.report.page import page


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write report.json (the truth) and what is drawn from it, report.md and report.html, to `folder`.

    Files of those names are replaced, by rename, when all three are made. Raises OutputError when it cannot be written.
    """
    texts = {
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "report.md": markdown(report),
        "report.html": page(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".srdeploy-report-", dir=folder) as inner:
            for name, text in texts.items():
                (Path(inner) / name).write_text(text, encoding="utf-8")
            for name in texts:
                (Path(inner) / name).replace(folder / name)
    except OSError as error:
        raise OutputError(f"cannot write the report to {folder}: {error.strerror or error}; type another -o") from None


def read_report(path: Path) -> dict[str, Any]:
    """A report.json, or the one in a folder, with samples to compare. Raises InputError when it is none."""
    file = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if not report["rows"]:
            raise ValueError("nothing was timed in it")
        for row in report["rows"]:
            _check_row(row)
        if not isinstance(report["environment"]["libraries"], dict):
            raise TypeError("it does not say which libraries ran")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; give the report.json of an earlier bench") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:100]
        raise InputError(f"{file} is no report of srdeploy bench ({reason}); give its report.json") from None
    return dict(report)


def place_of(path: Path) -> Path:
    """The folder of a report that was given by its file or its folder."""
    return path if path.is_dir() else path.parent


def _check_row(row: Mapping[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for a row whose numbers cannot be compared with others."""
    for key in ("model", "backend", "precision", "device", "input"):
        row[key]
    samples = row["samples_ms"]
    visits = row.get("visits") or [1] * len(samples)
    if sum(visits) != len(samples) or min(visits, default=1) < 1:
        raise ValueError("its visits do not add up to its samples")
    for key in ("samples_ms", "cpu_ms", "reference_ms", "reference_cpu_ms"):
        values = row.get(key) or ()
        if not all(0 < value < math.inf for value in values):
            raise ValueError(f"{key} holds what is no time")
        if key != "samples_ms" and values and len(values) != len(visits):
            raise ValueError(f"{key} has {len(values)} values for {len(visits)} visits")
